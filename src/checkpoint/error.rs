//! What can be wrong with a checkpoint; each text says what to do next.

#![forbid(unsafe_code)]

use std::io;

/// Why a checkpoint could not be begun or gone on from. Nothing was changed by then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// There is one already.
    #[error(
        "'{path}' is there already: a job that did not come to its end; resume it, or remove the file if its array is to be given up"
    )]
    Exists {
        /// The checkpoint.
        path: String,
    },
    /// There is none.
    #[error(
        "there is no checkpoint '{path}': the job was never begun, or came to its end; begin it with a new checkpoint if it is to run"
    )]
    NotFound {
        /// The checkpoint.
        path: String,
    },
    /// A run has it.
    #[error(
        "the job of '{path}' is running (some process holds its lock); wait for its end, or end it first"
    )]
    InUse {
        /// The checkpoint.
        path: String,
    },
    /// Its run died while it made the file.
    #[error(
        "'{path}' was not complete when its run was killed, so that the job changed nothing yet; begin it anew"
    )]
    Unbegun {
        /// The checkpoint.
        path: String,
    },
    /// Something else has this name.
    #[error("'{path}' is no checkpoint of this library; give its own path, or move the file away")]
    NotACheckpoint {
        /// The file.
        path: String,
    },
    /// It cannot be trusted.
    #[error("'{path}' is {what}; a checkpoint is a file of yours alone")]
    NotYours {
        /// The file.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// Of another version of the library.
    #[error(
        "'{path}' has format {found}, and this program knows {known}; go on with the program that began it"
    )]
    Version {
        /// The checkpoint.
        path: String,
        /// Its format.
        found: u64,
        /// This program's format.
        known: u64,
    },
    /// It is longer or shorter than any that a run made.
    #[error(
        "'{path}' is {found} bytes long, which no run left it at; put the whole file back, or take the array from a copy and begin anew"
    )]
    Length {
        /// The checkpoint.
        path: String,
        /// Its length.
        found: u64,
    },
    /// Its contents contradict themselves.
    #[error(
        "'{path}' is damaged ({what}); put an undamaged copy back, or take the array from a copy and begin anew"
    )]
    Damaged {
        /// The checkpoint.
        path: String,
        /// Where.
        what: &'static str,
    },
    /// It is another job's.
    #[error("'{path}' is of another job: {difference}; give the job that was begun")]
    Differs {
        /// The checkpoint.
        path: String,
        /// The first difference.
        difference: Difference,
    },
    /// An array that does not outlive its process.
    #[error(
        "argument {argument} is an array in memory, which does not outlive the program; a job with a checkpoint works on arrays in files (`SharedArray::open_file`)"
    )]
    NotInAFile {
        /// Its place in the tuple, from 0.
        argument: usize,
    },
    /// A form of job that has none.
    #[error(
        "a checkpoint is for `map`, `try_map` and `for_each` that wait for their job, not here"
    )]
    Unsupported,
    /// More chunks and results than a file can have.
    #[error("the checkpoint would be larger than any file; use longer chunks or smaller results")]
    TooLarge,
    /// The system refused.
    #[error("cannot {action} '{path}': {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
}

/// What tells one job from another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Difference {
    /// Another program, or another build of it.
    #[error("it was begun by another build of the program")]
    Build,
    /// Another kernel.
    #[error("its kernel is {begun}, not {asked}, or one of that name at another place")]
    Kernel {
        /// The checkpoint's.
        begun: String,
        /// The one asked for.
        asked: String,
    },
    /// A number that differs.
    #[error("{what} was {begun} and is {asked} now")]
    Number {
        /// Which one.
        what: &'static str,
        /// The checkpoint's.
        begun: u64,
        /// The one asked for.
        asked: u64,
    },
    /// Other parameters.
    #[error("it was begun with other parameters")]
    Params,
    /// An array of another shape.
    #[error("argument {argument} had shape {begun:?} and has {asked:?} now")]
    Shape {
        /// Its place in the tuple, from 0.
        argument: usize,
        /// The checkpoint's.
        begun: Vec<u64>,
        /// The one asked for.
        asked: Vec<u64>,
    },
    /// Another file.
    #[error("argument {argument} is another file than the one that the job was begun on")]
    File {
        /// Its place in the tuple, from 0.
        argument: usize,
    },
    /// An argument of another kind or type.
    #[error("argument {argument} is of another kind or element type")]
    Argument {
        /// Its place in the tuple, from 0.
        argument: usize,
    },
}
