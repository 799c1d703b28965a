//! One job's turn at a worker: the loop over its chunks, and W1 to W6 for each.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence, fence};

use rustix::process::getppid;

use super::call::{self, Scratch};
use super::is_over;
use super::task::Task;
use crate::control::{Control, store_text};
use crate::ctx::Ctx;
use crate::cursor::Cursor;
use crate::entry::{Call, Outcome};
use crate::fault::{Point, point};
use crate::layout::{CANCELLED, Current, Dispatch, JobLine, KEEP_GOING, PANIC, RETURNED, Tally};
use crate::mutant::{self, Mutant};
use crate::protocol::{self, Owner, State};
use crate::sys::flush::Step;
use crate::trace::{EventKind, Recorder};

/// How an attempt at one chunk ended.
enum Attempt {
    Ran,
    Taken,
    Stopped,
}

/// One turn of one job: what the loop over its chunks needs at hand.
pub(super) struct Turn<'a> {
    pub(super) control: &'a Control,
    pub(super) dispatch: &'a Dispatch,
    pub(super) shutdown: &'a AtomicU64,
    pub(super) line: &'a JobLine,
    pub(super) current: &'a Current,
    /// Where this worker says that its journal counts: in `current`, or in the job's checkpoint.
    pub(super) armed: &'a AtomicU64,
    pub(super) tally: &'a Tally,
    pub(super) words: &'a [AtomicU64],
    pub(super) task: &'a Task,
    pub(super) owner: Owner,
    pub(super) index: usize,
    pub(super) left: &'a Cell<u64>,
    pub(super) trace: &'a Recorder,
    pub(super) scratch: &'a Scratch,
}

