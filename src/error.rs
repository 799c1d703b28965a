//! What can go wrong, one enum an operation, and the crate's own `Result`.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use crate::checkpoint::CheckpointError;
use crate::config::{MAX_ARGS, MAX_CHUNKS, MAX_NDIM, MAX_PARAM_BYTES};
use crate::placement::PlacementError;
use crate::queue::{GetError, PutError};
use crate::segment::{AttachError, CreateError};
use crate::topology::TopologyError;

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that a pool, a job or a shared array can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A shared array or another segment could not be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A shared array could not be opened.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// The machine's topology could not be read.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The placement asked for cannot be met.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The pool could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The arguments of a job do not fit together.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// A job came to a bad end.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Ranks of a cluster failed, or are not at the same call.
    #[cfg(feature = "mpi")]
    #[error(transparent)]
    Cluster(#[from] crate::cluster::ClusterError),
    /// A checkpoint could not be begun or gone on from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Nothing could be put into a queue.
    #[error(transparent)]
    Put(#[from] PutError),
    /// Nothing could be taken out of a queue.
    #[error(transparent)]
    Get(#[from] GetError),
}

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A worker tried to build a pool.
    #[error(
        "a worker process cannot build a pool of its own; build it in the parent, outside of kernels"
    )]
    InWorker,
    /// The library is in a shared object that was loaded while the host ran, and the program that
    /// loads it in workers cannot be used.
    #[error(
        "the workers' program {} {problem}; pinpool's code is in {}, which the host has loaded \
         itself, so put pinpool-worker beside it, name one in PINPOOL_WORKER_PROGRAM, or use the \
         backend `threads`",
        .program.display(), .library.display()
    )]
    WorkerProgram {
        /// Where it was looked for.
        program: PathBuf,
        /// The image that it would load.
        library: PathBuf,
        /// What is wrong with it.
        problem: WorkerProgramError,
    },
    /// A worker program was named for a pool that needs none.
    #[error(
        "the worker program {} was named, but pinpool's code is in the program itself, which \
         workers execute; leave it out", .program.display()
    )]
    NeedlessWorkerProgram {
        /// The name given.
        program: PathBuf,
    },
    /// The file of the library was deleted while the host ran.
    #[error(
        "the shared object that pinpool's code was loaded from has been deleted or replaced, and \
         workers cannot load it; start the program anew"
    )]
    LibraryGone,
    /// A system call failed.
    #[error("{what} failed: {source}; {advice}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
        /// What to do about it.
        advice: &'static str,
    },
    /// A worker ended, or reported an error, before it was ready.
    #[error("worker {worker} did not start: {reason}")]
    Worker {
        /// Which one.
        worker: usize,
        /// Its own words, or how it died.
        reason: String,
    },
    /// The backend cannot do it.
    #[error("{what} needs worker processes; the backend is `{backend}`")]
    NeedsProcesses {
        /// What was asked for.
        what: &'static str,
        /// The backend.
        backend: &'static str,
    },
    /// The initializer is not in the executable.
    #[error(
        "the initializer {kernel} is not part of the executable (a plugin?); workers run the \
         executable alone: link it into the executable"
    )]
    ForeignInitializer {
        /// Its type name.
        kernel: &'static str,
    },
    /// The initializer's parameter is too large.
    #[error(
        "the initializer's parameter takes {bytes} bytes, {MAX_PARAM_BYTES} at most; \
         put large state into a shared array and pass it to the jobs"
    )]
    InitializerParam {
        /// How many.
        bytes: usize,
    },
    /// Not all workers were ready in time.
    #[error(
        "only {ready} of {workers} workers were ready after {waited:?}; \
         the machine may be overloaded: try fewer workers"
    )]
    TimedOut {
        /// Workers that were ready.
        ready: usize,
        /// Workers asked for.
        workers: usize,
        /// How long was waited.
        waited: Duration,
    },
}

/// Why a program is none for workers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerProgramError {
    /// It cannot be opened.
    #[error("cannot be opened ({0})")]
    Open(#[source] std::io::Error),
    /// It is no executable file.
    #[error("is no executable file")]
    NotExecutable,
    /// Anybody could change it.
    #[error("may be written by every user")]
    Writable,
    /// It is another user's.
    #[error("belongs to user {uid}, not to this one, to root, or to the library's owner")]
    Owner {
        /// Whose it is.
        uid: u32,
    },
}

