//! A worker: find a job, claim a chunk, run it, publish it; and sleep when there is nothing.
//!
//! The same loop runs in a worker process, a worker thread and, for the serial backend, in the
//! caller. What differs is behind [`SegmentSource`]. Each step leaves a state that another worker
//! can continue from; the steps W1 to W6 are those of `control.md`.

mod call;
mod durable;
mod task;
mod turn;

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use rustix::thread::futex;

use crate::config::{LOOKS_BETWEEN_YIELDS, MAX_ARGS, MAX_JOBS, SLOTS_AHEAD, WORKER_SPIN_NS};
use crate::control::Control;
use crate::ctx::Ctx;
use crate::cursor::Cursor;
use crate::entry::{Call, KernelEntry, Outcome};
use crate::layout::{ArgKind, BUSY, CALLS, JobDesc, RETURNED, SLEEPING, SPINNING};
use crate::panics::set_in_kernel;
use crate::protocol::{Owner, Word};
use crate::segment::Segment;
use crate::trace::{EventKind, Recorder};

use call::Scratch;
use task::Task;
use turn::{Turn, report};

/// Where a worker finds the segments that jobs speak of.
pub(crate) trait SegmentSource {
    /// The mappings are the parent's own, and a job keeps them while it is live.
    const IN_PROCESS: bool = false;

    /// The segment with this number; waits for it if it is still on its way.
    fn segment(&mut self, id: u64) -> Option<Arc<Segment>>;

    /// Lets go of segments that are gone. Called when the worker has nothing to do.
    fn tidy(&mut self) {}
}

/// A worker's state; nothing of it matters after its death.
#[derive(Debug)]
pub(crate) struct Worker<S> {
    control: Control,
    index: usize,
    owner: Owner,
    ctx: Ctx,
    source: S,
    tasks: Vec<Option<Box<Task>>>,
    /// The slot that had the last turn.
    last: usize,
    mail_seen: u64,
    /// Chunks that it may still run before it makes room for a successor.
    left: Cell<u64>,
    trace: Recorder,
    scratch: Scratch,
    /// One bit a slot: its task is, or was, a batch of calls.
    batches: u64,
}

impl<S: SegmentSource> Worker<S> {
    pub(crate) fn new(
        control: Control,
        index: usize,
        incarnation: u32,
        mut source: S,
    ) -> Worker<S> {
        let seed = control.header().seed.load(Ordering::Relaxed);
        let most = control.header().max_chunks.load(Ordering::Relaxed);
        Worker {
            trace: Recorder::open(&control, &mut source, index),
            left: Cell::new(if most == 0 { u64::MAX } else { most }),
            index,
            owner: Owner { worker: index as u32, incarnation },
            ctx: Ctx::new(seed, index, incarnation),
            source,
            tasks: (0..MAX_JOBS).map(|_| None).collect(),
            last: 0,
            mail_seen: 0,
            scratch: call::scratch(),
            batches: 0,
            control,
        }
    }

    /// Runs the pool's initializer, if it has one; the text says how it failed.
    pub(crate) fn initialize(&mut self) -> Result<(), String> {
        let header = self.control.header();
        let offset = header.initializer.load(Ordering::Acquire);
        if offset == 0 {
            return Ok(());
        }
        let entry = KernelEntry::at(offset as i64)
            .ok_or("the initializer is at no place of this executable")?;
        // As a job of one chunk with one argument: the parameter.
        let mut desc = JobDesc::zeroed();
        desc.head.args = 1;
        desc.args[0].kind = ArgKind::Param as u64;
        desc.args[0].rows = header.initializer_bytes.load(Ordering::Relaxed);
        for (to, from) in desc.params.iter_mut().zip(&header.initializer_param) {
            *to = from.load(Ordering::Relaxed);
        }
        let bases = [ptr::null_mut(); MAX_ARGS];
        let mut call = Call {
            desc: &desc,
            bases: &bases,
            chunk: 0,
            journal: ptr::null_mut(),
            result: ptr::null_mut(),
            ctx: &mut self.ctx,
        };
        set_in_kernel(true);
        // SAFETY: the builder stored an entry for one `Param` and no result, and the parameter
        // that belongs to it; it needs no memory of a job.
        let outcome = unsafe { entry.run(&mut call) };
        set_in_kernel(false);
        match outcome {
            Outcome::Done => Ok(()),
            Outcome::Returned(text) => Err(format!("its initializer failed: {text}")),
            Outcome::Panicked(text) => Err(format!("its initializer panicked: {text}")),
        }
    }

    /// Works until the pool shuts down, or until it has run its number of chunks.
    pub(crate) fn run(&mut self) {
        crate::sys::float::set_default();
        loop {
            let header = self.control.header();
            if header.shutdown.word.load(Ordering::SeqCst) != 0 || self.left.get() == 0 {
                return;
            }
            let seq = header.dispatch.work_seq.load(Ordering::SeqCst);
            if !self.pass() {
                self.idle(seq);
            }
        }
    }

