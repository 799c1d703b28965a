//! Small calls in flight: they travel together, in a batch that is one job with a chunk a call.
//!
//! A call of a scope whose arguments are a few parameters and whose result is small costs less than
//! what publishing a job does. So the scope has one job that is *open*: its next call is added to
//! it, at any time, and workers take it at once. The record of a call ([`CallRecord`]) is written by
//! the parent, its `ready` word last; a worker claims the call's chunk word, as any, and runs what the
//! record says. Each call has its own random stream, end and error, and can be cancelled alone.
//!
//! A batch is closed when it is full, when its scope ends or starts another job, and when slots are
//! wanted; then it ends, as any job does, with its last chunk.

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use pinpool_kernels::prefetch;

use super::jobs::{Active, Inner, Jobs, OnDeath, Submission};
use super::ticket::{Bits, Ticket};
use crate::args::{Description, Packed};
use crate::config::{BATCHES_AHEAD, CALLER_SPIN_NS, ROOM_SPIN_NS};
use crate::control::load_text;
use crate::entry::KernelEntry;
use crate::error::{Error, JobError};
use crate::layout::{
    BATCH_BYTES, BATCH_CALLS, BATCH_TEXTS, CALL_RESULT_WORDS, CALLS, CANCELLED, CallRecord,
    CallText, KEEP_GOING, PANIC,
};
use crate::protocol::{State, Word};
use crate::segment::Segment;
use crate::worker::spin_until;

/// How long who waits for room looks at nothing but the end of the oldest full batch.
const ROOM_LOOK: Duration = Duration::from_millis(5);

/// How many calls ahead their lines are asked for.
const RECORDS_AHEAD: usize = 4;

/// What the handles of a batch's calls have in common.
#[derive(Debug)]
pub(crate) struct Batch {
    slot: usize,
    epoch: u64,
    segment: Arc<Segment>,
    ended: OnceLock<Ends>,
}

/// How the calls of a batch ended, once it was taken out of its slot.
#[derive(Debug)]
struct Ends {
    /// `stride` words a call.
    results: Box<[u64]>,
    stride: usize,
    errors: BTreeMap<usize, JobError>,
}

/// What the parent knows of a batch in its slot.
#[derive(Debug)]
pub(super) struct Calls {
    shared: Arc<Batch>,
    /// Calls that were added.
    len: usize,
    /// Words of the longest result.
    stride: usize,
    /// What the parent itself knows of calls that failed.
    errors: BTreeMap<usize, JobError>,
}

/// A call to be added to a batch.
#[derive(Debug)]
pub(crate) struct NewCall<'a> {
    pub(crate) entry: &'static KernelEntry,
    pub(crate) params: &'a Packed,
    pub(crate) result_bytes: usize,
    /// `None`: the order of the calls gives it.
    pub(crate) stream: Option<u64>,
    /// The scope that waits for it.
    pub(crate) scope: u64,
}

impl Batch {
    pub(super) fn slot(&self) -> usize {
        self.slot
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// How a call of a batch that was taken out ended.
    pub(super) fn end(&self, call: usize) -> Option<Result<Bits, &JobError>> {
        let Ends { results, stride, errors } = self.ended.get()?;
        Some(match errors.get(&call) {
            Some(error) => Err(error),
            None => Ok(Bits::of(&results[call * stride..][..*stride])),
        })
    }

    fn record(&self, call: usize) -> &CallRecord {
        assert!(call < BATCH_CALLS);
        let record = self.segment.base().cast::<CallRecord>().wrapping_add(call);
        // SAFETY: the segment was made with room for all records, begins at a page, and is mapped as
        // long as the borrow; a record is only ever used as atomics, but by the worker that has
        // claimed the call, for its result.
        unsafe { &*record }
    }

    fn text(&self, call: usize) -> &CallText {
        assert!(call < BATCH_CALLS);
        let texts = self.segment.base().wrapping_add(BATCH_TEXTS).cast::<CallText>();
        // SAFETY: as in `record`.
        unsafe { &*texts.wrapping_add(call) }
    }
}

impl Calls {
    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    pub(super) fn kernel(&self, call: usize) -> Option<&'static KernelEntry> {
        KernelEntry::at(self.shared.record(call).entry.load(Ordering::Relaxed) as i64)
    }

    pub(super) fn is_cancelled(&self, call: usize) -> bool {
        self.shared.record(call).is_cancelled(self.shared.epoch)
    }

    pub(super) fn set_error(&mut self, call: usize, error: JobError) {
        self.errors.insert(call, error);
    }
}

impl Active {
    /// Chunks of the job; of a batch, the calls so far.
    pub(super) fn chunks(&self) -> u64 {
        self.calls.as_ref().map_or(self.desc.head.chunks, Calls::len)
    }

