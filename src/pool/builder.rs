//! Building a pool: options, the plan, the control block, and the start of the workers.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytemuck::Pod;
use rustix::thread::{Timespec, futex};

use super::jobs::Jobs;
use super::output::Output;
use super::supervisor::{Launch, Supervisor, Watch};
use super::table::{Local, Table};
use super::{Crew, Pool, Threads, shut_down};
use crate::config::{CANCEL_GRACE_MS, MAX_PARAM_BYTES, START_TIMEOUT_MS};
use crate::control::Control;
use crate::ctx::Ctx;
use crate::entry::{Entry, Initialize, KernelEntry};
use crate::error::{Result, StartError};
use crate::host::Program;
use crate::layout::Layout;
use crate::placement::{Bind, PlacementOptions, Places, Plan, bind, plan};
use crate::segment::Segment;
use crate::sys::image;
use crate::sys::process::{self, forks};
use crate::topology::{PuSet, Topology};
use crate::trace::Rings;
use crate::worker::Worker;
use crate::worker_process;

/// What runs the chunks of a pool's jobs. The results have the same bits on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// Worker processes: a crash in a kernel is survived.
    #[default]
    Processes,
    /// Threads of this process: the same speed, no protection.
    Threads,
    /// The caller itself, one chunk after the other.
    Serial,
}

impl Backend {
    /// The name used on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Backend::Processes => "processes",
            Backend::Threads => "threads",
            Backend::Serial => "serial",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A backend's name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown backend {0:?}; use one of processes, threads, serial")]
pub struct UnknownBackend(String);

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(s: &str) -> std::result::Result<Backend, UnknownBackend> {
        [Backend::Processes, Backend::Threads, Backend::Serial]
            .into_iter()
            .find(|b| b.name() == s)
            .ok_or_else(|| UnknownBackend(s.to_owned()))
    }
}

/// Options of a pool; made by [`Pool::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "a pool starts when `build` is called"]
pub struct PoolBuilder {
    placement: PlacementOptions,
    per_core: Option<usize>,
    backend: Backend,
    seed: u64,
    env: Vec<(OsString, OsString)>,
    name: Option<String>,
    initializer: Option<Initializer>,
    max_chunks: Option<u64>,
    cancel_grace: Option<Duration>,
    trace: Option<usize>,
    worker_program: Option<PathBuf>,
    /// Only these PUs of those that are allowed.
    within: Option<PuSet>,
    own_group: bool,
}

/// A function for each new worker, and its parameter's bytes.
#[derive(Debug, Clone)]
struct Initializer {
    entry: &'static KernelEntry,
    param: Vec<u8>,
}

impl PoolBuilder {
    /// So many workers. Default: one per usable physical core, cut by the CPU quota.
    pub fn workers(mut self, workers: usize) -> PoolBuilder {
        self.placement.workers = Some(workers);
        self
    }

    /// `n` workers on each usable physical core; 1 is the default.
    ///
    /// More than one shares the cores out, as `close` says.
    pub fn workers_per_physical_core(mut self, n: usize) -> PoolBuilder {
        self.placement.workers = None;
        self.placement.places = Some(Places::Cores);
        self.per_core = Some(n);
        self
    }

    /// A worker on each usable PU: SMT siblings each get one.
    pub fn workers_per_pu(mut self) -> PoolBuilder {
        self.placement.workers = None;
        self.placement.places = Some(Places::Threads);
        self
    }

    /// The policy that chooses each worker's place. Default: [`Bind::Close`].
    pub fn bind(mut self, bind: Bind) -> PoolBuilder {
        self.placement.bind = Some(bind);
        self
    }

    /// Where a policy would refuse more workers than places: share the places out instead.
    pub fn oversubscribe(mut self, yes: bool) -> PoolBuilder {
        self.placement.oversubscribe = yes;
        self
    }

    /// All placement options at once, as the command line has them.
    pub fn placement(mut self, options: PlacementOptions) -> PoolBuilder {
        self.placement = options;
        self
    }

    /// The options that were set, over those that are.
    #[cfg(feature = "capi")]
    pub(crate) fn amend_placement(mut self, options: &PlacementOptions) -> PoolBuilder {
        let places = options.places.clone().or(self.placement.places);
        self.placement = PlacementOptions { places, ..options.clone() };
        self
    }

