//! One call of `map`, `for_each` or `call`, with its options, from arguments to results.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use ndarray::Ix1;

use super::Pool;
use super::calls::NewCall;
use super::checkpoint::{Like, OfJob};
use super::jobs::{OnDeath, Submission};
use super::limits::{Attention, Stall};
use super::running::{Place, Progress, Running, Value};
use super::ticket::{Bits, Ticket};
use crate::args::{Args, Description, Packed, Part};
use crate::array::SharedArray;
use crate::checkpoint::CheckpointError;
use crate::config::{INLINE_RESULT_BYTES, MAX_CHUNKS};
use crate::ctx::Ctx;
use crate::entry::{Entry, ForEach, KernelEntry, Map, TryMap};
use crate::error::{ArgsError, JobError, Result};
use crate::layout::CALL_RESULT_WORDS;
use crate::segment::{CreateError, Segment};

/// A job that is about to be run, with options of its own.
#[derive(Debug)]
#[must_use = "a job runs when `map`, `for_each` or `call` is called on it"]
pub struct Job<'p> {
    pub(super) pool: &'p Pool,
    stream: Option<u64>,
    /// The scope that waits for the job; 0: none.
    pub(super) scope: u64,
    pub(super) part: Option<Part>,
    on_death: OnDeath,
    pub(super) flags: u64,
    time_limit: Option<Duration>,
    chunk_timeout: Option<Duration>,
    hook: Option<Hook<'p>>,
    stall: Option<StallHook<'p>>,
    pub(super) checkpoint: Option<OfJob>,
}

/// Whom the waiting caller tells of chunks that take longer than this.
#[derive(Clone, Copy)]
struct StallHook<'p> {
    after: Duration,
    tell: &'p dyn Fn(Stall),
}

impl std::fmt::Debug for StallHook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StallHook").field("after", &self.after).finish_non_exhaustive()
    }
}

/// Whom the waiting caller tells how far the job is, and how often.
#[derive(Clone, Copy)]
struct Hook<'p> {
    every: Duration,
    tell: &'p dyn Fn(Progress),
}

impl std::fmt::Debug for Hook<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("every", &self.every).finish_non_exhaustive()
    }
}

impl<'p> Job<'p> {
    pub(super) fn new(pool: &'p Pool) -> Job<'p> {
        Job {
            pool,
            stream: None,
            scope: 0,
            part: None,
            on_death: OnDeath::default(),
            flags: 0,
            time_limit: None,
            chunk_timeout: None,
            hook: None,
            stall: None,
            checkpoint: None,
        }
    }

    /// The job number of its random streams, below 2^63; else the order of calls gives it.
    pub fn stream(mut self, stream: u64) -> Job<'p> {
        self.stream = Some(stream);
        self
    }

