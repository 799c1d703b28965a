//! Where everything lies in a pool's control block, and the plain data that travels in it.
//!
//! ```text
//! Header | WorkerState x workers | per job slot: JobLine, JobDesc, result, words,
//!                                                Tally x workers, ErrorRecord x workers
//! ```
//!
//! All of it is `#[repr(C)]`, fixed-width, and either atomic or moved word by word through
//! atomics: memory that another process may write is never looked at through a plain reference.

#![forbid(unsafe_code)]

use crate::config::{
    ERROR_TEXT_BYTES, INLINE_RESULT_BYTES, INLINE_WORDS, MAX_ARGS, MAX_JOBS, MAX_NDIM,
    MAX_PARAM_BYTES, SMALL_RESULT_BYTES,
};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use bytemuck::{Pod, Zeroable};

/// First word of a complete control block, stored last.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"pinpool\x01");

/// Layout version of the control block; parent and worker must agree.
pub(crate) const VERSION: u64 = 3;

/// The first page: what never changes, then the hot words on cache lines of their own.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) version: AtomicU64,
    pub(crate) build_id: [AtomicU64; 2],
    pub(crate) bytes: AtomicU64,
    pub(crate) workers: AtomicU64,
    pub(crate) seed: AtomicU64,
    pub(crate) isa: AtomicU64,
    /// Place of the initializer's entry, as in [`JobHead::entry`]; 0: none.
    pub(crate) initializer: AtomicU64,
    /// Bytes of its parameter.
    pub(crate) initializer_bytes: AtomicU64,
    /// Chunks after which a worker is replaced; 0: never.
    pub(crate) max_chunks: AtomicU64,
    /// Segment of the trace's rings, and the events that each holds; 0: nothing is recorded.
    pub(crate) trace: AtomicU64,
    pub(crate) trace_events: AtomicU64,
    pub(crate) dispatch: Dispatch,
    pub(crate) shutdown: Shutdown,
    pub(crate) event: Event,
    /// Rises when a job ends that a task awaits; the thread that wakes tasks sleeps on it.
    pub(crate) ended: Event,
    /// One bit a worker: it says that it sleeps. Set by the worker, cleared by who wakes it.
    pub(crate) sleepers: WorkerBits,
    /// One bit a worker: it found nothing to do, and wants to be told of calls that are added to a
    /// job. Set and cleared by the worker; by recovery after its death.
    pub(crate) idle: WorkerBits,
    pub(crate) initializer_param: [AtomicU64; MAX_PARAM_BYTES / 8],
}

/// What a worker that looks for work reads, on one line.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Dispatch {
    /// Rises whenever there may be something new to do.
    pub(crate) work_seq: AtomicU64,
    /// One bit a job slot: a job is in it. Written by the parent alone, under its lock.
    pub(crate) live: AtomicU64,
}

/// What a worker reads before each chunk and nobody writes but once: not on the line that a
/// submitter writes for each job.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Shutdown {
    /// Not 0: workers end.
    pub(crate) word: AtomicU64,
}

/// A futex word; `event` rises when a worker becomes ready, and `build` sleeps on it.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Event {
    pub(crate) seq: AtomicU32,
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct WorkerBits {
    pub(crate) bits: [AtomicU64; 16],
}

/// Values of [`Park::state`].
pub(crate) const BUSY: u32 = 0;
pub(crate) const SLEEPING: u32 = 1;
pub(crate) const SPINNING: u32 = 2;

/// A worker's futex word.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Park {
    pub(crate) state: AtomicU32,
    _pad: u32,
    /// Messages put into the worker's socket so far.
    pub(crate) mail: AtomicU64,
}

/// What a worker is doing: written by the worker alone, read by the supervisor after its death.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Current {
    /// Written before the claim: which job and chunk the claim is for.
    pub(crate) epoch: AtomicU64,
    pub(crate) chunk: AtomicU64,
    /// Segment of the journal that `armed` speaks of.
    pub(crate) journal: AtomicU64,
    /// Not 0: the journal holds the old bytes of (`epoch`, `chunk`), and the chunk may be half
    /// new. A job with a checkpoint has this word there.
    pub(crate) armed: AtomicU64,
    /// Chunks brought to an end in this incarnation.
    pub(crate) finished: AtomicU64,
}

