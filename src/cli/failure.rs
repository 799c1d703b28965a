//! Why the program did not do what it was asked, and which exit status that is.

#![forbid(unsafe_code)]

use std::io;

use pinpool::placement::PlacementError;
use pinpool::segments::GcError;
use pinpool::topology::TopologyError;
use pinpool::{AttachError, CheckpointError, CreateError, SaveError};

use super::exit::Exit;
use super::plan::UsageError;

/// One error for all subcommands: its text goes to standard error once, and ends the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The words of `--synthetic` or `--simulate`.
    #[error(transparent)]
    Synthetic(TopologyError),
    #[error(transparent)]
    Simulate(#[from] pinpool::simulate::SimulateError),
    #[error(transparent)]
    Pool(#[from] pinpool::Error),
    #[error(transparent)]
    Save(#[from] SaveError),
    #[error("'{path}' holds no elements; give a file with at least one")]
    EmptyInput { path: String },
    #[cfg(feature = "mpi")]
    #[error(
        "the ranks do not have the same {what}: rank 0 has {first}, rank {rank} has {other}; start \
         all with the same options, and where each node has a file of its own, with copies of one"
    )]
    RanksDiffer { what: &'static str, first: u64, rank: usize, other: u64 },
    #[error("'{path}' has changed since it was opened; let nobody write into it while a job runs")]
    InputChanged { path: String },
    #[error(transparent)]
    Segments(#[from] GcError),
    #[error(
        "the number {number} has {count} prime factors, and a row of --output has room for 16; leave --output out and take the text"
    )]
    TooManyFactors { number: u64, count: u32 },
    #[error(
        "the {what} of the backend {backend} differ from the serial ones; please report this, it must not happen"
    )]
    BitsDiffer { what: &'static str, backend: &'static str },
    #[error("'{path}' is no file of measurements of this job; leave --resume out to begin it anew")]
    NotResumable { path: String },
    #[error("cannot {action}: {source}")]
    System { action: &'static str, source: io::Error },
    #[error("ended by {name}{finished}; {left}")]
    Interrupted { signal: i32, name: &'static str, finished: String, left: String },
    /// Standard output failed.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[source] io::Error),
}

impl Failure {
    /// The exit status, after the text has gone to standard error.
    pub(super) fn report(&self) -> Exit {
        let exit = self.exit();
        if exit != Exit::BROKEN_PIPE {
            say!("pinpool: {self}");
        }
        exit
    }

    /// As [`report`](Self::report), of a rank of an MPI job: what all ranks have is told by the
    /// first of them, and what one has by itself.
    #[cfg(feature = "mpi")]
    pub(super) fn report_of_rank(&self, rank: usize) -> Exit {
        let all_have_it =
            matches!(self, Failure::Pool(pinpool::Error::Cluster(_)) | Failure::RanksDiffer { .. });
        if rank == 0 {
            return self.report();
        }
        if !all_have_it {
            let uname = rustix::system::uname();
            let node = uname.nodename().to_string_lossy();
            // In one piece: launchers mix what ranks write.
            let text = format!("pinpool: rank {rank} on {node}: {self}\n");
            let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
        }
        self.exit()
    }

    /// The exit status alone.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) | Failure::Synthetic(_) | Failure::Simulate(_) => Exit::Usage,
            Failure::Pool(error) => pool_exit(error),
            Failure::Interrupted { signal, .. } => {
                u8::try_from(*signal).map_or(Exit::Failed, Exit::Signal)
            }
            Failure::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Exit::BROKEN_PIPE
            }
            _ => Exit::Failed,
        }
    }
}

/// Whether the library says that it was asked for what cannot be, or that it failed.
fn pool_exit(error: &pinpool::Error) -> Exit {
    match error {
        pinpool::Error::Placement(_) | pinpool::Error::Args(_) => Exit::Usage,
        pinpool::Error::Create(
            CreateError::Name { .. }
            | CreateError::NoNode { .. }
            | CreateError::HugePageSize { .. }
            | CreateError::HugePagesNamed { .. },
        ) => Exit::Usage,
        // What is asked for is not what the file has; a file that is broken is no wrong use.
        pinpool::Error::Checkpoint(
            CheckpointError::Exists { .. }
            | CheckpointError::NotFound { .. }
            | CheckpointError::Differs { .. },
        ) => Exit::Usage,
        _ => Exit::Failed,
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Failure {
        Failure::Pool(error.into())
    }
}

impl From<AttachError> for Failure {
    fn from(error: AttachError) -> Failure {
        Failure::Pool(error.into())
    }
}

impl From<PlacementError> for Failure {
    fn from(error: PlacementError) -> Failure {
        Failure::Pool(error.into())
    }
}

impl From<TopologyError> for Failure {
    fn from(error: TopologyError) -> Failure {
        Failure::Pool(error.into())
    }
}