    /// The job is a part of a larger one of `total` chunks: its own are those from number `first`
    /// on. [`Ctx`] and [`indices`](crate::indices) speak of the larger job, and so do the random
    /// streams and errors, so that the parts, run anywhere, have the same bits as the whole.
    ///
    /// Slots and arrays are the part's own. Give [`stream`](Self::stream) too where the parts are
    /// run by different programs.
    ///
    /// ```
    /// use pinpool::{Pool, indices};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let whole = pool.stream(7).map(indices(10), |i, ctx| ctx.rng().next_u64() ^ i)?;
    /// let tail = pool.stream(7).part_of(6, 10).map(indices(4), |i, ctx| ctx.rng().next_u64() ^ i)?;
    /// assert_eq!(tail.as_slice(), &whole.as_slice()[6..]);
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    pub fn part_of(mut self, first: u64, total: u64) -> Job<'p> {
        self.part = Some(Part { first, total });
        self
    }

    /// What the job does when a worker dies in one of its chunks.
    pub fn on_death(mut self, on_death: OnDeath) -> Job<'p> {
        self.on_death = on_death;
        self
    }

    /// Ends the job with [`JobError::Overran`](crate::JobError::Overran) when it takes longer:
    /// workers that are still in it are killed, and their chunks put back as they were.
    ///
    /// Needs worker processes; else the job is refused
    /// ([`ArgsError::NeedsProcesses`](crate::ArgsError::NeedsProcesses)).
    pub fn time_limit(mut self, limit: Duration) -> Job<'p> {
        self.time_limit = Some(limit);
        self
    }

    /// Kills a worker that is in one chunk of this job for longer, as if it had crashed there: by
    /// default the chunk is put back and run again, and after the third time the job ends with
    /// [`JobError::Died`](crate::JobError::Died); with [`OnDeath::Fail`] after the first.
    ///
    /// Needs worker processes, as [`time_limit`](Self::time_limit).
    pub fn chunk_timeout(mut self, limit: Duration) -> Job<'p> {
        self.chunk_timeout = Some(limit);
        self
    }

    /// Has the waiting caller call `tell` that often, and once when all is done: a progress bar
    /// is `&|p| bar.set_position(p.done)`.
    ///
    /// Chunks are counted where they are computed, and not where results are taken. The serial
    /// backend computes in the caller, which therefore tells only at the end.
    pub fn on_progress(mut self, every: Duration, tell: &'p dyn Fn(Progress)) -> Job<'p> {
        self.hook = Some(Hook { every, tell });
        self
    }

    /// Has the waiting caller call `tell` for each chunk that takes longer than `after`, once for
    /// each attempt at it; the chunk goes on. To have its worker killed there is
    /// [`chunk_timeout`](Self::chunk_timeout), and both can be asked for.
    ///
    /// The serial backend computes in the caller, who therefore tells nothing.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use pinpool::{Pool, indices};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let squares = pool
    ///     .job()
    ///     .on_stall(Duration::from_secs(60), &|s| {
    ///         eprintln!("chunk {} has been in process {} for {:?}", s.chunk, s.pid, s.elapsed);
    ///     })
    ///     .map(indices(9), |i, _| i * i)?;
    /// assert_eq!(squares.as_slice()[8], 64);
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    pub fn on_stall(mut self, after: Duration, tell: &'p dyn Fn(Stall)) -> Job<'p> {
        self.stall = Some(StallHook { after, tell });
        self
    }

    /// As [`Pool::map`].
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map<A, F, R>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let running = self.start_map(&args, f)?;
        self.end(running)
    }

    /// As [`Pool::try_map`].
    ///
    /// # Errors
    /// As [`Pool::try_map`].
    pub fn try_map<A, F, R, E>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        let running = self.start_try_map(&args, f)?;
        self.end(running)
    }

    /// As [`Pool::for_each`].
    ///
    /// # Errors
    /// As [`Pool::for_each`].
    pub fn for_each<A, F>(self, args: A, f: F) -> Result<()>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        let running = self.start_for_each(&args, f)?;
        self.end(running)
    }

    /// As [`Pool::call`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub fn call<A, F, R>(self, args: A, f: F) -> Result<R>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let running = self.start_call(&args, f)?;
        self.end(running)
    }

    // The `start_` functions publish a job and do not wait. Their callers hold on to `args`, and
    // to what it borrows, until the job is over: the blocking calls above by waiting, a scope by
    // its lifetime.

    pub(crate) fn start_map<A, F, R>(&self, args: &A, f: F) -> Result<Running<SharedArray<R, Ix1>>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        captures_nothing(&f);
        self.start_slots(args, Map::<A, F, R>::ENTRY)
    }

    pub(crate) fn start_try_map<A, F, R, E>(
        &self,
        args: &A,
        f: F,
    ) -> Result<Running<SharedArray<R, Ix1>>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        captures_nothing(&f);
        self.start_slots(args, TryMap::<A, F, R, E>::ENTRY)
    }

    pub(crate) fn start_for_each<A, F>(&self, args: &A, f: F) -> Result<Running<()>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        captures_nothing(&f);
        let description = Description::of(args)?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        let ticket = self.publish(description, ForEach::<A, F>::ENTRY, None, 0)?;
        Ok(Running { ticket, chunks, value: Value::Made(()) })
    }

    pub(crate) fn start_call<A, F, R>(&self, args: &A, f: F) -> Result<Running<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        captures_nothing(&f);
        if self.checkpoint.is_some() {
            return Err(CheckpointError::Unsupported.into());
        }
        let (entry, bytes) = (Map::<A, F, R>::ENTRY, size_of::<R>());
        if const { A::MADE.is_small() && size_of::<R>() <= CALL_RESULT_WORDS * 8 }
            && self.may_travel_in_a_batch()
        {
            let mut params = Packed::default();
            args.pack(&mut params);
            let ticket = self.add_call(&params, entry, bytes)?;
            return Ok(Running { ticket, chunks: 1, value: Value::Read(None, read_bits) });
        }
        let description = Description::of(args)?;
        let chunks = description.chunks.unwrap_or(1);
        if chunks != 1 {
            return Err(ArgsError::NotACall { chunks }.into());
        }
        if bytes > INLINE_RESULT_BYTES {
            let slot = SharedArray::<R, Ix1>::zeros(1)?;
            let place = (Arc::clone(slot.segment()), slot.data_offset());
            let ticket = self.publish(description, entry, Some(place.clone()), bytes)?;
            return Ok(Running { ticket, chunks, value: Value::Read(Some(place), read_place) });
        }
        let ticket = self.publish(description, entry, None, bytes)?;
        Ok(Running { ticket, chunks, value: Value::Read(None, read_bits) })
    }

    /// A call of a scope without any wish but for its stream.
    fn may_travel_in_a_batch(&self) -> bool {
        let limits = self.time_limit.or(self.chunk_timeout);
        self.scope != 0
            && self.part.is_none()
            && self.on_death == OnDeath::Retry
            && limits.is_none()
            && !self.pool.is_serial()
    }

    fn add_call(
        &self,
        params: &Packed,
        entry: &'static KernelEntry,
        result_bytes: usize,
    ) -> Result<Ticket> {
        self.pool.check_alive()?;
        let offset = offset_of(entry)?;
        if crate::panics::in_kernel() {
            return Err(JobError::InKernel.into());
        }
        let (stream, scope) = (self.stream, self.scope);
        let new = NewCall { entry, params, result_bytes, stream, scope };
        self.pool.jobs.call(&new, offset)
    }

    fn start_slots<R: Pod>(
        &self,
        args: &impl Args,
        entry: &'static KernelEntry,
    ) -> Result<Running<SharedArray<R, Ix1>>> {
        const { assert!(size_of::<R>() > 0, "a kernel without a result is for `for_each`") };
        let description = Description::of(args)?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        let slots =
            usize::try_from(chunks).map_err(|_| ArgsError::TooManyChunks { chunks: MAX_CHUNKS })?;
        let results = self.slots::<R>(slots)?;
        let place = (Arc::clone(results.segment()), results.data_offset());
        let ticket = self.publish(description, entry, Some(place), size_of::<R>())?;
        Ok(Running { ticket, chunks, value: Value::Made(results) })
    }

    /// Memory for results, of earlier jobs' where there is some.
    pub(super) fn slots<R: Pod>(&self, slots: usize) -> Result<SharedArray<R, Ix1>> {
        self.pool.check_alive()?;
        Ok(SharedArray::<R, Ix1>::create(slots, |bytes| self.take(bytes))?)
    }

    /// Not asked in a fork of the host, which has no mapping of what is used again.
    pub(super) fn take(&self, bytes: usize) -> Result<Arc<Segment>, CreateError> {
        self.pool.jobs.results.take(bytes)
    }

    pub(super) fn publish(
        &self,
        args: Description,
        entry: &'static KernelEntry,
        results: Option<Place>,
        result_bytes: usize,
    ) -> Result<Ticket> {
        self.publish_at(args, entry, offset_of(entry)?, results, result_bytes)
    }

    /// As `publish`, of an entry that `offset` speaks for in the workers.
    pub(super) fn publish_at(
        &self,
        mut args: Description,
        entry: &'static KernelEntry,
        offset: i64,
        results: Option<Place>,
        result_bytes: usize,
    ) -> Result<Ticket> {
        let pool = self.pool;
        pool.check_alive()?;
        if let Some(part) = self.part {
            args.set_part(part)?;
        }
        if crate::panics::in_kernel() {
            return Err(JobError::InKernel.into());
        }
        let mut stream = self.stream;
        let limited = self.time_limit.or(self.chunk_timeout).is_some();
        if limited {
            pool.needs_processes("a time limit")?;
        }
        let (mut args, mut results) = (args, results);
        let checkpoint = match &self.checkpoint {
            None => None,
            Some(of_job) => {
                let (named, flags) = (self.stream, self.flags);
                let taken = named.unwrap_or_else(|| pool.jobs.take_stream());
                let like = Like { entry, offset, stream: taken, named, result_bytes, flags };
                let attached = of_job.open(pool, &mut args, like, results.take())?;
                stream = Some(attached.header.stream);
                results = attached.results();
                Some((Arc::clone(&attached.segment), attached.before))
            }
        };
        let submission = Submission {
            args,
            entry,
            offset,
            results,
            result_bytes,
            stream,
            scope: self.scope,
            on_death: self.on_death,
            flags: self.flags,
            checkpoint,
        };
        let ticket = pool.jobs.submit(submission).inspect_err(|_| {
            // The pool takes no jobs: nothing was begun.
            self.checkpoint.iter().for_each(OfJob::abandon);
        })?;
        if limited {
            pool.limit(&ticket, self.time_limit, self.chunk_timeout);
        }
        Ok(ticket)
    }

    /// Waits for the job, telling how far it is, and takes its value.
    pub(super) fn end<T>(&self, running: Running<T>) -> Result<T> {
        let over = Over { pool: self.pool, ticket: &running.ticket };
        if !self.pool.is_serial() {
            self.attend(&running);
        }
        running.wait(self.pool);
        if let Some(hook) = self.hook {
            (hook.tell)(running.progress(self.pool));
        }
        drop(over);
        let value = running.take(self.pool);
        match &self.checkpoint {
            Some(of_job) => of_job.close(self.pool, value),
            None => Ok(value?),
        }
    }
}

