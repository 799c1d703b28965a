//! One pool with one array: the steps that `run` and `compare` have in common, each timed.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use bytemuck::cast_slice;
use ndarray::Ix1;
use pinpool::placement::PlacementOptions;
use pinpool::{Backend, Pool, SharedArray, Timeline, chrome_trace};
use rustix::time::{ClockId, clock_gettime};

use super::failure::Failure;
use super::interrupt;
use super::kernels::{Form, Job};
use super::pages::{Got, PagesArgs};
use super::plan::{Plan, Source};
use super::progress::Progress;
use super::report::{Report, Seconds, hash};
use super::{data, memory};

/// Events that are kept of each worker: 4 MiB.
const TRACED_EVENTS: usize = 1 << 17;

/// A pool that is up, an array, and the clock.
#[derive(Debug)]
pub(super) struct Session<'p, J: Job> {
    job: J,
    plan: &'p Plan,
    backend: Backend,
    pool: Pool,
    pub(super) array: SharedArray<J::Element, Ix1>,
    pages: PagesArgs,
    chunk: usize,
    seconds: Seconds,
    /// When the last run began and ended, on the clock of timelines.
    ran_ns: (u64, u64),
}

/// What a session is opened with.
#[derive(Debug)]
pub(super) struct Setup<'p> {
    pub(super) plan: &'p Plan,
    pub(super) backend: Backend,
    pub(super) placement: &'p PlacementOptions,
    /// How the array is made.
    pub(super) pages: PagesArgs,
    /// The array's name in /dev/shm.
    pub(super) name: Option<&'p str>,
    /// Record what the workers do.
    pub(super) trace: bool,
}

impl<'p, J: Job> Session<'p, J> {
    /// Brings the pool up, and the array.
    pub(super) fn open(job: J, setup: &Setup<'p>) -> Result<Self, Failure> {
        let Setup { plan, backend, placement, pages, name, trace } = *setup;
        let started = Instant::now();
        let pool = pool(plan, backend, placement, trace)?;
        let seconds = Seconds { start: started.elapsed().as_secs_f64(), fill: 0.0, run: 0.0 };
        interrupt::check()?;
        let how = data::How { name, pages, pool: &pool, plan };
        let array = data::make(&plan.source, &how, job.changes_array())?;
        let chunk = plan.chunk(array.len())?;
        Ok(Session { job, plan, backend, pool, array, pages, chunk, seconds, ran_ns: (0, 0) })
    }