    /// The seed of all random streams; default 0. The same seed, the same bits.
    pub fn seed(mut self, seed: u64) -> PoolBuilder {
        self.seed = seed;
        self
    }

    /// Workers go to these PUs of those that are allowed.
    #[cfg(feature = "mpi")]
    pub(crate) fn within(mut self, pus: PuSet) -> PoolBuilder {
        self.within = Some(pus);
        self
    }

    /// Each worker in a process group of its own, for parents whose group is killed as one.
    #[cfg(feature = "mpi")]
    pub(crate) fn own_groups(mut self) -> PoolBuilder {
        self.own_group = true;
        self
    }

    #[cfg(feature = "mpi")]
    pub(crate) fn seed_number(&self) -> u64 {
        self.seed
    }

    /// What runs the chunks; default [`Backend::Processes`].
    pub fn backend(mut self, backend: Backend) -> PoolBuilder {
        self.backend = backend;
        self
    }

    /// A variable of the worker processes' environment, beside or instead of the parent's.
    ///
    /// Libraries with threads of their own (`OMP_NUM_THREADS`, `OPENBLAS_NUM_THREADS`,
    /// `MKL_NUM_THREADS`, `RAYON_NUM_THREADS`) are kept at one thread a worker unless the
    /// parent's environment or this says otherwise.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> PoolBuilder {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A function that each worker runs once before its first chunk, also when it was started
    /// anew after a death; `param` is given to it, `()` for nothing.
    ///
    /// It is the place to set up what a worker keeps in its own memory: statics, thread-locals,
    /// a library that wants to be initialized. If it panics, [`build`](Self::build) fails with
    /// its message. Whatever it makes of [`Ctx::rng`] is the same in every worker.
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use pinpool::{Param, Pool};
    ///
    /// static TABLE: OnceLock<Vec<u32>> = OnceLock::new();
    ///
    /// let pool = Pool::builder()
    ///     .workers(2)
    ///     .oversubscribe(true)
    ///     .initializer(100u32, |n, _| TABLE.set((0..n).map(|i| i * i).collect()).unwrap())
    ///     .build()?;
    /// assert_eq!(pool.call(Param(7usize), |i, _| TABLE.get().unwrap()[i])?, 49);
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    pub fn initializer<P, F>(mut self, param: P, f: F) -> PoolBuilder
    where
        P: Pod,
        F: for<'w> Fn(P, &mut Ctx) + Copy + Send + 'static,
    {
        super::job::captures_nothing(&f);
        let entry = Initialize::<P, F>::ENTRY;
        let param = bytemuck::bytes_of(&param).to_vec();
        self.initializer = Some(Initializer { entry, param });
        self
    }

    /// Replaces a worker process by a new one after `n` chunks, between two chunks: for foreign
    /// code that leaks. Python's `maxtasksperchild`. Needs worker processes.
    pub fn max_chunks_per_worker(mut self, n: u64) -> PoolBuilder {
        self.max_chunks = Some(n.max(1));
        self
    }

    /// How long a chunk of a [cancelled](crate::Pending::cancel) job may go on before its worker
    /// is killed; two seconds unless said here.
    pub fn cancel_grace(mut self, grace: Duration) -> PoolBuilder {
        self.cancel_grace = Some(grace);
        self
    }

    /// What the workers are called in lists of processes: `NAME worker 3`; default `pinpool`.
    pub fn name(mut self, name: impl Into<String>) -> PoolBuilder {
        self.name = Some(name.into());
        self
    }

    /// The program that workers execute where pinpool's code is in a shared object which the host
    /// loaded while it ran; else `pinpool-worker` beside that object. The page is `docs/hosts.md`.
    pub fn worker_program(mut self, path: impl Into<PathBuf>) -> PoolBuilder {
        self.worker_program = Some(path.into());
        self
    }

    /// Has each worker record what it does when, the newest `events` of it: 32 bytes each.
    ///
    /// It costs two looks at the clock a chunk. [`Pool::timeline`] gives what was recorded.
    pub fn trace(mut self, events: usize) -> PoolBuilder {
        self.trace = Some(events);
        self
    }