impl Job<'_> {
    /// Tells whom it is to tell, until the job is over; at once if there is nobody.
    fn attend<T>(&self, running: &Running<T>) {
        let mut stalls = self.stall.map(|s| (s, Attention::new(self.pool.workers(), s.after)));
        // Beyond the clock: never.
        let next_due = |hook: Hook<'_>| Instant::now().checked_add(hook.every);
        let mut due = self.hook.and_then(|hook| Some((hook, next_due(hook)?)));
        loop {
            let next = due.map(|(_, at)| at.saturating_duration_since(Instant::now()));
            let look = stalls.as_ref().map(|(_, attention)| attention.pause());
            let Some(pause) = next.into_iter().chain(look).min() else { return };
            if running.wait_timeout(self.pool, pause).is_ok() {
                return;
            }
            if let Some((hook, at)) = due
                && at <= Instant::now()
            {
                (hook.tell)(running.progress(self.pool));
                due = next_due(hook).map(|at| (hook, at));
            }
            if let Some((stall, attention)) = &mut stalls {
                let all = self.pool.jobs.stalled(&running.ticket, attention);
                all.into_iter().for_each(stall.tell);
            }
        }
    }
}

/// Sees a job to its end: the progress hook is the caller's and may panic, and what the job
/// borrows must outlive it all the same.
struct Over<'a> {
    pool: &'a Pool,
    ticket: &'a Ticket,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if self.pool.is_fork() {
            return;
        }
        if !self.pool.jobs.is_over(self.ticket) {
            self.pool.cancel(self.ticket.slot(), self.ticket.epoch());
            self.pool.drive(self.ticket);
        }
        if std::thread::panicking() {
            // Nobody will ask for its value: it holds on to nothing of what it had.
            self.pool.jobs.take_out(self.ticket.slot(), self.ticket.epoch());
            self.pool.let_go();
        }
    }
}

