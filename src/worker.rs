//! A worker: find a job, claim a chunk, run it, publish it; and sleep when there is nothing.
//!
//! The same loop runs in a worker process, a worker thread and, for the serial backend, in the
//! caller. What differs is behind [`SegmentSource`]. Each step leaves a state that another worker
//! can continue from; the steps W1 to W6 are those of `control.md`.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};
use std::time::{Duration, Instant};

use bytemuck::Zeroable;
use rustix::thread::futex;

use crate::args::chunk_bytes;
use crate::config::{INLINE_WORDS, LOOKS_BETWEEN_YIELDS, MAX_ARGS, MAX_JOBS, WORKER_SPIN_NS};
use crate::control::{Control, store_text};
use crate::ctx::Ctx;
use crate::cursor::Cursor;
use crate::entry::{Call, KernelEntry, Outcome};
use crate::layout::{
    ArgDesc, ArgKind, BUSY, Current, Dispatch, JobDesc, JobLine, KEEP_GOING, PANIC, RETURNED,
    SLEEPING, SPINNING, Tally,
};
use crate::mutant::{self, Mutant};
use crate::panics::set_in_kernel;
use crate::protocol::{self, Owner, State, Word};
use crate::segment::Segment;
use crate::trace::{EventKind, Recorder};

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
}

/// A job as this worker knows it: description, mappings, and where it is in the chunks.
#[derive(Debug)]
struct Task {
    slot: usize,
    epoch: u64,
    desc: JobDesc,
    entry: Option<&'static KernelEntry>,
    bases: [*mut u8; MAX_ARGS],
    words: *const AtomicU64,
    results: *mut u8,
    journal: u64,
    journal_base: *mut u8,
    /// Keeps the mappings above alive.
    segments: Vec<Arc<Segment>>,
    cursor: Cursor,
    /// The job's `rescan` from before the cursor's first look: it differs once recovery has freed
    /// a chunk that this cursor may have passed.
    rescan: u64,
    /// The cursor found nothing more to claim.
    exhausted: bool,
}

// SAFETY: the pointers lead into mappings that `segments` keeps alive and that belong to the
// process, not to a thread; a task is used by the one thread that has its worker.
unsafe impl Send for Task {}

/// How an attempt at one chunk ended.
enum Attempt {
    Ran,
    Taken,
    Stopped,
}

impl Task {
    fn new(slot: usize) -> Box<Task> {
        Box::new(Task {
            slot,
            epoch: 0,
            desc: JobDesc::zeroed(),
            entry: None,
            bases: [ptr::null_mut(); MAX_ARGS],
            words: ptr::null(),
            results: ptr::null_mut(),
            journal: 0,
            journal_base: ptr::null_mut(),
            segments: Vec::new(),
            cursor: Cursor::default(),
            rescan: 0,
            exhausted: false,
        })
    }

    fn words(&self) -> &[AtomicU64] {
        let len = self.desc.head.chunks as usize;
        // SAFETY: `attach` checked that so many words lie there, in the control block or in a
        // segment that `self.segments` keeps mapped; they are only ever used as atomics.
        unsafe { std::slice::from_raw_parts(self.words, len) }
    }

    /// Arguments of the job that are changed in place.
    fn updates(&self) -> impl Iterator<Item = (&ArgDesc, *mut u8)> {
        let args = &self.desc.args[..self.desc.head.args as usize];
        args.iter().zip(self.bases).filter(|(arg, _)| arg.kind == ArgKind::Update as u64)
    }

    /// Maps what the job speaks of and checks that it lies inside; the text says what is wrong.
    fn attach<S: SegmentSource>(
        &mut self,
        control: &Control,
        source: &mut S,
        journal: u64,
    ) -> Result<(), String> {
        let head = self.desc.head;
        self.segments.clear();
        self.bases = [ptr::null_mut(); MAX_ARGS];
        // The words first: what goes wrong after them can be told to a job that others are in.
        self.words = ptr::null();
        self.words = if head.words == 0 {
            if head.chunks > INLINE_WORDS as u64 {
                return Err("the job's chunk words do not fit its slot".into());
            }
            control.inline_words(self.slot).as_ptr()
        } else {
            self.map(source, head.words, head.chunks.checked_mul(8))?.cast_const().cast()
        };
        self.entry = KernelEntry::at(head.entry);
        if self.entry.is_none() {
            return Err("the job names a place in the executable where no kernel is".into());
        }
        for i in 0..head.args as usize {
            let arg = self.desc.args[i];
            if arg.segment != 0 {
                let end = arg
                    .rows
                    .checked_mul(arg.row_bytes)
                    .and_then(|bytes| bytes.checked_add(arg.offset));
                self.bases[i] = self.map(source, arg.segment, end)?;
            }
        }
        self.results = if head.results == 0 {
            control.inline_result(self.slot)
        } else {
            let end = head
                .chunks
                .checked_mul(head.result_bytes)
                .and_then(|bytes| bytes.checked_add(head.results_offset));
            self.map(source, head.results, end)?.wrapping_add(head.results_offset as usize)
        };
        self.journal = 0;
        if head.journal_bytes != 0 {
            self.journal_base = self.map(source, journal, Some(head.journal_bytes))?;
            self.journal = journal;
        }
        Ok(())
    }

