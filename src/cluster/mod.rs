//! Ranks of an MPI job, each with a pool: the chunks of one job dealt over many nodes.
//!
//! ```text
//! mpirun / srun --> rank 0: Cluster = MPI + Pool --> workers       one rank a node, or a NUMA node
//!               --> rank 1: Cluster = MPI + Pool --> workers
//!                           |  chunks by number, slots by number
//!                           '--- MPI: agreement, gather, fold
//! ```
//!
//! A rank is only a bigger worker: it runs a contiguous range of the job's chunks as a
//! [part](crate::Job::part_of) on its own pool. Kernels, streams, slots and the tree over slots go
//! by the chunk's number in the whole job, so that the bits are those of one pool. Network code is
//! MPI's (`comm.rs`); workers never call it, and their environment has none of the variables by which
//! MPI finds its ranks.

#![deny(unsafe_code)]

mod agree;
mod array;
mod comm;
pub(crate) mod deal;
mod error;
mod fold;
mod job;
mod place;
mod runs;

use std::any::type_name;
use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::marker::PhantomData;
use std::ops::Range;

use bytemuck::Pod;
use ndarray::Dimension;

use crate::array::SharedArray;
use crate::error::{Error, Result, StartError};
use crate::pool::{Pool, PoolBuilder};
use crate::topology::{PU_LIMIT, PuSet, Topology};
use agree::{Agreed, Tag};
use comm::Comm;
use deal::{Deal, Dealing};
use place::Place;

pub use array::{ClusterArray, Dealt};
pub use error::ClusterError;
pub use job::ClusterJob;

/// All ranks of an MPI job, each with a pool of its own; rank 0 works too.
///
/// Every rank runs the same program and makes the same calls. Of two clusters all ranks make the same
/// one first, and drop the same one first: what is between clusters, or between one and the program's
/// own calls of MPI, no cluster sees. Where one fails, all get the same
/// error; where one panics, or returns while others go on, the program ends on all. Dropping the
/// cluster ends this rank's pool, and MPI where the cluster has started it.
///
/// ```no_run
/// use pinpool::{Cluster, Pool};
///
/// let cluster = Cluster::builder().pool(Pool::builder().seed(42)).build()?;
/// let mut x = cluster.zeros::<f64, _>(40_000_000, 32_768)?;
/// cluster.for_each(x.chunks_out(32_768), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
/// let sums = cluster.map(x.chunks(32_768), |c, _| c.sum())?;
/// if cluster.is_root() {
///     println!("{}", sums.total());
/// }
/// # Ok::<(), pinpool::Error>(())
/// ```
pub struct Cluster {
    // Dropped in this order: the workers end, then MPI.
    pool: Pool,
    comm: Comm,
    deal: Deal,
    ranks_on_node: usize,
    warnings: Vec<String>,
    next_stream: Cell<u64>,
    /// The ranks are not at the same call any more: no collective would come back.
    broken: Cell<bool>,
    /// MPI is called by the thread that made this one alone.
    _bound_to_thread: PhantomData<*const ()>,
}

/// Options of a cluster; made by [`Cluster::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "a cluster starts when `build` is called"]
pub struct ClusterBuilder {
    pool: PoolBuilder,
}

impl ClusterBuilder {
    /// The options of each rank's pool. The seed must be the same on all ranks.
    pub fn pool(mut self, pool: PoolBuilder) -> ClusterBuilder {
        self.pool = pool;
        self
    }