/// Where a kernel is for the workers.
fn offset_of(entry: &'static KernelEntry) -> Result<i64, ArgsError> {
    entry.offset().ok_or_else(|| ArgsError::ForeignKernel { kernel: entry.name() })
}

/// A result that lies in the job's slot of the control block.
fn read_bits<R: Pod>(bits: &Bits, _: Option<&Place>) -> R {
    bytemuck::pod_read_unaligned(&bytemuck::cast_slice(bits.words())[..size_of::<R>()])
}

/// A result that is too large for that.
fn read_place<R: Pod>(_: &Bits, place: Option<&Place>) -> R {
    let (segment, offset) = place.expect("a large result has a place of its own");
    let at = segment.base().wrapping_add(*offset).cast::<R>();
    // SAFETY: the place was made as one slot of type R, aligned, in a mapping that `segment`
    // keeps alive; the job is over, so that nobody writes it, and any bytes are an `R: Pod`.
    unsafe { at.read() }
}

/// Rejects, at compile time, a kernel that captures: it could not be conjured in a worker.
pub(super) fn captures_nothing<F>(_: &F) {
    const {
        assert!(
            size_of::<F>() == 0,
            "a kernel must not capture: pass values as `Param`, arrays as arguments"
        );
    }
    let _ = PhantomData::<F>;
}