impl Turn<'_> {
    /// Runs chunks while there are any, one only where other jobs wait for their turn; says
    /// whether any ran, and whether nothing is left for this worker.
    pub(super) fn run(&self, cursor: &mut Cursor, ctx: &mut Ctx) -> (bool, bool) {
        let alone = 1u64 << self.task.slot;
        let mut ran = false;
        let mut looked = self.trace.start();
        // Before any claim: what recovery needs to know beside the chunk.
        self.current.epoch.store(self.task.epoch, Ordering::Relaxed);
        self.current.journal.store(self.task.journal, Ordering::Relaxed);
        while let Some(chunk) = self.find(cursor) {
            if ran && self.dispatch.live.load(Ordering::Relaxed) != alone
                || self.shutdown.load(Ordering::Relaxed) != 0
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

    /// The next chunk that looks free; in a batch, if its call is there.
    #[inline]
    fn find(&self, cursor: &mut Cursor) -> Option<u64> {
        let task = self.task;
        let chunk = cursor.find(self.control, task.slot, task.epoch, self.words)?;
        match task.call(chunk) {
            Some(record) if !task.awaits(chunk, record, &self.dispatch.live) => None,
            _ => Some(chunk),
        }
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
        // Not `==`: by the time of the second look a later job of the slot may be stopped.
        if self.line.live.load(Ordering::SeqCst) != epoch
            || self.line.stop.load(Ordering::SeqCst) >= epoch
        {
            protocol::give_back(word, owner, epoch, previous);
            return Attempt::Stopped;
        }
        point(Point::W1, getppid);
        cursor.claimed(self.control, task.slot, epoch, chunk, self.tally);
        let journaled = task.journal != 0 && !mutant::on(Mutant::NoJournal);
        let durable = task.is_durable();
        if journaled {
            if mutant::on(Mutant::ArmBeforeSave) {
                self.armed.store(chunk + 1, Ordering::Release);
            }
            let began = self.trace.start();
            task.save(chunk);
            point(Point::W2, getppid);
            self.trace.end(EventKind::Journal, began, chunk);
            compiler_fence(Ordering::SeqCst);
            if durable && let Err(text) = task.sync_journal(chunk) {
                self.fail(chunk, RETURNED, &text);
                return self.ended(cursor);
            }
            self.armed.store(chunk + 1, Ordering::Release);
            compiler_fence(Ordering::SeqCst);
            if durable && let Err(text) = task.sync_armed(Step::Armed) {
                self.fail(chunk, RETURNED, &text);
                return self.ended(cursor);
            }
            point(Point::W3, getppid);
        }
        let head = &task.desc.head;
        ctx.enter(head.stream, head.first_chunk + chunk, head.total_chunks);
        if mutant::on(Mutant::DoneBeforeData) {
            protocol::publish(word, owner, epoch, State::Done);
        }
        let began = self.trace.start();
        let mut outcome = match task.call(chunk) {
            None => run_kernel(task, chunk, ctx),
            Some(record) if record.is_cancelled(epoch) => {
                self.fail(chunk, CANCELLED, "");
                return self.ended(cursor);
            }
            Some(record) => {
                self.share(chunk);
                call::run(task, record, self.scratch, ctx)
            }
        };
        compiler_fence(Ordering::SeqCst);
        point(Point::W4, getppid);
        self.trace.end_chunk(began, chunk, || cursor.owns(chunk));
        if durable
            && matches!(outcome, Outcome::Done)
            && let Err(text) = task.sync_data(Step::Data, chunk)
        {
            outcome = Outcome::Returned(text);
        }
        match outcome {
            Outcome::Done => {
                if mutant::on(Mutant::DisarmBeforeDone) {
                    self.armed.store(0, Ordering::Release);
                }
                protocol::publish(word, owner, epoch, State::Done);
                compiler_fence(Ordering::SeqCst);
                point(Point::W5, getppid);
                let marked = !durable || self.mark_is_durable(chunk);
                if journaled && marked && !mutant::on(Mutant::NeverDisarm) {
                    self.armed.store(0, Ordering::Release);
                    // What the next chunk writes into `current` must not come before it.
                    compiler_fence(Ordering::SeqCst);
                    point(Point::W6, getppid);
                }
            }
            Outcome::Returned(text) => self.fail(chunk, RETURNED, &text),
            Outcome::Panicked(text) => self.fail(chunk, PANIC, &text),
        }
        self.ended(cursor)
    }

    /// Before a call is run, which may take long: one that is there behind it is another worker's.
    ///
    /// Who added it may have counted on this worker, which was looking for work still.
    #[inline]
    fn share(&self, chunk: u64) {
        let task = self.task;
        if self.control.somebody_sleeps()
            && task.call(chunk + 1).is_some_and(|next| next.is_there(task.epoch))
        {
            self.control.wake(1);
        }
    }

    /// A chunk came to its end, well or badly.
    fn ended(&self, cursor: &mut Cursor) -> Attempt {
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
            // What is not on the disk must be put back from the journal after a loss of power.
            if !task.is_durable() || task.sync_data(Step::Restored, chunk).is_ok() {
                self.armed.store(0, Ordering::Release);
                compiler_fence(Ordering::SeqCst);
                if task.is_durable() {
                    let _ = task.sync_armed(Step::Disarmed);
                }
            }
        }
        match task.call(chunk) {
            Some(record) => call::fail(task, chunk, record, kind, text),
            None => {
                let place = (task.slot, task.epoch);
                report(self.control, self.index, place, chunk, kind, text);
            }
        }
        if task.desc.head.flags & KEEP_GOING == 0 {
            self.line.stop.fetch_max(task.epoch, Ordering::SeqCst);
        }
        protocol::publish(&self.words[chunk as usize], self.owner, task.epoch, State::Failed);
    }

    /// Writes a mark to the disk. Where that fails the job ends, and the journal must not be used
    /// again: nobody knows what a loss of power would leave.
    fn mark_is_durable(&self, chunk: u64) -> bool {
        let (task, place) = (self.task, (self.task.slot, self.task.epoch));
        let Err(text) = task.sync_mark(chunk) else { return true };
        report(self.control, self.index, place, chunk, RETURNED, &text);
        self.line.stop.fetch_max(task.epoch, Ordering::SeqCst);
        false
    }

    /// Nothing is free for this worker: the one that sees the job at its end says so.
    pub(super) fn leave(&self) {
        fence(Ordering::SeqCst);
        if is_over(self.control, self.task.slot, self.task.epoch, self.words) {
            self.control.complete(self.task.slot, self.task.epoch);
        }
    }
}

/// Keeps a worker's failure at the lowest chunk of the job (slot, epoch).
#[cold]
#[inline(never)]
pub(super) fn report(
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
    let mut call = Call {
        desc: &task.desc,
        bases: &task.bases,
        chunk,
        journal: task.journal_base,
        result: slot,
        ctx,
    };
    // SAFETY: `attach` found the entry that the job names, mapped the segments that it describes,
    // and checked that arguments and result slots lie inside; the chunk is claimed.
    unsafe { entry.run(&mut call) }
}