    /// Starts MPI, unless the program has, and this rank's pool; every rank calls it.
    ///
    /// Ranks that share a node and are bound to nothing of their own share its cores out; where
    /// the launcher has bound them, each keeps to what it was given.
    ///
    /// # Errors
    /// [`ClusterError::Rank`] on all ranks where the pool of one does not start, as
    /// [`PoolBuilder::build`] says.
    pub fn build(self) -> Result<Cluster> {
        if crate::worker_process::is_worker() {
            return Err(StartError::InWorker.into());
        }
        let comm = Comm::start()?;
        let topology = Topology::current();
        let mask = topology.as_ref().map(|t| t.limits().allowed.clone()).unwrap_or_default();
        let (masks, local) = comm.on_this_node(&place::to_words(&mask, PU_LIMIT / 64));
        let masks: Vec<_> = masks.iter().map(|words| place::from_words(words)).collect();
        let seed = self.pool.seed_number();
        // `mpirun` ends a job with SIGTERM and, some milliseconds later, SIGKILL to each rank's whole
        // group: its workers need longer to remove what it has named.
        let options = self.pool.own_groups();
        let pool = topology.map_err(Error::from).and_then(|topology| {
            match place::place(&topology, &masks, local) {
                Place::Mask => options.build(),
                Place::Part(pus) => options.within(pus).build(),
            }
        });
        let pool = match agree::agree(&comm, Tag::new("build", "", &[seed]), pool) {
            Agreed::All(pool) => pool,
            Agreed::Failed(error) => return Err(error),
            Agreed::Apart(error) => return Err(error.into()),
        };
        let workers = comm.words_of_all(pool.workers() as u64);
        let deal = Deal::new(&workers, comm.rank());
        let mut warnings = pool.plan().warnings.clone();
        if masks.len() > cpus_of(&masks) {
            warnings.push(format!(
                "{} ranks on this node and fewer CPUs: they take turns; start one a node",
                masks.len()
            ));
        }
        Ok(Cluster {
            pool,
            comm,
            deal,
            ranks_on_node: masks.len(),
            warnings,
            next_stream: Cell::new(0),
            broken: Cell::new(false),
            _bound_to_thread: PhantomData,
        })
    }
}

/// CPUs that the ranks of a node may run on, all of them together.
fn cpus_of(masks: &[PuSet]) -> usize {
    let mut pus: Vec<usize> = masks.iter().flat_map(|mask| mask.iter()).collect();
    pus.sort_unstable();
    pus.dedup();
    pus.len()
}

impl Cluster {
    /// A cluster to be built.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A cluster with every default; see [`ClusterBuilder::build`].
    ///
    /// # Errors
    /// As [`ClusterBuilder::build`].
    pub fn new() -> Result<Cluster> {
        Cluster::builder().build()
    }

