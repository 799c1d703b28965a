//! `pinpool exec --json`: what each command was and how it ended, as one JSON object.

#![forbid(unsafe_code)]

use std::io;
use std::os::unix::process::ExitStatusExt;

use serde::Serialize;

use super::capture::Capture;
use super::child::{Ended, signal_name};
use super::command::CommandLine;
use super::print::{Finished, Tally};
use crate::cli::base64::base64;
use crate::cli::failure::Failure;

/// Everything, in the order of the commands.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    commands: Vec<Entry<'a>>,
    summary: Summary,
}

/// One command, with its last attempt.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// From 0, as in `PINPOOL_EXEC_INDEX`.
    index: usize,
    command: &'a str,
    succeeded: bool,
    /// In words, where it did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Its exit status; null where it did not exit by itself.
    status: Option<i32>,
    /// The name of the signal that killed it.
    signal: Option<String>,
    timed_out: bool,
    attempts: u32,
    /// All attempts together.
    seconds: f64,
    worker: usize,
    /// The place that it was bound to.
    pus: &'a [usize],
    stdout: String,
    /// The bytes, where they are not UTF-8; `stdout` then has U+FFFD in place of what is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    stderr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_base64: Option<String>,
}

#[derive(Debug, Serialize)]
struct Summary {
    commands: usize,
    succeeded: usize,
    failed: usize,
    timed_out: usize,
    not_started: usize,
    tried_more_than_once: usize,
    seconds: f64,
    longest_seconds: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        commands: &'a [CommandLine],
        finished: Vec<Finished>,
        places: &'a [Vec<usize>],
        tally: &Tally,
        seconds: f64,
    ) -> Result<Report<'a>, Failure> {
        let entries = finished.into_iter().map(|one| {
            let pus = places.get(one.worker).map_or(&[][..], Vec::as_slice);
            entry(&commands[one.index].text, pus, one)
        });
        let entries = entries.collect::<io::Result<_>>();
        let entries = entries
            .map_err(|source| Failure::System { action: "read a command's output", source })?;
        let summary = Summary {
            commands: commands.len(),
            succeeded: tally.succeeded,
            failed: tally.failed,
            timed_out: tally.timed_out,
            not_started: tally.not_started,
            tried_more_than_once: tally.again,
            seconds,
            longest_seconds: tally.slowest,
        };
        Ok(Report { commands: entries, summary })
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
    }
}

fn entry<'a>(command: &'a str, pus: &'a [usize], finished: Finished) -> io::Result<Entry<'a>> {
    let Finished { index, run, attempts, seconds, worker } = finished;
    let status = match &run.ended {
        Ended::Exited(status) => Some(*status),
        _ => None,
    };
    let succeeded = run.ended.is_success();
    let (stdout, stdout_base64) = text(run.out)?;
    let (stderr, stderr_base64) = text(run.err)?;
    Ok(Entry {
        index,
        command,
        succeeded,
        error: (!succeeded).then(|| run.ended.describe()),
        status: status.and_then(|status| status.code()),
        signal: status.and_then(|status| status.signal()).map(signal_name),
        timed_out: matches!(run.ended, Ended::TimedOut(_)),
        attempts,
        seconds,
        worker,
        pus,
        stdout,
        stdout_base64,
        stderr,
        stderr_base64,
    })
}

/// A stream as text, and its bytes where they are none.
fn text(stream: Capture) -> io::Result<(String, Option<String>)> {
    let mut bytes = Vec::new();
    stream.emit(&mut bytes)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let bytes = error.into_bytes();
            (String::from_utf8_lossy(&bytes).into_owned(), Some(base64(&bytes)))
        }
    })
}
