//! The pool: workers that stay, jobs that come and go.
//!
//! ```text
//! Pool --submit--> Jobs --control block--> Worker (process, thread, or the caller itself)
//!   |                ^                        |
//!   '-- Supervisor --'-- recovery <-- death --'
//! ```
//!
//! Above the transport all backends are one code path: [`Jobs`] publishes, a
//! [`Worker`](crate::worker) claims and runs; only how a worker comes to be differs.

mod builder;
mod calls;
pub(crate) mod checkpoint;
mod close;
mod ends;
mod future;
mod job;
pub(crate) mod jobs;
mod limits;
mod long;
mod notes;
mod outcomes;
mod output;
mod pending;
pub(crate) mod recover;
mod results;
mod running;
mod scope;
mod stream;
mod supervisor;
pub(crate) mod table;
pub(crate) mod ticket;
#[cfg(feature = "capi")]
pub(crate) mod untyped;
mod watched;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytemuck::Pod;
use ndarray::Ix1;

pub use builder::{Backend, PoolBuilder};
pub use future::PendingFuture;
pub use job::Job;
pub use jobs::OnDeath;
pub use limits::Stall;
pub use long::{Lists, Strings};
pub use outcomes::{ChunkError, Outcomes};
pub use pending::Pending;
pub use running::Progress;
pub(crate) use running::Running;
pub use scope::{Scope, ScopedJob};
pub use stream::{Completed, InOrder};

use crate::args::Args;
use crate::array::SharedArray;
use crate::control::Control;
use crate::ctx::Ctx;
use crate::error::{JobError, Result};
use crate::placement::Plan;
use crate::sys::process::forks;
use crate::trace::{Rings, Timeline};
use crate::worker::Worker;
use jobs::Jobs;
use supervisor::Supervisor;
use table::Local;
use ticket::Ticket;

/// Workers, each bound to its place, that run kernels over shared arrays.
///
/// Every method takes `&self`: several threads may submit jobs at once. Dropping the pool ends
/// its workers; nothing is left in `/dev/shm` or the process table.
///
/// ```
/// use pinpool::{Pool, SharedArray};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).seed(42).build()?;
/// let mut x = SharedArray::<f64, _>::zeros(10_000)?;
/// pool.for_each(x.chunks_mut(1_000), |mut c, ctx| c.fill(ctx.chunk() as f64))?;
/// let sums = pool.map(x.chunks(1_000), |c, _| c.sum())?;
/// assert_eq!(sums.total(), 45_000.0);
/// # Ok::<(), pinpool::Error>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    // Dropped in this order: first the workers end, then what they use goes.
    crew: Crew,
    /// Wakes who awaits a job; `None` before the first.
    waiter: Mutex<Option<future::Waiter>>,
    jobs: std::sync::Arc<Jobs>,
    trace: Option<Rings>,
    control: Control,
    plan: Plan,
    backend: Backend,
    cancel_grace: std::time::Duration,
    seed: u64,
    /// Names of scopes; 0 is none.
    next_scope: AtomicU64,
    forks: u64,
    /// The workers are another program, which has not the host's own code.
    #[cfg_attr(not(feature = "capi"), expect(dead_code, reason = "only kernels in C ask"))]
    beside: bool,
}

/// Who runs the chunks.
#[derive(Debug)]
enum Crew {
    Processes { supervisor: Supervisor },
    Threads { threads: Threads },
    Serial(Box<Mutex<Worker<Local>>>),
}

/// Worker threads; dropping them ends them.
#[derive(Debug)]
struct Threads {
    control: Control,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    fn new(control: Control) -> Threads {
        Threads { control, handles: Mutex::default() }
    }

    /// Waits until each thread has ended, which it does after its chunk.
    fn join(&self) {
        let mut handles = self.handles.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for handle in handles.drain(..) {
            let _ = handle.join();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Without threads there is nobody to tell; in a fork of the host not even the memory to
        // tell them in (`Pool::drop`).
        let handles = self.handles.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !handles.is_empty() {
            shut_down(&self.control);
            self.join();
        }
    }
}

/// Tells all workers to end after the chunk that they are at.
fn shut_down(control: &Control) {
    control.header().shutdown.word.store(1, Ordering::SeqCst);
    control.announce(usize::MAX);
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_fork() {
            shut_down(&self.control);
        } else {
            // The workers are the parent's, and so is the thread that watches them.
            let threads = Threads::new(self.control.clone());
            let crew = std::mem::replace(&mut self.crew, Crew::Threads { threads });
            std::mem::forget(crew);
            // Nor does the thread live here that wakes tasks.
            let waiter = self.waiter.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::forget(waiter.take());
        }
    }
}