/// What the parent knows of a worker, and where its journal is.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Standing {
    /// Incarnation + 1 that is ready; 0 before the first.
    pub(crate) ready: AtomicU64,
    pub(crate) pid: AtomicU64,
    /// Where the kernel ran it when it said ready.
    pub(crate) pu: AtomicU64,
    /// Written by the parent: segment of the journal to use, 0 for none.
    pub(crate) journal: AtomicU64,
    /// Bytes of the start error in `text`; 0 for none.
    pub(crate) text_len: AtomicU64,
    pub(crate) text: [AtomicU64; 43],
}

#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct WorkerState {
    pub(crate) park: Park,
    pub(crate) current: Current,
    pub(crate) standing: Standing,
}

/// A job slot's own words.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct JobLine {
    /// Epoch of the job in this slot, 0 for none.
    pub(crate) live: AtomicU64,
    /// Epoch of the job that takes no more claims (failed, cancelled).
    pub(crate) stop: AtomicU64,
    /// Rises when recovery has freed chunks: scan all words again.
    pub(crate) rescan: AtomicU64,
    /// How many callers follow the slot's job chunk by chunk; 0: `news` stands still. On the line
    /// that a worker reads for each chunk anyway, so that it costs nothing while it is 0.
    pub(crate) watchers: AtomicU64,
    /// Chunks that an earlier run has done, of a job that goes on from a checkpoint. Written by the
    /// parent while no job is live in the slot.
    pub(crate) before: AtomicU64,
    /// Chunks at whose end the job is over; [`OPEN`] while calls may still be added. Written by the
    /// parent alone.
    pub(crate) total: AtomicU64,
    /// Futex word: rises with each chunk's end and the job's.
    pub(crate) news: AtomicU32,
    /// How many callers sleep on `news`.
    pub(crate) sleepers: AtomicU32,
    pub(crate) complete: Complete,
}

/// [`JobLine::total`] of a batch that takes more calls.
pub(crate) const OPEN: u64 = u64::MAX;

/// A task among the [`waiters`](Complete::waiters), or the [watchers](JobLine::watchers): it is
/// woken through [`Header::ended`].
pub(crate) const FUTURE: u64 = 1 << 32;

/// What a caller waits on: the low half of `epoch` is its futex word.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Complete {
    /// Newest epoch of this slot that came to its end.
    pub(crate) epoch: AtomicU64,
    /// How many callers sleep on `epoch`, and [`FUTURE`] for each task that awaits the job.
    pub(crate) waiters: AtomicU64,
    /// Where a `call` writes a small result: who sees the end has the line of the result too.
    pub(crate) result: [AtomicU64; SMALL_RESULT_BYTES / 8],
}

/// What one worker did in the job of one slot: a hint for progress and completion, rebuilt from
/// the words after a death.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Tally {
    /// Epoch that `over`, `head` and `tail` speak of.
    pub(crate) epoch: AtomicU64,
    /// Chunks that this worker brought to an end.
    pub(crate) over: AtomicU64,
    /// No chunk of this worker's share below it is free.
    pub(crate) head: AtomicU64,
    /// No chunk of this worker's share from it on is free.
    pub(crate) tail: AtomicU64,
}

impl Tally {
    /// Chunks that the worker brought to an end in job `epoch`.
    ///
    /// The worker opens a tally with `over` first, `epoch` second: a count between two looks that
    /// find the same epoch is never one of another job. The first look is SeqCst as well: it must
    /// not come before the store of a batch's total.
    pub(crate) fn count(&self, epoch: u64) -> u64 {
        let before = self.epoch.load(Ordering::SeqCst);
        let over = self.over.load(Ordering::SeqCst);
        let after = self.epoch.load(Ordering::Acquire);
        if before == epoch && after == epoch { over } else { 0 }
    }
}