    /// What the chunk is called in errors: kernel and number.
    pub(super) fn names(&self, chunk: u64) -> (&'static str, u64) {
        match &self.calls {
            None => (self.kernel.name(), chunk),
            Some(calls) => (calls.kernel(chunk as usize).unwrap_or(self.kernel).name(), 0),
        }
    }
}

impl Jobs {
    /// Adds a call to the scope's batch, or to a new one. Waits where too many are in flight.
    pub(crate) fn call(&self, new: &NewCall<'_>, offset: i64) -> Result<Ticket, Error> {
        let mut inner = self.lock();
        let slot = loop {
            if let Some(error) = &inner.broken {
                return Err(error.clone().into());
            }
            if inner.closed {
                return Err(JobError::Closed.into());
            }
            if let Some(slot) = self.open_batch_of(&inner, new.scope) {
                break slot;
            }
            let (full, over, waiting) = self.full_batches(&inner);
            if full >= BATCHES_AHEAD && over != 0 {
                self.harvest(&mut inner, over);
            } else if waiting.len() >= BATCHES_AHEAD {
                inner = self.await_calls(inner, &waiting);
            } else if inner.live == u64::MAX {
                inner = self.make_room(inner);
            } else {
                self.open_batch(&mut inner, new)?;
            }
        };
        let stream = new.stream.unwrap_or_else(|| inner.take_stream());
        let job = inner.active[slot].as_mut();
        let calls = job.and_then(|job| job.calls.as_mut()).expect("an open batch is in its slot");
        let call = calls.len;
        calls.len += 1;
        calls.stride = calls.stride.max(new.result_bytes.div_ceil(8));
        let batch = Arc::clone(&calls.shared);
        if calls.len == BATCH_CALLS {
            // Before the last call is there, so that who ends it ends the batch.
            inner.open.retain(|&(_, open)| open != slot);
            self.control.job(slot).total.store(BATCH_CALLS as u64, Ordering::SeqCst);
        }
        // A worker read that line when the batch's memory was another one's.
        let later = batch.record((call + RECORDS_AHEAD) % BATCH_CALLS);
        prefetch::write((&raw const later.ready).cast());
        batch.record(call).write(batch.epoch, offset, stream, new);
        drop(inner);
        self.control.announce_call();
        Ok(Ticket::of_call(batch, call))
    }

    fn open_batch_of(&self, inner: &Inner, scope: u64) -> Option<usize> {
        let &(_, slot) = inner.open.iter().find(|open| open.0 == scope)?;
        let job = inner.active[slot].as_ref()?;
        // A stopped one takes nothing more.
        (self.control.job(slot).stop.load(Ordering::SeqCst) != job.epoch).then_some(slot)
    }

    fn open_batch(&self, inner: &mut Inner, first: &NewCall<'_>) -> Result<(), Error> {
        inner.open.retain(|open| open.0 != first.scope);
        let segment = match inner.batches.pop() {
            Some(segment) => segment,
            None => Segment::nameless("pinpool-calls", BATCH_BYTES)?,
        };
        let mut args = Description::empty().complete();
        args.desc.head.chunks = BATCH_CALLS as u64;
        let slot = inner.live.trailing_ones() as usize;
        let submission = Submission {
            args,
            entry: first.entry,
            offset: 0,
            results: Some((Arc::clone(&segment), 0)),
            result_bytes: size_of::<CallRecord>(),
            // Each call has its own.
            stream: Some(0),
            scope: first.scope,
            on_death: OnDeath::Retry,
            flags: KEEP_GOING | CALLS,
            checkpoint: None,
        };
        let (ticket, _) = self.publish(inner, slot, submission)?;
        let epoch = ticket.epoch();
        let job = inner.active[slot].as_mut().expect("it was just published");
        let shared = Arc::new(Batch { slot, epoch, segment, ended: OnceLock::new() });
        job.calls = Some(Calls { shared, len: 0, stride: 0, errors: BTreeMap::new() });
        inner.open.push((first.scope, slot));
        self.control.announce(1);
        Ok(())
    }

    /// Adds nothing more to the batches that `which` says, by scope: they may end.
    pub(super) fn close_batches(&self, inner: &mut Inner, which: impl Fn(u64) -> bool) {
        let close: Vec<_> = inner.open.extract_if(.., |open| which(open.0)).collect();
        for (_, slot) in close {
            let Some(job) = inner.active[slot].as_ref() else { continue };
            self.control.job(slot).total.store(job.chunks(), Ordering::SeqCst);
            self.check_over(slot, job);
        }
    }