    /// Gives each live job turns until none has a chunk for this worker; says if any ran.
    pub(crate) fn pass(&mut self) -> bool {
        let mut any = false;
        loop {
            // A worker that never rests would hold on to what its callers have let go of.
            self.read_mail();
            let header = self.control.header();
            let live = header.dispatch.live.load(Ordering::SeqCst);
            let ends = header.shutdown.word.load(Ordering::Relaxed) != 0 || self.left.get() == 0;
            if live == 0 || ends {
                return any;
            }
            if live.count_ones() > 1 {
                // Two submitters may have counted on this one worker: let another one help.
                self.control.wake(1);
            }
            let start = (self.last + 1) % MAX_JOBS;
            let mut ran = false;
            let slots = |rest: u64| {
                let next = |rest: &u64| (*rest != 0).then(|| rest & (rest - 1));
                let first = (rest != 0).then_some(rest);
                let slot = move |rest: u64| (start + rest.trailing_zeros() as usize) % MAX_JOBS;
                std::iter::successors(first, move |r| next(r).filter(|&r| r != 0)).map(slot)
            };
            let mut ahead = slots(live.rotate_right(start as u32)).skip(1);
            ahead.by_ref().take(SLOTS_AHEAD - 1).for_each(|slot| self.control.expect(slot));
            for slot in slots(live.rotate_right(start as u32)) {
                if let Some(slot) = ahead.next() {
                    self.control.expect(slot);
                }
                ran |= self.turn(slot);
            }
            if !ran {
                return any;
            }
            any = true;
        }
    }

    /// One job's turn: all that it has if it is alone, else one chunk.
    fn turn(&mut self, slot: usize) -> bool {
        let epoch = self.control.job(slot).live.load(Ordering::Acquire);
        if epoch == 0 {
            return false;
        }
        let mut task = self.tasks[slot].take().unwrap_or_else(|| Task::new(slot));
        let ran = self.enter(&mut task, epoch) && self.work(&mut task);
        self.tasks[slot] = Some(task);
        if ran {
            self.last = slot;
        }
        ran
    }

    /// Makes `task` speak of job `epoch`; `false` where there is nothing to do in it.
    fn enter(&mut self, task: &mut Task, epoch: u64) -> bool {
        let line = self.control.job(task.slot);
        if task.epoch == epoch {
            if !task.exhausted {
                return true;
            }
            let rescan = line.rescan.load(Ordering::SeqCst);
            if rescan != task.rescan {
                task.rescan = rescan;
                task.cursor.rescan();
            } else if !task.has_calls(&self.control) {
                return false;
            }
            task.exhausted = false;
            return true;
        }
        if !self.control.read_desc(task.slot, epoch, &mut task.desc) {
            return false;
        }
        let rescan = line.rescan.load(Ordering::SeqCst);
        let journal = self.control.worker(self.index).standing.journal.load(Ordering::Acquire);
        if let Err(text) = task.attach(&self.control, &mut self.source, self.index, journal) {
            if line.live.load(Ordering::SeqCst) == epoch {
                report(&self.control, self.index, (task.slot, epoch), 0, RETURNED, &text);
                line.stop.fetch_max(epoch, Ordering::SeqCst);
                // Others may be in its chunks: then the last of them ends it. Without words to
                // look at, the caller who waits finds out.
                if !task.words.is_null() && is_over(&self.control, task.slot, epoch, task.words()) {
                    self.control.complete(task.slot, epoch);
                }
            }
            task.epoch = epoch;
            task.rescan = rescan;
            task.exhausted = true;
            return false;
        }
        let is_batch = task.desc.head.flags & CALLS != 0;
        if S::IN_PROCESS && !is_batch {
            // Holding on would keep a dropped array, and its name, alive. A late look needs the
            // words alone: all else is touched under a claim, while the job is active. (At a batch's
            // records one looks without.)
            task.segments.truncate(usize::from(task.desc.head.words != 0));
        }
        task.epoch = epoch;
        task.rescan = rescan;
        task.exhausted = false;
        self.batches = self.batches & !(1 << task.slot) | u64::from(is_batch) << task.slot;
        // Calls are taken in the order in which they were made: all are every worker's share.
        let (worker, workers) =
            if is_batch { (0, 1) } else { (self.index, self.control.workers()) };
        task.cursor = Cursor::new(task.desc.head.chunks, worker, workers);
        task.cursor.open(self.control.tally(task.slot, self.index), epoch);
        true
    }