/// The failure that one worker saw in the job of one slot, at the lowest chunk.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct ErrorRecord {
    pub(crate) epoch: AtomicU64,
    pub(crate) chunk: AtomicU64,
    /// Bytes of text, and [`PANIC`] or [`RETURNED`] in the upper half.
    pub(crate) kind_len: AtomicU64,
    pub(crate) text: [AtomicU64; ERROR_TEXT_BYTES / 8],
}

/// The kernel panicked.
pub(crate) const PANIC: u64 = 1;
/// The kernel returned an error.
pub(crate) const RETURNED: u64 = 2;

/// What kind of argument an [`ArgDesc`] describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum ArgKind {
    /// Chunks, read only.
    Read = 0,
    /// Chunks, changed in place: journaled.
    Update = 1,
    /// Chunks, overwritten without being read: run again from the start after a death.
    Overwrite = 2,
    /// The whole array for every chunk, read only.
    Whole = 3,
    /// Bytes in the job.
    Param = 4,
    /// The chunk's own range of an index space; no memory.
    Index = 5,
    /// Chunks, changed in place: journaled by the kernel as it goes.
    Undo = 6,
}

/// One argument of a job, as it travels.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ArgDesc {
    pub(crate) kind: u64,
    /// Segment number; 0 for `Param` and `Index`.
    pub(crate) segment: u64,
    /// Bytes from the start of the segment (of the parameter area for `Param`).
    pub(crate) offset: u64,
    /// Length of axis 0; bytes of the value for `Param`.
    pub(crate) rows: u64,
    pub(crate) row_bytes: u64,
    pub(crate) chunk_rows: u64,
    pub(crate) element_bytes: u64,
    pub(crate) ndim: u64,
    pub(crate) shape: [u64; MAX_NDIM],
}

/// The fixed part of a job, as it travels.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct JobHead {
    pub(crate) epoch: u64,
    /// Place of the kernel's entry relative to this crate's anchor in the same image.
    pub(crate) entry: i64,
    pub(crate) chunks: u64,
    /// The job may be a part of a larger one: the number that its first chunk has there, and how
    /// many chunks there are in all. Words, slots and arguments go by the job's own numbers.
    pub(crate) first_chunk: u64,
    pub(crate) total_chunks: u64,
    /// Job number of the random streams.
    pub(crate) stream: u64,
    /// Segment of the chunk words; 0: in the job's slot.
    pub(crate) words: u64,
    /// Segment of the result slots; 0: in the job's slot.
    pub(crate) results: u64,
    pub(crate) results_offset: u64,
    pub(crate) result_bytes: u64,
    /// Bytes that one chunk's undo copy takes at most; 0: nothing is journaled.
    pub(crate) journal_bytes: u64,
    pub(crate) args: u64,
    pub(crate) param_bytes: u64,
    pub(crate) flags: u64,
    /// Bytes from the start of the words' segment to the first of them.
    pub(crate) words_offset: u64,
    /// Segment of the job's checkpoint, where its journals are then; 0: it has none.
    pub(crate) checkpoint: u64,
    /// In the checkpoint: where the first worker's record lies, and bytes from one to the next.
    pub(crate) records: u64,
    pub(crate) record_stride: u64,
}

/// Flag: a failed chunk does not end the job.
pub(crate) const KEEP_GOING: u64 = 1;

/// Flag: each step of a chunk reaches the disk before the next one (a checkpoint alone has it).
pub(crate) const DURABLE: u64 = 2;

/// Flag: the job is a batch of calls. What a chunk runs stands in its [`CallRecord`], and one that
/// fails ends nothing but itself.
pub(crate) const CALLS: u64 = 4;

/// Calls of a batch: its words lie in the job's slot.
pub(crate) const BATCH_CALLS: usize = INLINE_WORDS;

/// Words of parameters, and of a result, that a call in a batch may have.
pub(crate) const CALL_PARAM_WORDS: usize = 4;
pub(crate) const CALL_RESULT_WORDS: usize = 8;