    /// Full batches: how many, in which slots those are that are over, and slot and epoch of those
    /// that have calls which nobody has taken yet, the oldest first.
    ///
    /// A batch all of whose calls were taken keeps nobody waiting, however long one of them runs.
    fn full_batches(&self, inner: &Inner) -> (usize, u64, Vec<(usize, u64)>) {
        let (mut full, mut over, mut waiting) = (0, 0, Vec::new());
        for job in inner.active.iter().flatten() {
            if job.calls.is_none() || job.chunks() != BATCH_CALLS as u64 {
                continue;
            }
            full += 1;
            let (slot, epoch) = (job.ticket.slot(), job.epoch);
            if self.slot_is_over(slot, epoch) {
                over |= 1 << slot;
            } else if self.has_untaken_calls(slot, epoch) {
                waiting.push((slot, epoch));
            }
        }
        waiting.sort_unstable_by_key(|&(_, epoch)| epoch);
        (full, over, waiting)
    }

    /// Whether a full batch has calls that nobody has taken: they are taken in order.
    fn has_untaken_calls(&self, slot: usize, epoch: u64) -> bool {
        let last = &self.control.inline_words(slot)[BATCH_CALLS - 1];
        Word(last.load(Ordering::Relaxed)).is_free_for(epoch)
    }

    /// Waits until one of these batches has no more calls to be taken, most likely the oldest.
    fn await_calls<'a>(
        &'a self,
        inner: MutexGuard<'a, Inner>,
        waiting: &[(usize, u64)],
    ) -> MutexGuard<'a, Inner> {
        drop(inner);
        let taken = |&(slot, epoch): &(usize, u64)| {
            self.slot_is_over(slot, epoch) || !self.has_untaken_calls(slot, epoch)
        };
        if !spin_until(ROOM_SPIN_NS, self.looks, || waiting.iter().any(taken)) {
            let (slot, epoch) = waiting[0];
            // Soon again: it may have a long call, and the others be through.
            self.await_end(slot, epoch, Some(ROOM_LOOK));
        }
        self.lock()
    }

    pub(super) fn call_is_over(&self, batch: &Batch, call: usize) -> bool {
        // First the mark, then the word: who claims the call after that sees the mark.
        let cancelled = batch.record(call).is_cancelled(batch.epoch);
        let word = Word(self.control.inline_words(batch.slot)[call].load(Ordering::SeqCst));
        word.is_over_in(batch.epoch)
            || cancelled && !word.is_claimed_in(batch.epoch)
            || self.slot_is_over(batch.slot, batch.epoch)
    }

    pub(super) fn await_call(&self, ticket: &Ticket, limit: Option<Duration>) -> bool {
        let over = || self.is_over(ticket);
        if spin_until(CALLER_SPIN_NS, self.looks, over) {
            return true;
        }
        let Some(watched) = self.watch(ticket) else { return true };
        // Beyond the clock: no limit.
        let end = limit.and_then(|l| Instant::now().checked_add(l));
        // A call that ended at the very moment when the watch began is not told; later ones are,
        // but no wake-up is trusted with a hang.
        let mut nap = Duration::from_millis(20);
        loop {
            let seen = watched.seen();
            if over() {
                return true;
            }
            let left = end.map(|e| e.saturating_duration_since(Instant::now()));
            if left.is_some_and(|l| l.is_zero()) {
                return false;
            }
            if !watched.nap(seen, left.unwrap_or(nap).min(nap)) {
                nap = Duration::from_secs(1);
                self.nudge(ticket.slot(), ticket.epoch());
            }
        }
    }

    fn word(&self, batch: &Batch, call: usize) -> Word {
        Word(self.control.inline_words(batch.slot)[call].load(Ordering::Acquire))
    }

    /// Whether a call, of a batch in its slot, has given its result. One that was cancelled while it
    /// ran has not, as any job.
    fn has_result(&self, batch: &Batch, call: usize) -> bool {
        let word = self.word(batch, call);
        word.epoch() == batch.epoch
            && word.state() == State::Done
            && !batch.record(call).is_cancelled(batch.epoch)
    }

    /// The end of a call that is over, whose batch may be in its slot.
    pub(super) fn end_of_call(&self, batch: &Batch, call: usize) -> Result<Bits, JobError> {
        if self.has_result(batch, call) {
            let result = batch.record(call).result();
            fence(Ordering::Acquire);
            // The record is another call's only after the batch was taken out.
            if !batch.is_ended() {
                return Ok(result);
            }
        }
        let inner = self.lock();
        if let Some(end) = batch.end(call) {
            return end.map_err(JobError::clone);
        }
        let job = inner.active[batch.slot].as_ref().filter(|job| job.epoch == batch.epoch);
        match job {
            Some(job) => self.end_in_slot(job, batch, call, inner.broken.as_ref()),
            None => Err(JobError::Cancelled),
        }
    }

    /// The end of a call that is over, of a batch in its slot.
    fn end_in_slot(
        &self,
        job: &Active,
        batch: &Batch,
        call: usize,
        broken: Option<&JobError>,
    ) -> Result<Bits, JobError> {
        let known = job.calls.as_ref().and_then(|calls| calls.errors.get(&call));
        if let Some(error) = known {
            return Err(error.clone());
        }
        let (word, record) = (self.word(batch, call), batch.record(call));
        if self.has_result(batch, call) {
            return Ok(record.result());
        }
        if !word.is_over_in(batch.epoch) && !record.is_cancelled(batch.epoch) {
            // Its batch was stopped: by whom, and why, says the batch.
            return Err(self.error_of(job, batch.slot, broken));
        }
        if !word.is_over_in(batch.epoch) || word.state() == State::Done {
            return Err(JobError::Cancelled);
        }
        let kind_len = record.result[0].load(Ordering::Relaxed);
        let (kernel, chunk) = job.names(call as u64);
        let worker = word.worker() as usize;
        let message = load_text(batch.text(call), kind_len & u64::from(u32::MAX));
        Err(match kind_len >> 32 {
            CANCELLED => JobError::Cancelled,
            PANIC => JobError::Panic { kernel, chunk, worker, message },
            _ => JobError::Failed { kernel, chunk, worker, message },
        })
    }

    /// Takes the ends of a batch's calls out of its slot.
    pub(super) fn harvest_calls(&self, inner: &mut Inner, job: &Active, calls: &Calls) {
        let (batch, stride) = (&calls.shared, calls.stride);
        let mut results = vec![0; calls.len * stride].into_boxed_slice();
        let mut errors = BTreeMap::new();
        for call in 0..calls.len {
            if self.has_result(batch, call) {
                let to = &mut results[call * stride..][..stride];
                for (to, from) in to.iter_mut().zip(&batch.record(call).result) {
                    *to = from.load(Ordering::Relaxed);
                }
            } else if let Err(error) = self.end_in_slot(job, batch, call, inner.broken.as_ref()) {
                errors.insert(call, error);
            }
        }
        let first = batch.ended.set(Ends { results, stride, errors });
        debug_assert!(first.is_ok(), "a batch is taken out of its slot once");
        inner.open.retain(|&(_, slot)| slot != batch.slot);
        inner.batches.push(Arc::clone(&batch.segment));
    }

    /// Cancels one call: it does not begin. `true`: it is running, and has to be waited for.
    pub(super) fn cancel_call(&self, batch: &Batch, call: usize) -> bool {
        let inner = self.lock();
        let here = inner.active[batch.slot].as_ref().is_some_and(|job| job.epoch == batch.epoch);
        if !here || self.call_is_over(batch, call) {
            return false;
        }
        batch.record(call).ready.store(batch.epoch << 1 | 1, Ordering::SeqCst);
        let runs = !self.call_is_over(batch, call);
        if !runs {
            // Whoever waits for it: no worker comes by to say so, perhaps for long.
            self.control.tell_watchers(self.control.job(batch.slot));
        }
        runs
    }
}

