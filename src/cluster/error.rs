//! What can go wrong between ranks. Each of these is the same on every rank that gets it.

#![forbid(unsafe_code)]

/// Why a cluster, or a job on it, came to a bad end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// One rank failed; all ranks get this.
    #[error("rank {rank} on {node}: {message}")]
    Rank {
        /// The one with the lowest failed chunk, else the lowest.
        rank: usize,
        /// Its node.
        node: String,
        /// Its own error's text.
        message: String,
        /// The chunk that failed, in the numbers of the whole job, where it was one.
        chunk: Option<u64>,
    },
    /// A rank let go of the cluster while others began a job on it.
    #[error(
        "rank {rank} has left the cluster while this one is in `{call}`; see what it says itself: \
         an error or an early return there, since every rank makes the same calls"
    )]
    Left {
        /// The lowest rank that did.
        rank: usize,
        /// What this rank was about to do.
        call: &'static str,
    },
    /// The ranks are not at the same call.
    #[error(
        "the ranks are not at the same call: this one is in `{call}`; every rank must make the \
         same calls with arguments of the same lengths, in the same order"
    )]
    Apart {
        /// What this rank was about to do.
        call: &'static str,
    },
    /// An earlier error has left the ranks at different places.
    #[error(
        "the ranks of this cluster are not at the same call since an earlier error; end the program"
    )]
    Broken,
    /// MPI was there and is gone.
    #[error("MPI has been finalized and cannot be started again; keep the cluster until the end")]
    Finalized,
    /// MPI was started without support for threads.
    #[error(
        "MPI was started without thread support, and a pool has threads; \
         ask for MPI_THREAD_FUNNELED, or let the cluster start MPI"
    )]
    NoThreads,
}