    fn work(&mut self, task: &mut Task) -> bool {
        let mut cursor = std::mem::take(&mut task.cursor);
        let turn = Turn {
            control: &self.control,
            dispatch: &self.control.header().dispatch,
            shutdown: &self.control.header().shutdown.word,
            line: self.control.job(task.slot),
            current: &self.control.worker(self.index).current,
            armed: task.armed(&self.control, self.index),
            tally: self.control.tally(task.slot, self.index),
            words: task.words(),
            task,
            owner: self.owner,
            index: self.index,
            left: &self.left,
            trace: &self.trace,
            scratch: &self.scratch,
        };
        set_in_kernel(true);
        let (ran, finished) = turn.run(&mut cursor, &mut self.ctx);
        set_in_kernel(false);
        if finished {
            turn.leave();
        }
        task.exhausted = finished;
        task.cursor = cursor;
        ran
    }

    /// Looks for work for a while, then sleeps until somebody says that there is some.
    fn idle(&mut self, seq: u64) {
        self.control.set_idle(self.index, true);
        // A call that was added before that could be seen was told to nobody.
        if !self.has_calls() {
            self.rest(seq);
        }
        self.control.set_idle(self.index, false);
    }

    /// Whether a batch that this worker was in has a call for it.
    fn has_calls(&mut self) -> bool {
        let mut rest = self.batches;
        while rest != 0 {
            let slot = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let Some(task) = self.tasks[slot].as_mut().filter(|task| task.epoch != 0) else {
                continue;
            };
            let live = self.control.job(slot).live.load(Ordering::SeqCst) == task.epoch;
            if live && task.has_calls(&self.control) {
                return true;
            }
        }
        false
    }

    fn rest(&mut self, seq: u64) {
        let began = self.trace.start();
        let mail = self.read_mail();
        let (dispatch, shutdown) =
            (&self.control.header().dispatch, &self.control.header().shutdown.word);
        let park = &self.control.worker(self.index).park;
        let news = || {
            dispatch.work_seq.load(Ordering::SeqCst) != seq
                || shutdown.load(Ordering::SeqCst) != 0
                || park.mail.load(Ordering::SeqCst) != mail
        };
        park.state.store(SPINNING, Ordering::SeqCst);
        if !spin_until(WORKER_SPIN_NS, LOOKS_BETWEEN_YIELDS, news) {
            let group = &self.control.header().sleepers.bits[self.index / 64];
            let bit = 1u64 << (self.index % 64);
            park.state.store(SLEEPING, Ordering::SeqCst);
            group.fetch_or(bit, Ordering::SeqCst);
            while !news() && park.state.load(Ordering::SeqCst) == SLEEPING {
                // Shared between processes: no PRIVATE flag.
                let _ = futex::wait(&park.state, futex::Flags::empty(), SLEEPING, None);
            }
            group.fetch_and(!bit, Ordering::SeqCst);
        }
        park.state.store(BUSY, Ordering::SeqCst);
        self.trace.end(EventKind::Wait, began, 0);
    }

    /// Takes what came by mail; says how much has come so far.
    fn read_mail(&mut self) -> u64 {
        let mail = self.control.worker(self.index).park.mail.load(Ordering::Acquire);
        if mail != self.mail_seen {
            self.mail_seen = mail;
            self.forget_finished();
            self.source.tidy();
        }
        mail
    }

    /// Jobs that are over hold no mappings.
    pub(crate) fn forget_finished(&mut self) {
        for task in self.tasks.iter_mut().flatten() {
            if self.control.job(task.slot).live.load(Ordering::Acquire) != task.epoch {
                task.segments.clear();
                task.epoch = 0;
                task.exhausted = false;
            }
        }
    }
}

/// Whether a job has come to its end: every chunk is over, or it is stopped and none is claimed.
pub(crate) fn is_over(control: &Control, slot: usize, epoch: u64, words: &[AtomicU64]) -> bool {
    if control.job(slot).stop.load(Ordering::SeqCst) == epoch {
        return words.iter().all(|w| !Word(w.load(Ordering::SeqCst)).is_claimed_in(epoch));
    }
    let over: u64 = (0..control.workers()).map(|w| control.tally(slot, w).count(epoch)).sum();
    let line = control.job(slot);
    over + line.before.load(Ordering::Relaxed) == line.total.load(Ordering::SeqCst)
}

/// Spins until `done` or until the time is up; says which.
///
/// Every `looks` rounds of a third of a microsecond it offers its core to whoever else wants it:
/// where there are more threads than cores, the one that is waited for may be the one that is kept
/// from running.
pub(crate) fn spin_until(limit_ns: u64, looks: u32, done: impl Fn() -> bool) -> bool {
    for _ in 0..64 {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    let start = Instant::now();
    let limit = Duration::from_nanos(limit_ns);
    let mut rounds = 0u32;
    while start.elapsed() < limit {
        for _ in 0..32 {
            if done() {
                return true;
            }
            std::hint::spin_loop();
        }
        rounds += 1;
        if rounds.is_multiple_of(looks) {
            std::thread::yield_now();
        }
    }
    false
}