impl CallRecord {
    fn write(&self, epoch: u64, entry: i64, stream: u64, new: &NewCall<'_>) {
        // Who reads an older call's result sees, after his own fence, that its batch has ended.
        fence(Ordering::Release);
        let Packed { words, lengths, params, bytes } = new.params;
        self.entry.store(entry as u64, Ordering::Relaxed);
        self.stream.store(stream, Ordering::Relaxed);
        let mut shape = [0; 8];
        shape[..lengths.len()].copy_from_slice(lengths);
        shape[6] = new.result_bytes.div_ceil(8) as u8;
        shape[7] = *params as u8;
        self.shape.store(u64::from_le_bytes(shape), Ordering::Relaxed);
        for (to, &from) in self.params.iter().zip(&words[..bytes.div_ceil(8)]) {
            to.store(from, Ordering::Relaxed);
        }
        self.ready.store(epoch << 1, Ordering::SeqCst);
    }

    fn result(&self) -> Bits {
        let [.., words, _] = self.shape.load(Ordering::Relaxed).to_le_bytes();
        let mut all = [0; CALL_RESULT_WORDS];
        for (to, from) in all.iter_mut().zip(&self.result) {
            *to = from.load(Ordering::Relaxed);
        }
        Bits::of(&all[..usize::from(words).min(CALL_RESULT_WORDS)])
    }
}
