//! Ctrl-C and SIGTERM: the run is wound up, and what cannot be wound up in time is cut off.
//!
//! A thread of its own waits for the signals. The first one is noted; the run looks at it between
//! its steps ([`check`]) and unwinds, so that arrays, temporary files and the pool are taken down
//! in the usual way, and says how far it came. At a second one, or after the grace, it is ended by
//! the system's rules: its files are removed here, workers see their parent die, and the exit
//! status is the same.

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fs, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Failure;

/// How long a run may take to unwind: Ctrl-C ends all within a second.
const GRACE: Duration = Duration::from_millis(700);

/// The signal that came; 0: none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// What is under way, how many of its chunks are finished, and of how many.
static AT: Mutex<Option<(&str, u64, u64)>> = Mutex::new(None);

/// Files that this run made, names in /dev/shm among them, and that must not outlive it.
static FILES: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The checkpoint that the run can go on from.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Starts to listen for SIGINT and SIGTERM.
pub(super) fn listen() -> Result<(), Failure> {
    let failed = |source| Failure::System { action: "listen for signals", source };
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let listener = move || {
        let mut each = signals.forever();
        let Some(first) = each.next() else { return };
        SIGNAL.store(first, Ordering::Release);
        // Where there is no thread for it, a second signal ends all as well.
        let grace = thread::Builder::new().spawn(move || {
            thread::sleep(GRACE);
            cut_off(first);
        });
        if each.next().is_some() || grace.is_err() {
            cut_off(first);
        }
    };
    let thread = thread::Builder::new().name("pinpool/signals".to_owned());
    thread.spawn(listener).map(drop).map_err(failed)
}

/// An error where a signal has come.
pub(super) fn check() -> Result<(), Failure> {
    match SIGNAL.load(Ordering::Acquire) {
        0 => Ok(()),
        signal => Err(failure(signal)),
    }
}

/// Says how far the job in flight is, for the last word of a run that is interrupted.
pub(super) fn is_at(what: &'static str, done: u64, chunks: u64) {
    *AT.lock().unwrap_or_else(PoisonError::into_inner) = Some((what, done, chunks));
}

/// From now on there is something to go on from.
pub(super) fn keeps(checkpoint: &Path) {
    *CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.to_owned());
}

fn failure(signal: i32) -> Failure {
    let finished = match *AT.lock().unwrap_or_else(PoisonError::into_inner) {
        Some((what, done, chunks)) => format!(" after {done} of {chunks} chunks of {what}"),
        None => String::new(),
    };
    let checkpoint = CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner);
    let left = match checkpoint.as_deref().filter(|path| path.exists()) {
        Some(path) => format!("what is done is kept in '{}': --resume goes on", path.display()),
        None => "nothing is left behind".to_owned(),
    };
    Failure::Interrupted { signal, name: name_of(signal), finished, left }
}

/// Has a file removed should the run be cut off.
pub(super) fn remove_at_end(file: PathBuf) {
    FILES.lock().unwrap_or_else(PoisonError::into_inner).push(file);
}

/// From now on this file stays.
pub(super) fn stays(file: &Path) {
    FILES.lock().unwrap_or_else(PoisonError::into_inner).retain(|known| known != file);
}

fn cut_off(signal: i32) -> ! {
    for file in FILES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let removed: io::Result<()> = fs::remove_file(file);
        // It may be gone already, which is all that is wanted.
        let _ = removed;
    }
    // The record of a name that is gone goes too; what cannot be collected now is so by the next pool.
    let _ = pinpool::segments::gc();
    if io::stderr().is_terminal() {
        // What is left of a bar that nobody clears any more.
        let _ = io::Write::write_all(&mut io::stderr(), b"\r\x1b[2K");
    }
    process::exit(i32::from(failure(signal).report().code()))
}

fn name_of(signal: i32) -> &'static str {
    if signal == SIGTERM { "SIGTERM" } else { "SIGINT" }
}