    /// Starts the pool; returns when every worker is bound and ready.
    ///
    /// # Errors
    /// [`TopologyError`](crate::topology::TopologyError) and
    /// [`PlacementError`](crate::placement::PlacementError) where the placement cannot be met,
    /// [`CreateError`](crate::CreateError) where memory is short, [`StartError`] where workers do
    /// not start, or where a worker tries to build a pool.
    pub fn build(self) -> Result<Pool> {
        // Marked and not served (its `init` not reached yet, a marker that does not check out):
        // never a pool, or processes would start processes without an end.
        if worker_process::is_worker() || std::env::var_os(worker_process::VARIABLE).is_some() {
            return Err(StartError::InWorker.into());
        }
        let program = match self.backend {
            Backend::Processes => Program::choose(self.worker_program.as_deref())?,
            Backend::Threads | Backend::Serial => Program::Itself,
        };
        let beside = program.is_beside();
        if self.max_chunks.is_some() && self.backend != Backend::Processes {
            let (what, backend) = ("max_chunks_per_worker", self.backend.name());
            return Err(StartError::NeedsProcesses { what, backend }.into());
        }
        forks::watch();
        crate::panics::install_hook();
        // What earlier pools of this user left behind; a failure is no reason not to start.
        let _ = crate::segments::gc();
        let plan = self.plan()?;
        let workers = plan.workers.len();
        let layout = Layout { workers };
        let segment = Segment::nameless("pinpool-control", layout.bytes())?;
        let id = image::build_id()
            .map_err(system("reading /proc/self/exe", "mount /proc, which workers are run from"))?;
        let control = Control::create(Arc::clone(&segment), layout, id);
        control.header().seed.store(self.seed, Ordering::Relaxed);
        control.header().isa.store(isa_number(), Ordering::Relaxed);
        control.header().max_chunks.store(self.max_chunks.unwrap_or(0), Ordering::Relaxed);
        self.store_initializer(&control)?;
        let table = Table::new(control.clone());
        let trace = self.trace.map(|events| Rings::create(&control, events)).transpose()?;
        if let Some(rings) = &trace {
            table.ensure(&rings.segment);
        }
        let caller_has_core = process::allowed_pus() > workers;
        let jobs = Arc::new(Jobs::new(control.clone(), Arc::clone(&table), caller_has_core));
        let crew = match self.backend {
            Backend::Processes => {
                self.start_processes(&control, segment, &jobs, table, &plan, program)?
            }
            Backend::Threads => self.start_threads(&control, &table, &plan)?,
            Backend::Serial => {
                let mut worker = Worker::new(control.clone(), 0, 0, Local(table));
                let failed = |reason| StartError::Worker { worker: 0, reason };
                worker.initialize().map_err(failed)?;
                say_ready(&control, 0);
                Crew::Serial(Box::new(Mutex::new(worker)))
            }
        };
        Ok(Pool {
            crew,
            jobs,
            trace,
            control,
            plan,
            backend: self.backend,
            cancel_grace: self.cancel_grace.unwrap_or(Duration::from_millis(CANCEL_GRACE_MS)),
            seed: self.seed,
            next_scope: AtomicU64::new(1),
            waiter: Mutex::default(),
            forks: forks::generation(),
            beside,
        })
    }

