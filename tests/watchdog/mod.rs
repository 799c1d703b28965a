//! Ends the whole test program, with a word why, where a test hangs.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// No test that is not stuck takes so long, also on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(100);

/// Runs `test`; where it does not end, ends the program.
pub(crate) fn watched(test: impl FnOnce()) {
    let (over, ended) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let watch = std::thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {name} hangs");
            std::process::abort();
        }
    });
    test();
    drop(over);
    watch.join().expect("the watchdog only waits");
}