/// Why the arguments of a job were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// A chunk of no rows.
    #[error("the chunk length is 0; use at least 1 row, or `default_chunk()`")]
    ChunkZero,
    /// Arguments of one job with different numbers of chunks.
    #[error(
        "argument {argument} has {other} chunks and the ones before it {first}; \
         chunk lengths and rows must give the same number of chunks"
    )]
    UnequalChunks {
        /// Chunks of the first argument.
        first: u64,
        /// Chunks of the other one.
        other: u64,
        /// The other's place in the tuple, from 0.
        argument: u64,
    },
    /// A cluster's job with chunks that every rank would run.
    #[error(
        "a chunked argument of a cluster's job is not dealt to the ranks; use chunks of a \
         `ClusterArray` or the cluster's `indices(n)`, and `whole()` for what each rank has in full"
    )]
    NotDealt,
    /// Arguments of one job that are dealt to the ranks in different ways.
    #[error(
        "argument {argument} is dealt to the ranks otherwise than the ones before it; give the \
         arrays of a job as many chunks, and as many of them that stay together"
    )]
    UnequalDealing {
        /// The other's place in the tuple, from 0.
        argument: u64,
    },
    /// Chunks that would begin on one rank and end on the next.
    #[error(
        "chunks of {rows} rows do not fit an array that is dealt to the ranks by {dealt} rows; \
         use a length that divides {dealt}, or make the array with chunks of {rows}"
    )]
    CrossesRanks {
        /// Rows of a chunk.
        rows: u64,
        /// Rows that stay together.
        dealt: u64,
    },
    /// A part that does not lie inside its job.
    #[error(
        "chunks {first} to {} are no part of a job of {total}; they must lie inside it",
        first.saturating_add(*chunks)
    )]
    NotAPart {
        /// The number of the part's first chunk.
        first: u64,
        /// Chunks of the part.
        chunks: u64,
        /// Chunks of the whole job.
        total: u64,
    },
    /// More chunks than a job can have.
    #[error("{chunks} chunks in one job, {MAX_CHUNKS} at most; use longer chunks")]
    TooManyChunks {
        /// As asked for.
        chunks: u64,
    },
    /// More arguments than a job can have.
    #[error("a job takes at most {MAX_ARGS} arguments; pass parameters as one struct")]
    TooManyArguments,
    /// More dimensions than an argument can have.
    #[error("the array has {ndim} dimensions, an argument at most {MAX_NDIM}; reshape it")]
    TooManyDimensions {
        /// Of the array.
        ndim: usize,
    },
    /// More parameter bytes than a job can carry.
    #[error(
        "the parameters take {bytes} bytes, a job carries at most {MAX_PARAM_BYTES}; \
         put large state into a shared array and pass it as `whole()`"
    )]
    ParamsTooLarge {
        /// All of them together, up to the one that was too much.
        bytes: usize,
    },
    /// The file under an array is shorter than the array.
    #[error(
        "the file under {name} was truncated since the array was made or opened; \
         make it again, and let no other program truncate it"
    )]
    Truncated {
        /// The array's name or path.
        name: String,
    },
    /// An array that was opened read-only is to be changed.
    #[error("the array was opened read-only and cannot be changed; open it for writing")]
    ReadOnly,
    /// `map` over arguments that have no chunks.
    #[error(
        "no argument has chunks, so the job has no length; add `x.chunks(n)` or `indices(n)`, \
         or use `call` for a single call"
    )]
    NoChunks,
    /// `call` with chunked arguments.
    #[error("`call` runs its function once, but the arguments have {chunks} chunks; use `map`")]
    NotACall {
        /// How many they have.
        chunks: u64,
    },
    /// The backend cannot do it.
    #[error(
        "{what} needs worker processes, since a thread cannot be killed; \
         the pool's backend is `{backend}`"
    )]
    NeedsProcesses {
        /// What was asked for.
        what: &'static str,
        /// The pool's backend.
        backend: &'static str,
    },
    /// The kernel is not in the executable.
    #[error(
        "the kernel {kernel} is not part of the executable (a plugin?); workers run the \
         executable alone: link the kernel into it"
    )]
    ForeignKernel {
        /// Its type name.
        kernel: &'static str,
    },
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Death {
    /// By a signal of this number.
    Signal(i32),
    /// By `exit` with this status.
    Exit(i32),
    /// Killed by the pool, because its chunk took longer than the job's `chunk_timeout`.
    Overdue,
    /// Nobody could tell: the host lets the system reap its children.
    Unknown,
}

