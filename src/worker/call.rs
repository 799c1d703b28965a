//! Batches of calls as a worker sees them: whether the next call is there yet, and running one.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use bytemuck::Zeroable;
use pinpool_kernels::prefetch;

use super::task::Task;
use crate::control::{Control, store_text};
use crate::ctx::Ctx;
use crate::entry::{Call, KernelEntry, Outcome};
use crate::layout::{
    ArgKind, BATCH_CALLS, BATCH_TEXTS, CALL_PARAM_WORDS, CALLS, CallRecord, CallText, JobDesc,
};

/// The description of one call, made of its record; its memory is used for all calls.
pub(super) type Scratch = RefCell<Box<JobDesc>>;

pub(super) fn scratch() -> Scratch {
    RefCell::new(Box::new(JobDesc::zeroed()))
}

/// Looks at a call that is not there yet before its worker turns to something else, half a
/// microsecond: who makes many calls takes less than that for each.
const LOOKS: usize = 32;

/// How many calls ahead their lines are asked for.
const AHEAD: usize = 3;

impl CallRecord {
    /// Whether the call is there in batch `epoch`.
    pub(crate) fn is_there(&self, epoch: u64) -> bool {
        self.ready.load(Ordering::SeqCst) >> 1 == epoch
    }

    /// Whether it was cancelled.
    pub(crate) fn is_cancelled(&self, epoch: u64) -> bool {
        self.ready.load(Ordering::SeqCst) == epoch << 1 | 1
    }
}

impl Task {
    /// The record of a call, if the job is a batch of them.
    #[inline]
    pub(super) fn call(&self, chunk: u64) -> Option<&CallRecord> {
        if self.desc.head.flags & CALLS == 0 || chunk as usize >= BATCH_CALLS {
            return None;
        }
        let record = self.results.cast::<CallRecord>().wrapping_add(chunk as usize);
        // SAFETY: `attach` checked that a batch's records and texts lie in its segment, which
        // `self.segments` keeps mapped and which begins at a page; a record is only ever used as
        // atomics, but for the result of a call that is claimed.
        Some(unsafe { &*record })
    }

    /// Where the text of a failed call goes; `chunk` is one that `call` has a record of.
    pub(super) fn call_text(&self, chunk: u64) -> &CallText {
        let texts = self.results.wrapping_add(BATCH_TEXTS).cast::<CallText>();
        // SAFETY: as in `call`.
        unsafe { &*texts.wrapping_add(chunk as usize) }
    }

    /// Whether a call is there that nobody has taken, in a batch that is not stopped.
    pub(super) fn has_calls(&mut self, control: &Control) -> bool {
        let (slot, epoch) = (self.slot, self.epoch);
        // The cursor of a job that could not be attached is that of the one before it.
        let is_batch = self.desc.head.flags & CALLS != 0 && !self.results.is_null();
        if !is_batch || control.job(slot).stop.load(Ordering::SeqCst) >= epoch {
            return false;
        }
        let mut cursor = std::mem::take(&mut self.cursor);
        let next = cursor.find(control, slot, epoch, self.words());
        self.cursor = cursor;
        next.and_then(|chunk| self.call(chunk)).is_some_and(|record| record.is_there(epoch))
    }

    /// Whether the call that is next in the batch has come, or comes within a moment if there is
    /// nothing else to do.
    pub(super) fn awaits(&self, chunk: u64, record: &CallRecord, live: &AtomicU64) -> bool {
        if record.is_there(self.epoch) {
            // Where there is a backlog. Else the parent is about to write that line itself.
            if let Some(later) = self.call(chunk + AHEAD as u64) {
                prefetch::read((&raw const later.ready).cast());
                prefetch::write((&raw const later.result).cast());
            }
            return true;
        }
        for _ in 0..LOOKS {
            if record.is_there(self.epoch) {
                return true;
            }
            if live.load(Ordering::Relaxed) != 1 << self.slot {
                return false;
            }
            std::hint::spin_loop();
        }
        false
    }
}

/// W4 of one call of a batch.
pub(super) fn run(task: &Task, record: &CallRecord, scratch: &Scratch, ctx: &mut Ctx) -> Outcome {
    let entry = record.entry.load(Ordering::Relaxed) as i64;
    let Some(entry) = KernelEntry::at(entry) else {
        return Outcome::Returned("the call names no kernel of this executable".into());
    };
    let mut desc = scratch.borrow_mut();
    let shape = record.shape.load(Ordering::Relaxed).to_le_bytes();
    let args = usize::from(shape[7]).min(CALL_PARAM_WORDS);
    let mut at = 0;
    for (arg, &bytes) in desc.args.iter_mut().zip(&shape[..args]) {
        arg.kind = ArgKind::Param as u64;
        arg.offset = at;
        arg.rows = bytes.into();
        at += u64::from(bytes);
    }
    desc.head.args = args as u64;
    desc.head.param_bytes = at;
    for (to, from) in desc.params.iter_mut().zip(&record.params) {
        *to = from.load(Ordering::Relaxed);
    }
    ctx.enter(record.stream.load(Ordering::Relaxed), 0, 1);
    let mut call = Call {
        desc: &desc,
        bases: &task.bases,
        chunk: 0,
        journal: std::ptr::null_mut(),
        result: record.result.as_ptr().cast_mut().cast(),
        ctx,
    };
    // Who reads the result of an older call here sees, after his own fence, that its batch has ended.
    fence(Ordering::Release);
    // SAFETY: the parent made the record for this entry, whose arguments are parameters alone and
    // whose result fits the record; the call is claimed, so that nobody else writes its result.
    unsafe { entry.run(&mut call) }
}

/// Says how a call failed, before its word does.
pub(super) fn fail(task: &Task, chunk: u64, record: &CallRecord, kind: u64, text: &str) {
    let len = store_text(task.call_text(chunk), text);
    record.result[0].store(kind << 32 | len, Ordering::Relaxed);
}