/// One call of a batch: a line that the parent writes, and one that the worker writes.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct CallRecord {
    /// The batch's epoch above bit 0, stored last: the call is there. Bit 0: it was cancelled. Of
    /// another epoch: there is no call yet.
    pub(crate) ready: AtomicU64,
    /// Place of the kernel's entry, as in [`JobHead::entry`].
    pub(crate) entry: AtomicU64,
    /// Job number of the random stream.
    pub(crate) stream: AtomicU64,
    /// Bytes of each parameter, one byte each from the lowest; in the highest two the words of the
    /// result and the number of parameters.
    pub(crate) shape: AtomicU64,
    pub(crate) params: [AtomicU64; CALL_PARAM_WORDS],
    /// What the kernel gave; of a call that failed: kind and bytes of text, as in [`ErrorRecord`].
    pub(crate) result: [AtomicU64; CALL_RESULT_WORDS],
}

/// The text of a call that failed.
pub(crate) type CallText = [AtomicU64; ERROR_TEXT_BYTES / 8];

/// A batch's segment: a record a call, then a text a call.
pub(crate) const BATCH_TEXTS: usize = BATCH_CALLS * size_of::<CallRecord>();
pub(crate) const BATCH_BYTES: usize = BATCH_TEXTS + BATCH_CALLS * size_of::<CallText>();

/// The call was cancelled before it began; beside [`PANIC`] and [`RETURNED`].
pub(crate) const CANCELLED: u64 = 3;

/// A job as it travels: `head`, then `args[..head.args]`, then `params`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct JobDesc {
    pub(crate) head: JobHead,
    pub(crate) args: [ArgDesc; MAX_ARGS],
    pub(crate) params: [u64; MAX_PARAM_BYTES / 8],
}

const fn align_up(n: usize, to: usize) -> usize {
    n.div_ceil(to) * to
}

/// Offsets in the control block of a pool of `workers` workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) workers: usize,
}

impl Layout {
    pub(crate) const DESC: usize = size_of::<JobLine>();
    pub(crate) const RESULT: usize = align_up(Self::DESC + size_of::<JobDesc>(), 128);
    pub(crate) const WORDS: usize = Self::RESULT + INLINE_RESULT_BYTES;
    const TALLIES: usize = Self::WORDS + INLINE_WORDS * 8;

    pub(crate) fn worker(self, worker: usize) -> usize {
        size_of::<Header>() + worker * size_of::<WorkerState>()
    }

    fn job_bytes(self) -> usize {
        let per_worker = size_of::<Tally>() + size_of::<ErrorRecord>();
        align_up(Self::TALLIES + self.workers * per_worker, 4096)
    }

    pub(crate) fn job(self, slot: usize) -> usize {
        align_up(self.worker(self.workers), 4096) + slot * self.job_bytes()
    }

    pub(crate) fn tally(self, slot: usize, worker: usize) -> usize {
        self.job(slot) + Self::TALLIES + worker * size_of::<Tally>()
    }

    pub(crate) fn error(self, slot: usize, worker: usize) -> usize {
        self.job(slot)
            + Self::TALLIES
            + self.workers * size_of::<Tally>()
            + worker * size_of::<ErrorRecord>()
    }

    pub(crate) fn bytes(self) -> usize {
        self.job(MAX_JOBS)
    }
}

const _: () = {
    assert!(size_of::<JobDesc>().is_multiple_of(8));
    assert!(Layout::RESULT.is_multiple_of(64));
    assert!(size_of::<ErrorRecord>().is_multiple_of(64));
    assert!(size_of::<Tally>() == 64);
    assert!(size_of::<Complete>() == 128);
    assert!(size_of::<CallRecord>() == 128);
    assert!(align_of::<WorkerState>() == 128 && align_of::<JobLine>() == 128);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_overlap_and_are_aligned() {
        for workers in [1, 2, 7, 1024] {
            let l = Layout { workers };
            assert!(l.worker(0).is_multiple_of(128) && l.job(0).is_multiple_of(4096));
            assert!(l.worker(workers) <= l.job(0));
            assert_eq!(l.tally(3, workers), l.error(3, 0));
            assert!(l.error(3, workers) <= l.job(4));
            assert!(l.error(3, 1).is_multiple_of(64) || workers == 1);
            assert_eq!(l.bytes(), l.job(MAX_JOBS));
        }
    }
}