    /// This rank, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.comm.rank()
    }

    /// How many ranks there are.
    #[must_use]
    pub fn ranks(&self) -> usize {
        self.comm.size()
    }

    /// Whether this is rank 0: the one to print and save.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.rank() == 0
    }

    /// How many ranks share this one's node.
    #[must_use]
    pub fn ranks_on_node(&self) -> usize {
        self.ranks_on_node
    }

    /// Workers of all ranks together.
    #[must_use]
    pub fn workers(&self) -> u64 {
        self.deal.workers()
    }

    /// This rank's own pool. Jobs on it are this rank's alone, and draw from streams by its own
    /// count: name the [`stream`](Pool::stream) of those that draw.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What the user should know of this rank's place, a sentence each.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        self.warnings.iter().map(String::as_str)
    }

    /// Which MPI this is, and what follows from it for a rank that dies.
    #[must_use]
    pub fn mpi(&self) -> String {
        let recovery = if has_ulfm() {
            "it can go on without a dead rank (ULFM), which pinpool does not use"
        } else {
            "without ULFM"
        };
        format!("{}, {recovery}: a rank that dies ends the program", self.comm.library())
    }

    /// The chunks of a job of `chunks` that are dealt to this rank, for work of its own beside
    /// [`map`](Self::map): run them with [`Job::part_of`](crate::Job::part_of).
    #[must_use]
    pub fn share(&self, chunks: u64) -> Range<u64> {
        self.deal.mine(Dealing { total: chunks, stride: 1 })
    }

    /// Makes one rank's error everybody's: `Ok` where each rank has an `Ok`, else the error of the
    /// one that failed at the lowest chunk. Every rank calls it, with the same `call`.
    ///
    /// # Errors
    /// [`ClusterError::Rank`] on all ranks where one has an error.
    pub fn agree<T>(&self, call: &'static str, outcome: Result<T>) -> Result<T> {
        self.agree_on(call, &[], outcome)
    }

    /// One number of each rank, by rank; every rank gets all of them. Every rank calls it, with the
    /// same `call`.
    ///
    /// # Errors
    /// [`ClusterError::Left`], [`ClusterError::Apart`] where some rank does not come to this call.
    pub fn numbers(&self, call: &'static str, number: u64) -> Result<Vec<u64>> {
        self.agree_on(call, &[], Ok(()))?;
        Ok(self.comm.words_of_all(number))
    }

    /// Each rank's rows one after the other, by rank, in a new array on rank 0; `None` on the others.
    /// Every rank calls it, with as many rows as it has, or none. For [`ClusterArray::local`] it is
    /// the whole array. Rank 0 has its own rows twice then.
    ///
    /// # Errors
    /// [`ClusterError::Rank`] on all ranks where rank 0 has no room for it;
    /// [`ClusterError::Apart`] on all where elements or rows are not of one type and shape, after
    /// which the cluster takes no more calls; [`ClusterError::Left`] where a rank does not come.
    ///
    /// # Panics
    /// Where the array has no axis, and so no rows.
    pub fn gather<T: Pod, D: Dimension>(
        &self,
        rows: &SharedArray<T, D>,
    ) -> Result<Option<SharedArray<T, D>>> {
        let [_, row @ ..] = rows.shape() else { panic!("an array without axes has no rows") };
        let row: Vec<u64> = row.iter().map(|&len| len as u64).collect();
        self.agree_as("gather", type_name::<T>(), &row, Ok(()))?;
        let row_bytes = rows.row_len() * size_of::<T>();
        let counts = self.comm.words_of_all(rows.rows() as u64);
        let mut dim = rows.raw_dim();
        if let Some(axis_0) = dim.slice_mut().first_mut() {
            *axis_0 = counts.iter().sum::<u64>() as usize;
        }
        let whole = self.is_root().then(|| SharedArray::zeros(dim)).transpose();
        let mut whole = self.agree_on("gather", &[], whole.map_err(Into::into))?;
        let counts: Vec<usize> = counts.iter().map(|&rows| rows as usize * row_bytes).collect();
        let mine = bytemuck::cast_slice(rows.as_slice());
        let to = whole.as_mut().map(|whole| bytemuck::cast_slice_mut(whole.as_mut_slice()));
        self.comm.gather_to_root(mine, &counts, to);
        Ok(whole)
    }

    fn agree_on<T>(&self, call: &'static str, words: &[u64], outcome: Result<T>) -> Result<T> {
        self.agree_as(call, "", words, outcome)
    }

    fn agree_as<T>(
        &self,
        call: &'static str,
        kernel: &str,
        words: &[u64],
        outcome: Result<T>,
    ) -> Result<T> {
        if self.broken.get() {
            return Err(ClusterError::Broken.into());
        }
        match agree::agree(&self.comm, Tag::new(call, kernel, words), outcome) {
            Agreed::All(value) => Ok(value),
            Agreed::Failed(error) => Err(error),
            Agreed::Apart(error) => {
                self.broken.set(true);
                Err(error.into())
            }
        }
    }

    fn comm(&self) -> &Comm {
        &self.comm
    }

    fn deal(&self) -> &Deal {
        &self.deal
    }

    /// The job number of the next job's streams; all ranks count alike.
    fn next_stream(&self) -> u64 {
        self.next_stream.replace(self.next_stream.get() + 1)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The others wait for this rank, or will: nothing but the end can be told to them.
            let (rank, node) = (self.rank(), self.comm.node_name());
            let text = format!(
                "pinpool: rank {rank} on {node} has panicked; the program ends on all ranks\n"
            );
            // In one piece: launchers mix what ranks write.
            let _ = std::io::stderr().write_all(text.as_bytes());
            self.comm.abort(101);
        }
        if !self.broken.get() {
            agree::leave(&self.comm);
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("rank", &self.rank())
            .field("ranks", &self.ranks())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Whether this MPI can shrink a communicator to the ranks that live.
fn has_ulfm() -> bool {
    crate::sys::image::has_symbol(c"MPIX_Comm_shrink")
}