impl Death {
    /// Killed from outside, as by `kill -9` or for lack of memory.
    #[must_use]
    pub fn is_kill(self) -> bool {
        matches!(self, Death::Signal(9 | 15) | Death::Unknown)
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Death::Signal(n) => {
                let name = match n {
                    4 => "SIGILL",
                    6 => "SIGABRT",
                    7 => "SIGBUS",
                    8 => "SIGFPE",
                    9 => "SIGKILL",
                    11 => "SIGSEGV",
                    15 => "SIGTERM",
                    _ => return write!(f, "signal {n}"),
                };
                write!(f, "signal {n} ({name})")
            }
            Death::Exit(status) => write!(f, "exit with status {status}"),
            Death::Overdue => f.write_str("the time limit of its chunk"),
            Death::Unknown => f.write_str("an unknown cause"),
        }
    }
}

/// How a job came to a bad end. The pool lives on, unless the text says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The kernel panicked.
    #[error("kernel {kernel} panicked in chunk {chunk} on worker {worker}: {message}")]
    Panic {
        /// Its type name.
        kernel: &'static str,
        /// The lowest chunk that failed.
        chunk: u64,
        /// Who ran it.
        worker: usize,
        /// The panic's text and place.
        message: String,
    },
    /// The kernel returned an error.
    #[error("kernel {kernel} failed in chunk {chunk} on worker {worker}: {message}")]
    Failed {
        /// Its type name.
        kernel: &'static str,
        /// The lowest chunk that failed.
        chunk: u64,
        /// Who ran it.
        worker: usize,
        /// The error's text.
        message: String,
    },
    /// A worker died, and the job was not to be retried, or too often.
    #[error(
        "worker {worker} (pid {pid}) died by {death} in chunk {chunk} of kernel {kernel}, \
         {deaths} deaths in that chunk; {note}"
    )]
    Died {
        /// Its type name.
        kernel: &'static str,
        /// The chunk that it had claimed.
        chunk: u64,
        /// Which worker.
        worker: usize,
        /// Its process.
        pid: u32,
        /// How it died the last time.
        death: Death,
        /// How often a worker died in this chunk.
        deaths: u32,
        /// What else is known: out of memory, where core dumps go.
        note: String,
    },
    /// The caller cancelled it.
    #[error("the job was cancelled")]
    Cancelled,
    /// It took longer than its `time_limit`.
    #[error("the job was not finished within its time limit of {allowed:?} and was ended")]
    Overran {
        /// The limit.
        allowed: Duration,
    },
    /// The pool takes no more jobs.
    #[error("the pool is closed and takes no more jobs; submit before `close`, or build another")]
    Closed,
    /// A time-out of the caller passed; the job goes on.
    #[error("the job was not finished after {waited:?}; it goes on")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
    /// A kernel used the pool that runs it, or another one.
    #[error("a kernel cannot submit jobs; submit them from outside of kernels")]
    InKernel,
    /// This process is a fork of the one that built the pool.
    #[error(
        "this process is a fork of the one that built the pool, and has no pool; \
         build one after the fork"
    )]
    Forked,
    /// The workers cannot be kept alive.
    #[error("the pool is broken: worker {worker} does not start any more: {reason}")]
    Broken {
        /// Which worker.
        worker: usize,
        /// How its last start ended.
        reason: String,
    },
}

impl JobError {
    /// The same error of a job whose first chunk is number `first` of a larger one.
    pub(crate) fn in_part(mut self, first: u64) -> JobError {
        if let JobError::Panic { chunk, .. }
        | JobError::Failed { chunk, .. }
        | JobError::Died { chunk, .. } = &mut self
        {
            *chunk += first;
        }
        self
    }
}
