//! The outputs in the order of the commands, each whole; the bar, and the summary.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::child::{Ended, Run};
use super::command::CommandLine;
use super::json::Report;
use crate::cli::failure::Failure;

/// A command that is through, with its last attempt.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) index: usize,
    pub(super) run: Run,
    pub(super) attempts: u32,
    pub(super) seconds: f64,
    pub(super) worker: usize,
}

/// Takes what is finished in any order, and prints it in that of the commands.
#[derive(Debug)]
pub(super) struct Printer<'a> {
    commands: &'a [CommandLine],
    quiet: bool,
    bar: Option<ProgressBar>,
    started: Instant,
    waiting: BTreeMap<usize, Finished>,
    printed: usize,
    tally: Tally,
    /// With --json: the PUs of each worker, and what is through.
    json: Option<(&'a [Vec<usize>], Vec<Finished>)>,
}

/// How many commands ended how.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) succeeded: usize,
    pub(super) again: usize,
    pub(super) failed: usize,
    pub(super) timed_out: usize,
    pub(super) not_started: usize,
    pub(super) slowest: f64,
}

impl<'a> Printer<'a> {
    /// `places`: all is to be one JSON object, in which these are the PUs of each worker.
    pub(super) fn new(
        commands: &'a [CommandLine],
        quiet: bool,
        places: Option<&'a [Vec<usize>]>,
    ) -> Self {
        let visible = !quiet && io::stderr().is_terminal();
        Printer {
            commands,
            quiet,
            bar: visible.then(|| new_bar(commands.len() as u64)),
            started: Instant::now(),
            waiting: BTreeMap::new(),
            printed: 0,
            tally: Tally::default(),
            json: places.map(|places| (places, Vec::new())),
        }
    }

    /// Prints until nobody sends any more; says whether every command succeeded.
    pub(super) fn take_all(
        mut self,
        finished: &Receiver<Result<Finished, Failure>>,
    ) -> Result<bool, Failure> {
        for finished in finished {
            let finished = finished?;
            self.tally.add(&finished);
            if let Some(bar) = &self.bar {
                bar.inc(1);
            }
            self.waiting.insert(finished.index, finished);
            while let Some(next) = self.waiting.remove(&self.printed) {
                self.printed += 1;
                self.print(next)?;
            }
        }
        // After a halt: what is through without all before it being so.
        while let Some((_, next)) = self.waiting.pop_first() {
            self.print(next)?;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some((places, finished)) = self.json.take() {
            let seconds = self.started.elapsed().as_secs_f64();
            let report = Report::new(self.commands, finished, places, &self.tally, seconds)?;
            writeln!(io::stdout().lock(), "{}", report.to_text()).map_err(Failure::Stdout)?;
        }
        if !self.quiet {
            say!("pinpool: {}", self.summary());
        }
        Ok(self.tally.succeeded == self.commands.len())
    }

    fn print(&mut self, finished: Finished) -> Result<(), Failure> {
        if let Some((_, all)) = &mut self.json {
            all.push(finished);
            return Ok(());
        }
        let command = &self.commands[finished.index];
        match &self.bar {
            Some(bar) => bar.suspend(|| print(command, finished)),
            None => print(command, finished),
        }
    }

    fn summary(&self) -> String {
        let Tally { succeeded, again, failed, timed_out, not_started, slowest } = self.tally;
        let total = self.commands.len();
        let mut text = format!("{total} command{}", if total == 1 { "" } else { "s" });
        let counts = [
            (succeeded, "succeeded"),
            (failed, "failed"),
            (timed_out, "timed out"),
            (not_started, "did not start"),
            (again, "tried more than once"),
        ];
        let mut separator = ": ";
        for (count, what) in counts.into_iter().filter(|&(count, _)| count > 0) {
            text += &format!("{separator}{count} {what}");
            separator = ", ";
        }
        let elapsed = self.started.elapsed().as_secs_f64();
        text + &format!("; {elapsed:.3} s, the longest {slowest:.3} s")
    }
}

impl Tally {
    fn add(&mut self, finished: &Finished) {
        match &finished.run.ended {
            ended if ended.is_success() => self.succeeded += 1,
            Ended::TimedOut(_) => self.timed_out += 1,
            Ended::NotStarted(_) => self.not_started += 1,
            _ => self.failed += 1,
        }
        self.again += usize::from(finished.attempts > 1);
        self.slowest = self.slowest.max(finished.seconds);
    }
}

/// One command's streams, then how it ended where that was no success.
fn print(command: &CommandLine, finished: Finished) -> Result<(), Failure> {
    let Finished { index, run, attempts, .. } = finished;
    run.out.emit(&mut io::stdout().lock()).map_err(Failure::Stdout)?;
    let mut errors = io::stderr().lock();
    // Without standard error there is nobody to tell.
    let _ = run.err.emit(&mut errors);
    if !run.ended.is_success() {
        let times = if attempts > 1 { format!(", {attempts} times") } else { String::new() };
        let ended = run.ended.describe();
        let _ =
            writeln!(errors, "pinpool: command {} ({}): {ended}{times}", index + 1, command.text);
    }
    Ok(())
}

fn new_bar(commands: u64) -> ProgressBar {
    let style = "[{bar:40}] {pos}/{len} commands, {elapsed}, {eta} to go";
    let style = ProgressStyle::with_template(style)
        .expect("the template is a constant that a test has parsed")
        .progress_chars("=> ");
    let bar = ProgressBar::new(commands).with_style(style);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_template_is_well_formed() {
        assert_eq!(new_bar(5).length(), Some(5));
    }
}
