//! How the program ends: the one table of exit statuses.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

/// The signal that a broken pipe stands for.
const SIGPIPE: u8 = 13;

/// What the program tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: all done.
    Done,
    /// 1: it ran, and something failed.
    Failed,
    /// 2: asked for what cannot be.
    Usage,
    /// 128 + n: a signal ended it.
    Signal(u8),
}

impl Exit {
    /// The reader of standard output has gone.
    pub(super) const BROKEN_PIPE: Exit = Exit::Signal(SIGPIPE);

    pub(super) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Signal(n) => 128 + n,
        }
    }

    /// After an error of standard output: silent where the reader has gone (as a program that the
    /// signal kills would be), else with a message.
    pub(super) fn from_stream(error: &io::Error, errors: &mut impl Write) -> Exit {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Exit::BROKEN_PIPE;
        }
        let _ = writeln!(errors, "pinpool: cannot write to standard output: {error}");
        Exit::Failed
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