    fn map<S: SegmentSource>(
        &mut self,
        source: &mut S,
        id: u64,
        end: Option<u64>,
    ) -> Result<*mut u8, String> {
        let segment = source.segment(id).ok_or_else(|| format!("segment {id} did not arrive"))?;
        if end.is_none_or(|end| end > segment.len() as u64) {
            return Err(format!("segment {id} is shorter than the job says"));
        }
        let base = segment.base();
        self.segments.push(segment);
        Ok(base)
    }

    /// W2: keeps the old bytes of `chunk`.
    fn save(&self, chunk: u64) {
        let mut at = self.journal_base;
        for (arg, base) in self.updates() {
            let bytes = chunk_bytes(arg, chunk);
            let from = base.wrapping_add(bytes.start);
            // SAFETY: the chunk lies inside the argument's segment and its bytes fit into the
            // journal, both checked by `attach`; a journal overlaps no array; the chunk is
            // claimed by this worker, so nobody else writes either.
            unsafe { ptr::copy_nonoverlapping(from.cast_const(), at, bytes.len()) };
            at = at.wrapping_add(bytes.len());
        }
    }

    /// Puts the old bytes of `chunk` back.
    fn restore(&self, chunk: u64) {
        let mut at = self.journal_base.cast_const();
        for (arg, base) in self.updates() {
            let bytes = chunk_bytes(arg, chunk);
            let to = base.wrapping_add(bytes.start);
            // SAFETY: as in `save`, the other way round.
            unsafe { ptr::copy_nonoverlapping(at, to, bytes.len()) };
            at = at.wrapping_add(bytes.len());
        }
    }
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
            let dispatch = &self.control.header().dispatch;
            if dispatch.shutdown.load(Ordering::SeqCst) != 0 || self.left.get() == 0 {
                return;
            }
            let seq = dispatch.work_seq.load(Ordering::SeqCst);
            if !self.pass() {
                self.idle(seq);
            }
        }
    }

    /// Gives each live job turns until none has a chunk for this worker; says if any ran.
    pub(crate) fn pass(&mut self) -> bool {
        let mut any = false;
        loop {
            let dispatch = &self.control.header().dispatch;
            let live = dispatch.live.load(Ordering::SeqCst);
            if live == 0 || dispatch.shutdown.load(Ordering::Relaxed) != 0 || self.left.get() == 0 {
                return any;
            }
            if live.count_ones() > 1 {
                // Two submitters may have counted on this one worker: let another one help.
                self.control.wake(1);
            }
            let start = (self.last + 1) % MAX_JOBS;
            let mut ran = false;
            let mut rest = live.rotate_right(start as u32);
            while rest != 0 {
                let slot = (start + rest.trailing_zeros() as usize) % MAX_JOBS;
                rest &= rest - 1;
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
            if rescan == task.rescan {
                return false;
            }
            task.rescan = rescan;
            task.cursor.rescan();
            task.exhausted = false;
            return true;
        }
        if !self.control.read_desc(task.slot, epoch, &mut task.desc) {
            return false;
        }
        let rescan = line.rescan.load(Ordering::SeqCst);
        let journal = self.control.worker(self.index).standing.journal.load(Ordering::Acquire);
        if let Err(text) = task.attach(&self.control, &mut self.source, journal) {
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
        if S::IN_PROCESS {
            // Holding on would keep a dropped array, and its name, alive. A late look needs the
            // words alone: all else is touched under a claim, while the job is active.
            task.segments.truncate(usize::from(task.desc.head.words != 0));
        }
        task.epoch = epoch;
        task.rescan = rescan;
        task.exhausted = false;
        let workers = self.control.workers();
        task.cursor = Cursor::new(task.desc.head.chunks, self.index, workers);
        task.cursor.open(self.control.tally(task.slot, self.index), epoch);
        true
    }

    fn work(&mut self, task: &mut Task) -> bool {
        let mut cursor = std::mem::take(&mut task.cursor);
        let turn = Turn {
            control: &self.control,
            dispatch: &self.control.header().dispatch,
            line: self.control.job(task.slot),
            current: &self.control.worker(self.index).current,
            tally: self.control.tally(task.slot, self.index),
            words: task.words(),
            task,
            owner: self.owner,
            index: self.index,
            left: &self.left,
            trace: &self.trace,
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
        let began = self.trace.start();
        let mail = self.control.worker(self.index).park.mail.load(Ordering::Acquire);
        if mail != self.mail_seen {
            self.mail_seen = mail;
            self.forget_finished();
            self.source.tidy();
        }
        let dispatch = &self.control.header().dispatch;
        let park = &self.control.worker(self.index).park;
        let news = || {
            dispatch.work_seq.load(Ordering::SeqCst) != seq
                || dispatch.shutdown.load(Ordering::SeqCst) != 0
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

    /// Jobs that are over hold no mappings.
    fn forget_finished(&mut self) {
        for task in self.tasks.iter_mut().flatten() {
            if self.control.job(task.slot).live.load(Ordering::Acquire) != task.epoch {
                task.segments.clear();
                task.epoch = 0;
                task.exhausted = false;
            }
        }
    }
}

/// One turn of one job: what the loop over its chunks needs at hand.
struct Turn<'a> {
    control: &'a Control,
    dispatch: &'a Dispatch,
    line: &'a JobLine,
    current: &'a Current,
    tally: &'a Tally,
    words: &'a [AtomicU64],
    task: &'a Task,
    owner: Owner,
    index: usize,
    left: &'a Cell<u64>,
    trace: &'a Recorder,
}

impl Turn<'_> {
    /// Runs chunks while there are any, one only where other jobs wait for their turn; says
    /// whether any ran, and whether nothing is left for this worker.
    fn run(&self, cursor: &mut Cursor, ctx: &mut Ctx) -> (bool, bool) {
        let alone = 1u64 << self.task.slot;
        let mut ran = false;
        let mut looked = self.trace.start();
        // Before any claim: what recovery needs to know beside the chunk.
        self.current.epoch.store(self.task.epoch, Ordering::Relaxed);
        self.current.slot.store(self.task.slot as u64, Ordering::Relaxed);
        self.current.journal.store(self.task.journal, Ordering::Relaxed);
        while let Some(chunk) =
            cursor.find(self.control, self.task.slot, self.task.epoch, self.words)
        {
            if ran && self.dispatch.live.load(Ordering::Relaxed) != alone
                || self.dispatch.shutdown.load(Ordering::Relaxed) != 0
                || self.left.get() == 0
            {
                return (ran, false);
            }
            self.trace.end_search(looked, chunk, || cursor.owns(chunk));
            match self.attempt(cursor, ctx, chunk) {
                Attempt::Ran => {
                    ran = true;
                    self.left.set(self.left.get() - 1);
                }
                Attempt::Taken => {}
                Attempt::Stopped => break,
            }
            looked = self.trace.start();
        }
        (ran, true)
    }

    /// W1 to W6 for one chunk.
    fn attempt(&self, cursor: &mut Cursor, ctx: &mut Ctx, chunk: u64) -> Attempt {
        let (task, epoch, owner) = (self.task, self.task.epoch, self.owner);
        self.current.chunk.store(chunk, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        let word = &self.words[chunk as usize];
        let Some(previous) = protocol::claim(word, owner, epoch) else {
            return Attempt::Taken;
        };
        if self.line.live.load(Ordering::SeqCst) != epoch
            || self.line.stop.load(Ordering::SeqCst) == epoch
        {
            protocol::give_back(word, owner, epoch, previous);
            return Attempt::Stopped;
        }
        cursor.claimed(self.control, task.slot, epoch, chunk, self.tally);
        let journaled = task.journal != 0 && !mutant::on(Mutant::NoJournal);
        if journaled {
            if mutant::on(Mutant::ArmBeforeSave) {
                self.current.armed.store(1, Ordering::Release);
            }
            let began = self.trace.start();
            task.save(chunk);
            self.trace.end(EventKind::Journal, began, chunk);
            compiler_fence(Ordering::SeqCst);
            self.current.armed.store(1, Ordering::Release);
            compiler_fence(Ordering::SeqCst);
        }
        ctx.enter(task.desc.head.stream, chunk, task.desc.head.chunks);
        if mutant::on(Mutant::DoneBeforeData) {
            protocol::publish(word, owner, epoch, State::Done);
        }
        let began = self.trace.start();
        let outcome = run_kernel(task, chunk, ctx);
        compiler_fence(Ordering::SeqCst);
        self.trace.end_chunk(began, chunk, || cursor.owns(chunk));
        match outcome {
            Outcome::Done => {
                if mutant::on(Mutant::DisarmBeforeDone) {
                    self.current.armed.store(0, Ordering::Release);
                }
                protocol::publish(word, owner, epoch, State::Done);
                compiler_fence(Ordering::SeqCst);
                if journaled && !mutant::on(Mutant::NeverDisarm) {
                    self.current.armed.store(0, Ordering::Release);
                    // What the next chunk writes into `current` must not come before it.
                    compiler_fence(Ordering::SeqCst);
                }
            }
            Outcome::Returned(text) => self.fail(chunk, RETURNED, &text),
            Outcome::Panicked(text) => self.fail(chunk, PANIC, &text),
        }
        // One writer: plain stores serve.
        let finished = &self.current.finished;
        finished.store(finished.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        cursor.over(self.tally);
        self.control.tell_watchers(self.line);
        Attempt::Ran
    }

    /// A chunk whose kernel failed: restore, disarm, say so, and only then give the word up.
    #[cold]
    fn fail(&self, chunk: u64, kind: u64, text: &str) {
        let task = self.task;
        if task.journal != 0 {
            task.restore(chunk);
            compiler_fence(Ordering::SeqCst);
            self.current.armed.store(0, Ordering::Release);
            compiler_fence(Ordering::SeqCst);
        }
        report(self.control, self.index, (task.slot, task.epoch), chunk, kind, text);
        if task.desc.head.flags & KEEP_GOING == 0 {
            self.line.stop.fetch_max(task.epoch, Ordering::SeqCst);
        }
        protocol::publish(&self.words[chunk as usize], self.owner, task.epoch, State::Failed);
    }

    /// Nothing is free for this worker: the one that sees the job at its end says so.
    fn leave(&self) {
        fence(Ordering::SeqCst);
        if is_over(self.control, self.task.slot, self.task.epoch, self.words) {
            self.control.complete(self.task.slot, self.task.epoch);
        }
    }
}

/// Keeps a worker's failure at the lowest chunk of the job (slot, epoch).
fn report(
    control: &Control,
    worker: usize,
    (slot, epoch): (usize, u64),
    chunk: u64,
    kind: u64,
    text: &str,
) {
    let record = control.error(slot, worker);
    let known = record.epoch.load(Ordering::Relaxed) == epoch;
    if known && record.chunk.load(Ordering::Relaxed) <= chunk {
        return;
    }
    record.epoch.store(0, Ordering::Relaxed);
    compiler_fence(Ordering::SeqCst);
    let len = store_text(&record.text, text);
    record.chunk.store(chunk, Ordering::Relaxed);
    record.kind_len.store(kind << 32 | len, Ordering::Relaxed);
    record.epoch.store(epoch, Ordering::Release);
}

/// W4.
fn run_kernel(task: &Task, chunk: u64, ctx: &mut Ctx) -> Outcome {
    let Some(entry) = task.entry else {
        return Outcome::Returned("the job has no kernel".into());
    };
    let slot = task.results.wrapping_add((chunk * task.desc.head.result_bytes) as usize);
    let mut call = Call { desc: &task.desc, bases: &task.bases, chunk, result: slot, ctx };
    // SAFETY: `attach` found the entry that the job names, mapped the segments that it describes,
    // and checked that arguments and result slots lie inside; the chunk is claimed.
    unsafe { entry.run(&mut call) }
}

/// Whether a job has come to its end: every chunk is over, or it is stopped and none is claimed.
pub(crate) fn is_over(control: &Control, slot: usize, epoch: u64, words: &[AtomicU64]) -> bool {
    if control.job(slot).stop.load(Ordering::SeqCst) == epoch {
        return words.iter().all(|w| !Word(w.load(Ordering::SeqCst)).is_claimed_in(epoch));
    }
    let over: u64 = (0..control.workers())
        .map(|w| {
            let tally = control.tally(slot, w);
            // A worker opens its tally with `over` first, `epoch` second, so that a count that is
            // seen under this epoch is never one of another job.
            let before = tally.epoch.load(Ordering::Acquire);
            let over = tally.over.load(Ordering::SeqCst);
            let after = tally.epoch.load(Ordering::Acquire);
            if before == epoch && after == epoch { over } else { 0 }
        })
        .sum();
    over == words.len() as u64
}

/// Spins until `done` or until the time is up; says which.
///
/// Every `looks` rounds of a third of a microsecond it offers its core to whoever else wants it: where there are more
/// threads than cores, the one that is waited for may be the one that is kept from running.
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
