//! The one file that calls MPI: a communicator of our own, and the few operations on it that a
//! cluster needs, all on bytes and words.
//!
//! An error inside MPI ends the program there (its default handler), so nothing here returns one.
//! Called by the thread that made it alone, as `MPI_THREAD_FUNNELED` wants it; workers never do.

#![forbid(unsafe_code)]

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::environment::{self, Universe};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};

use super::error::ClusterError;
use super::runs::Runs;

/// Most bytes of one gather: MPI counts them in 32 bits.
const WINDOW_BYTES: usize = 1 << 30;

/// All ranks of the job, in a communicator that only we use.
pub(super) struct Comm {
    // Dropped in this order: a communicator is freed before MPI ends.
    world: SimpleCommunicator,
    /// `None`: the program has started MPI itself and ends it itself.
    _universe: Option<Universe>,
}

impl Comm {
    /// Starts MPI unless the program has; every rank calls it.
    pub(super) fn start() -> Result<Comm, ClusterError> {
        if environment::is_finalized() {
            return Err(ClusterError::Finalized);
        }
        let universe = environment::initialize_with_threading(Threading::Funneled);
        let provided = environment::threading_support();
        if provided < Threading::Funneled {
            return Err(ClusterError::NoThreads);
        }
        let world = SimpleCommunicator::world().duplicate();
        Ok(Comm { world, _universe: universe.map(|(universe, _)| universe) })
    }

    pub(super) fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    pub(super) fn size(&self) -> usize {
        self.world.size() as usize
    }

    /// The ranks that share this one's memory: the words that each of them gave, in their order,
    /// and this one's place among them.
    pub(super) fn on_this_node(&self, words: &[u64]) -> (Vec<Vec<u64>>, usize) {
        let node = self.world.split_shared(self.world.rank());
        let mut all = vec![0u64; words.len() * node.size() as usize];
        node.all_gather_into(words, &mut all[..]);
        let each = all.chunks(words.len().max(1)).map(<[u64]>::to_vec).collect();
        (each, node.rank() as usize)
    }

    /// The least of each word over all ranks.
    pub(super) fn least<const N: usize>(&self, words: [u64; N]) -> [u64; N] {
        let mut least = [0u64; N];
        self.world.all_reduce_into(&words[..], &mut least[..], SystemOperation::min());
        least
    }

    /// One word of each rank, by rank.
    pub(super) fn words_of_all(&self, word: u64) -> Vec<u64> {
        let mut all = vec![0u64; self.size()];
        self.world.all_gather_into(&word, &mut all[..]);
        all
    }

    /// What `from` has in `bytes`, on all ranks.
    pub(super) fn broadcast(&self, from: usize, bytes: &mut [u8]) {
        for window in bytes.chunks_mut(WINDOW_BYTES) {
            self.world.process_at_rank(from as i32).broadcast_into(window);
        }
    }

    /// Everybody's bytes one after the other, on every rank; `counts` has their numbers.
    pub(super) fn gather_to_all(&self, mine: &[u8], counts: &[usize], all: &mut [u8]) {
        let runs = Runs::new(counts);
        for window in runs.windows(WINDOW_BYTES) {
            let part = &mine[runs.part(self.rank(), &window)];
            let (lens, starts) = runs.layout(&window);
            let mut to = PartitionMut::new(&mut all[window], lens, starts);
            self.world.all_gather_varcount_into(part, &mut to);
        }
    }

    /// As [`gather_to_all`](Self::gather_to_all), on rank 0, which is the one that has an `all`.
    pub(super) fn gather_to_root(&self, mine: &[u8], counts: &[usize], all: Option<&mut [u8]>) {
        let (runs, root) = (Runs::new(counts), self.world.process_at_rank(0));
        let Some(all) = all else {
            for window in runs.windows(WINDOW_BYTES) {
                root.gather_varcount_into(&mine[runs.part(self.rank(), &window)]);
            }
            return;
        };
        for window in runs.windows(WINDOW_BYTES) {
            let part = &mine[runs.part(0, &window)];
            let (lens, starts) = runs.layout(&window);
            let mut to = PartitionMut::new(&mut all[window], lens, starts);
            root.gather_varcount_into_root(part, &mut to);
        }
    }

    pub(super) fn send(&self, to: usize, bytes: &[u8]) {
        self.world.process_at_rank(to as i32).send(bytes);
    }

    pub(super) fn receive(&self, from: usize) -> Vec<u8> {
        self.world.process_at_rank(from as i32).receive_vec::<u8>().0
    }

    /// Ends the program on all ranks at once.
    pub(super) fn abort(&self, status: i32) -> ! {
        self.world.abort(status)
    }

    /// The name of this rank's node.
    pub(super) fn node_name(&self) -> String {
        environment::processor_name().unwrap_or_else(|_| "a node without a name".into())
    }

    /// What the MPI library calls itself: the first line of it.
    pub(super) fn library(&self) -> String {
        let text = environment::library_version().unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        line.split(", package").next().unwrap_or_default().trim_end_matches('\0').trim().to_owned()
    }
}