    /// Draws the elements, where they are drawn.
    pub(super) fn fill(&mut self, progress: &Progress) -> Result<(), Failure> {
        let started = Instant::now();
        if let Source::Drawn { .. } = self.plan.source {
            let Session { job, pool, array, chunk, .. } = self;
            let chunks = array.len().div_ceil(*chunk);
            let filled = progress
                .watch(pool, "fill", chunks, || job.fill(pool, array, *chunk, Form::Blocking));
            interrupt::check()?;
            filled?;
        }
        self.seconds.fill = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Has the array as it was before the kernel, once the kernel has changed it.
    pub(super) fn refill(&mut self, progress: &Progress) -> Result<(), Failure> {
        if !self.job.changes_array() {
            return Ok(());
        }
        match &self.plan.source {
            Source::File(path) | Source::Array(path) => data::read_again(path, &mut self.array),
            Source::Drawn { .. } => self.fill(progress),
        }
    }

    /// Runs the kernel and notes the time; of several runs the best one counts.
    pub(super) fn run(
        &mut self,
        form: Form<'_>,
        progress: &Progress,
    ) -> Result<SharedArray<J::Slot, Ix1>, Failure> {
        let Session { job, plan, pool, array, chunk, .. } = self;
        let chunks = array.len().div_ceil(*chunk);
        let (slots, began, ended) = progress.watch(pool, plan.kernel.name(), chunks, || {
            let began = now_ns();
            let slots = job.run(pool, array, *chunk, form);
            (slots, began, now_ns())
        });
        interrupt::check()?;
        self.ran_ns = (began, ended);
        let elapsed = (ended - began) as f64 / 1e9;
        let first = self.seconds.run == 0.0;
        self.seconds.run = if first { elapsed } else { self.seconds.run.min(elapsed) };
        Ok(slots?)
    }

    /// Has the next run's time count alone: those so far were to warm up.
    pub(super) fn forget_time(&mut self) {
        self.seconds.run = 0.0;
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// When the last run began and ended, on the clock of timelines.
    pub(super) fn ran_ns(&self) -> (u64, u64) {
        self.ran_ns
    }

    /// What the workers did so far.
    pub(super) fn timeline(&self) -> Timeline {
        self.pool.timeline().unwrap_or_default()
    }

    /// What the user should know of where the workers are.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &str> {
        self.pool.plan().warnings.iter().map(String::as_str)
    }

    /// Bytes that the job works on: its array and its results.
    pub(super) fn working_bytes(&self, slots: &SharedArray<J::Slot, Ix1>) -> u64 {
        (size_of_val(self.array.as_slice()) + size_of_val(slots.as_slice())) as u64
    }

    /// All that is known now.
    pub(super) fn report(&self, slots: &SharedArray<J::Slot, Ix1>) -> Report {
        let peak_memory_bytes = memory::peak_bytes();
        // After the peak, since it maps the array into this process.
        let memory = (!self.plan.kernel.is_range()).then(|| self.array.memory().ok()).flatten();
        let memory = memory.map(|memory| Got::of(&memory, &self.pages));
        let (total, count) = self.job.total(slots.as_slice());
        let (elements, chunk) = self.job.geometry(self.array.len(), self.chunk);
        Report {
            kernel: self.plan.kernel.name(),
            backend: self.backend.name(),
            isa: self.plan.isa.name(),
            workers: self.pool.workers(),
            ranks: None,
            ran_on: self.pool.whereabouts().iter().map(|worker| worker.pu).collect(),
            places: self.pool.plan().workers.iter().map(|worker| worker.pus.clone()).collect(),
            seed: self.plan.seed,
            elements,
            chunk,
            chunks: self.chunks(),
            seconds: self.seconds,
            total,
            total_bits: total.to_bits(),
            slots_hash: hash(cast_slice(slots.as_slice())),
            peak_memory_bytes,
            memory,
            count,
        }
    }

    /// Runs the kernel serially on the same elements, and fails where one bit differs.
    pub(super) fn verify(
        &mut self,
        slots: &SharedArray<J::Slot, Ix1>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let changed = self.job.changes_array().then(|| hash(cast_slice(self.array.as_slice())));
        self.pool = pool(self.plan, Backend::Serial, &PlacementOptions::default(), false)?;
        self.refill(progress)?;
        let Session { job, pool, array, chunk, .. } = self;
        let chunks = array.len().div_ceil(*chunk);
        let serial =
            progress.watch(pool, "verify", chunks, || job.run(pool, array, *chunk, Form::Blocking));
        interrupt::check()?;
        let differ = |what| Err(Failure::BitsDiffer { what, backend: self.backend.name() });
        if cast_slice::<_, u8>(slots.as_slice()) != cast_slice::<_, u8>(serial?.as_slice()) {
            return differ("results");
        }
        if changed.is_some_and(|changed| changed != hash(cast_slice(self.array.as_slice()))) {
            return differ("array's elements");
        }
        Ok(())
    }

    fn chunks(&self) -> usize {
        self.array.len().div_ceil(self.chunk)
    }
}

/// The clock of timelines.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Writes timelines as a Chrome trace; says how many events there was no room for.
pub(super) fn write_trace(path: &Path, timelines: &[(&str, &Timeline)]) -> Result<(), Failure> {
    let failed = |source| Failure::System { action: "write the trace", source };
    fs::write(path, chrome_trace(timelines)).map_err(failed)?;
    let dropped: u64 = timelines.iter().map(|(_, timeline)| timeline.dropped()).sum();
    if dropped > 0 {
        say!("pinpool: the trace lacks its {dropped} oldest events; give a larger --chunk");
    }
    Ok(())
}

fn pool(
    plan: &Plan,
    backend: Backend,
    placement: &PlacementOptions,
    trace: bool,
) -> Result<Pool, Failure> {
    let mut builder = Pool::builder().placement(placement.clone()).backend(backend).seed(plan.seed);
    if trace {
        builder = builder.trace(TRACED_EVENTS);
    }
    Ok(builder.build()?)
}
