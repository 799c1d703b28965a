//! Progress bars, on a terminal only, and the watch over a job in flight.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use pinpool::Pool;

use super::interrupt;

/// How often a job in flight is looked at: seldom enough to cost nothing, often enough for Ctrl-C.
const TICK: Duration = Duration::from_millis(50);
/// A job that is over in so many looks gets no bar: it would only flicker.
const LOOKS_WITHOUT_BAR: u32 = 4;

/// Whether bars are drawn at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    visible: bool,
}

impl Progress {
    /// Bars go to standard error, where that is a terminal and nobody asked for quiet.
    pub(super) fn new(quiet: bool) -> Progress {
        Progress { visible: !quiet && io::stderr().is_terminal() }
    }

    /// Runs a job of so many chunks: draws how far it is, and cancels it when a signal comes.
    pub(super) fn watch<T>(
        self,
        pool: &Pool,
        what: &'static str,
        chunks: usize,
        job: impl FnOnce() -> T,
    ) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let look = || self.look(pool, what, chunks as u64, &over);
            // Without a thread to spare the job still runs, unseen.
            let watcher = thread::Builder::new().spawn_scoped(scope, look).ok();
            let done = job();
            over.store(true, Ordering::Release);
            if let Some(watcher) = watcher {
                watcher.thread().unpark();
            }
            done
        })
    }

    fn look(self, pool: &Pool, what: &'static str, chunks: u64, over: &AtomicBool) {
        let mut bar = None;
        let mut looks = 0;
        loop {
            thread::park_timeout(TICK);
            if over.load(Ordering::Acquire) {
                break;
            }
            let done = pool.progress();
            if done.chunks > 0 {
                interrupt::is_at(what, done.done, done.chunks);
            }
            if interrupt::check().is_err() {
                pool.cancel_all();
            }
            looks += 1;
            if self.visible && looks >= LOOKS_WITHOUT_BAR {
                bar.get_or_insert_with(|| new_bar(what, chunks)).set_position(done.done);
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(what: &'static str, chunks: u64) -> ProgressBar {
    let style = "{msg:>10} [{bar:40}] {pos}/{len} chunks, {elapsed}, {eta} to go";
    let style = ProgressStyle::with_template(style)
        .expect("the template is a constant that a test has parsed")
        .progress_chars("=> ");
    ProgressBar::new(chunks).with_style(style).with_message(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_template_is_well_formed() {
        assert_eq!(new_bar("test", 5).length(), Some(5));
    }
}