impl Pool {
    /// A pool to be built: number of workers, placement, seed, backend.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// A pool with every default: a worker process on each usable physical core.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Pool> {
        Pool::builder().build()
    }

    /// How many workers it has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.control.workers()
    }

    /// Where each worker was placed, and why.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What runs the chunks.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The seed of all random streams.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the workers did when, as far as it is kept; `None` where the pool was built without
    /// [`trace`](PoolBuilder::trace), and in a fork of the process that built it.
    #[must_use]
    pub fn timeline(&self) -> Option<Timeline> {
        self.trace.as_ref().filter(|_| !self.is_fork()).map(Rings::timeline)
    }

    /// Deaths of workers that the pool has recovered from.
    #[must_use]
    pub fn deaths(&self) -> u64 {
        self.jobs.deaths()
    }

    /// Each worker's process and the PU on which the kernel ran it when it was ready; for the
    /// backends without processes the process is this one. Nobody, in a fork of the process that
    /// built the pool.
    #[must_use]
    pub fn whereabouts(&self) -> Vec<Whereabouts> {
        let workers = if self.is_fork() { 0 } else { self.workers() };
        (0..workers)
            .map(|worker| {
                let standing = &self.control.worker(worker).standing;
                Whereabouts {
                    worker,
                    pid: standing.pid.load(Ordering::Relaxed) as u32,
                    pu: standing.pu.load(Ordering::Relaxed) as usize,
                }
            })
            .collect()
    }

    /// Runs `f` once for each chunk; the results lie in an array, one slot a chunk, where the
    /// workers wrote them.
    ///
    /// `args` is one chunked array, [`indices`](crate::indices), or a tuple of arguments of which
    /// at least one has chunks. `f` must not capture anything: values go in as
    /// [`Param`](crate::Param).
    ///
    /// # Errors
    /// [`ArgsError`](crate::ArgsError) where the arguments do not fit together,
    /// [`CreateError`](crate::CreateError) where there is no room for the results, and
    /// [`JobError`] where a kernel failed; chunks changed in place are then each wholly old or
    /// wholly new.
    ///
    /// A closure that captures does not compile:
    /// ```compile_fail
    /// # use pinpool::{Pool, SharedArray};
    /// # let pool = Pool::new().unwrap();
    /// # let x = SharedArray::<f64, _>::zeros(10).unwrap();
    /// let factor = 2.0;
    /// let _ = pool.map(x.chunks(1), move |c, _| c[0] * factor);
    /// ```
    pub fn map<A, F, R>(&self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().map(args, f)
    }

    /// Runs `f` once for each chunk, for what it does to its chunks.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn for_each<A, F>(&self, args: A, f: F) -> Result<()>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        self.job().for_each(args, f)
    }

    /// Runs `f` once, on any worker, and gives its result.
    ///
    /// # Errors
    /// As [`map`](Self::map); [`ArgsError::NotACall`](crate::ArgsError::NotACall) where the
    /// arguments have more than one chunk.
    pub fn call<A, F, R>(&self, args: A, f: F) -> Result<R>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().call(args, f)
    }

    /// As [`map`](Self::map), with a kernel that may fail.
    ///
    /// # Errors
    /// As [`map`](Self::map); a failure is [`JobError::Failed`] with the error's text, at the
    /// lowest chunk that failed before the job stopped.
    pub fn try_map<A, F, R, E>(&self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        self.job().try_map(args, f)
    }

    /// A job with options of its own: `pool.job().stream(7).on_death(OnDeath::Fail).map(…)`.
    pub fn job(&self) -> Job<'_> {
        Job::new(self)
    }

    /// A job whose random streams are those of job number `stream`, whatever was run before.
    pub fn stream(&self, stream: u64) -> Job<'_> {
        self.job().stream(stream)
    }

    /// How far the jobs in flight are: for a progress bar, from another thread.
    #[must_use]
    pub fn progress(&self) -> Progress {
        if self.is_fork() {
            return Progress::default();
        }
        let (done, chunks) = self.jobs.progress();
        Progress { done, chunks }
    }

    /// Stops all jobs in flight: each ends with [`JobError::Cancelled`], after the chunks that
    /// are in progress. From another thread, or a thread that waits for signals.
    pub fn cancel_all(&self) {
        if !self.is_fork() {
            self.jobs.cancel_all();
        }
    }

    /// This process was forked from the one that built the pool. The control block is not mapped
    /// here, nor is any array: whatever would look at them asks this first.
    fn is_fork(&self) -> bool {
        forks::generation() != self.forks
    }

    /// Waits for a job; the serial backend runs it here.
    fn drive(&self, ticket: &Ticket) {
        if ticket.call().is_some() {
            self.jobs.wait(ticket, None);
        } else if !ticket.was_taken_out() {
            self.drive_slot(ticket.slot(), ticket.epoch());
        }
    }

    fn drive_slot(&self, slot: usize, epoch: u64) {
        if let Crew::Serial(worker) = &self.crew {
            let mut worker = worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            while !self.jobs.slot_is_over(slot, epoch) && worker.pass() {}
        }
        self.jobs.await_end(slot, epoch, None);
    }

    /// Runs a job where it is started, if nobody else would run it beside the caller.
    #[cfg(feature = "capi")]
    fn drive_here<T>(&self, running: &Running<T>) {
        if self.is_serial() {
            running.wait(self);
        }
    }

    /// The workers are another program, which has not the code of the host's own.
    #[cfg(feature = "capi")]
    pub(crate) fn is_beside(&self) -> bool {
        self.beside
    }

    /// Has workers in this process let go of jobs that are over: they hold no lock of a file on.
    fn let_go(&self) {
        match &self.crew {
            // Told by mail, when the parent itself has let go.
            Crew::Processes { .. } => {}
            Crew::Threads { .. } => {
                for worker in 0..self.workers() {
                    self.control.worker(worker).park.mail.fetch_add(1, Ordering::SeqCst);
                    self.control.wake_worker(worker);
                }
            }
            Crew::Serial(worker) => {
                let mut worker = worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                worker.forget_finished();
            }
        }
    }

    /// The caller itself runs the chunks.
    fn is_serial(&self) -> bool {
        matches!(self.crew, Crew::Serial(_))
    }

    /// Whether there is a pool in this process.
    pub(crate) fn check_alive(&self) -> std::result::Result<(), JobError> {
        if self.is_fork() { Err(JobError::Forked) } else { Ok(()) }
    }
}

/// Several threads may submit jobs to one pool, and watch them.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Pool>();
};

/// Where a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Whereabouts {
    /// The worker's number.
    pub worker: usize,
    /// Its process.
    pub pid: u32,
    /// The PU that it ran on.
    pub pu: usize,
}