    fn store_initializer(&self, control: &Control) -> std::result::Result<(), StartError> {
        let Some(Initializer { entry, param }) = &self.initializer else { return Ok(()) };
        if param.len() > MAX_PARAM_BYTES {
            return Err(StartError::InitializerParam { bytes: param.len() });
        }
        let foreign = || StartError::ForeignInitializer { kernel: entry.name() };
        let offset = entry.offset().ok_or_else(foreign)?;
        let header = control.header();
        for (word, bytes) in header.initializer_param.iter().zip(param.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        header.initializer_bytes.store(param.len() as u64, Ordering::Relaxed);
        header.initializer.store(offset as u64, Ordering::Release);
        Ok(())
    }

    fn plan(&self) -> Result<Plan> {
        let topology = match &self.within {
            Some(pus) => Topology::within(pus)?,
            None => Topology::current()?,
        };
        let mut options = self.placement.clone().from_env()?;
        if self.within.is_some() {
            // The rank's share of its node, and not what a launcher has left it.
            options.ranks_on_node = None;
        }
        if self.backend == Backend::Serial {
            options.workers = Some(1);
            options.bind = Some(Bind::None);
        }
        let first = plan(&topology, &options)?;
        match self.per_core {
            Some(n) if n != 1 && options.workers.is_none() => {
                options.workers = Some(first.workers.len().saturating_mul(n));
                Ok(plan(&topology, &options)?)
            }
            _ => Ok(first),
        }
    }

    fn start_processes(
        &self,
        control: &Control,
        segment: Arc<Segment>,
        jobs: &Arc<Jobs>,
        table: Arc<Table>,
        plan: &Plan,
        program: Program,
    ) -> Result<Crew> {
        let places = plan.workers.iter().map(|w| w.pus.clone()).collect();
        let name = self.name.clone().unwrap_or_else(|| "pinpool".into());
        let launch = Launch { program, env: self.env.clone(), name, own_group: self.own_group };
        let advice = "look at the limits of open files (ulimit -n) and threads (ulimit -u)";
        let watch = Watch::new(control.clone(), segment, Arc::clone(jobs), table, places, launch)
            .map_err(system("making an eventfd", advice))?;
        let watch = Arc::new(watch);
        let output = Output::start().map_err(system("starting the output thread", advice))?;
        let supervisor = Supervisor::start(Arc::clone(&watch), output)
            .map_err(system("starting the supervisor thread", advice))?;
        let failed = || watch.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(error) = await_ready(control, failed) {
            shut_down(control);
            drop(supervisor);
            return Err(error.into());
        }
        watch.built.store(true, Ordering::SeqCst);
        Ok(Crew::Processes { supervisor })
    }

    fn start_threads(&self, control: &Control, table: &Arc<Table>, plan: &Plan) -> Result<Crew> {
        let threads = Threads::new(control.clone());
        let name = self.name.as_deref().unwrap_or("pinpool");
        let failed = Arc::new(Mutex::new(None));
        for place in &plan.workers {
            let (control, table, failed) =
                (control.clone(), Arc::clone(table), Arc::clone(&failed));
            let (index, pus) = (place.index, place.pus.clone());
            let work = move || {
                if !pus.is_empty()
                    && let Err(error) = bind::bind_current_thread(&pus)
                {
                    let error = StartError::Worker { worker: index, reason: error.to_string() };
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return control.ring();
                }
                let mut worker = Worker::new(control.clone(), index, 0, Local(table));
                if let Err(reason) = worker.initialize() {
                    let error = StartError::Worker { worker: index, reason };
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return control.ring();
                }
                say_ready(&control, index);
                worker.run();
            };
            let handle = std::thread::Builder::new()
                .name(format!("{name}/{index}"))
                .spawn(work)
                .map_err(system("starting a worker thread", "look at ulimit -u"))?;
            threads.handles.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        }
        await_ready(control, || failed.lock().unwrap_or_else(PoisonError::into_inner).take())?;
        Ok(Crew::Threads { threads })
    }
}

fn system(what: &'static str, advice: &'static str) -> impl FnOnce(std::io::Error) -> StartError {
    move |source| StartError::System { what, source, advice }
}

/// The instruction set in use, as the control block has it: all workers use the parent's.
fn isa_number() -> u64 {
    use pinpool_kernels::isa::{Isa, current};
    Isa::ALL.iter().position(|&isa| isa == current()).map_or(0, |i| i as u64 + 1)
}

fn say_ready(control: &Control, worker: usize) {
    let standing = &control.worker(worker).standing;
    standing.pid.store(std::process::id().into(), Ordering::Relaxed);
    standing.pu.store(process::current_pu() as u64, Ordering::Relaxed);
    standing.ready.store(1, Ordering::Release);
    control.ring();
}

/// Waits until every worker has said that it is ready, or one that it is not.
fn await_ready(
    control: &Control,
    failed: impl Fn() -> Option<StartError>,
) -> std::result::Result<(), StartError> {
    let start = Instant::now();
    let limit = Duration::from_millis(START_TIMEOUT_MS);
    let seq = &control.header().event.seq;
    loop {
        let seen = seq.load(Ordering::SeqCst);
        let ready = (0..control.workers())
            .filter(|&w| control.worker(w).standing.ready.load(Ordering::Acquire) != 0)
            .count();
        if ready == control.workers() {
            return Ok(());
        }
        if let Some(error) = failed() {
            return Err(error);
        }
        let waited = start.elapsed();
        if waited > limit {
            return Err(StartError::TimedOut { ready, workers: control.workers(), waited });
        }
        let nap = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _ = futex::wait(seq, futex::Flags::empty(), seen, Some(&nap));
    }
}
