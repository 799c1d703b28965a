//! The parent's side of jobs: submitting, waiting, finishing. Recovery is in `recover.rs`.
//!
//! One mutex guards the table of active jobs. A job's data lies in the control block and in
//! segments; what stands here is private to the parent, for recovery to rely on.

use std::collections::HashMap;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::thread::{Timespec, futex};

use super::limits::Limits;
use super::results::Results;
use super::table::Table;
use crate::args::Description;
use crate::config::{
    CALLER_SPIN_NS, INLINE_RESULT_BYTES, INLINE_WORDS, JOURNALS_KEPT_BYTES, LOOKS_BETWEEN_YIELDS,
    LOOKS_BETWEEN_YIELDS_SHARED, MAX_JOBS,
};
use crate::control::{Control, futex_half, load_text};
use crate::entry::KernelEntry;
use crate::error::{Error, JobError};
use crate::layout::{JobDesc, JobHead, PANIC};
use crate::protocol::MAX_EPOCH;
use crate::segment::Segment;
use crate::worker::{is_over, spin_until};

/// What a job does when a worker dies in one of its chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDeath {
    /// The chunk is put back as it was and run again, up to the limits of
    /// [`config`](crate::config).
    #[default]
    Retry,
    /// The job ends with an error.
    Fail,
}

/// A job in one slot of the control block.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) epoch: u64,
    pub(super) kernel: &'static KernelEntry,
    pub(super) desc: Box<JobDesc>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// `None`: the words lie in the job's slot.
    pub(super) words: Option<Words>,
    pub(super) on_death: OnDeath,
    /// Deaths by chunk: of the worker's own doing, and kills.
    pub(super) deaths: HashMap<u64, (u32, u32)>,
    /// The failure at the lowest chunk that the parent itself knows of.
    pub(super) died: Option<(u64, JobError)>,
    pub(super) ended: Arc<Ended>,
}

/// Where the words of a job are that are not in its slot.
#[derive(Debug, Clone)]
pub(super) struct Words {
    segment: Arc<Segment>,
    /// Not 0: in a checkpoint.
    offset: usize,
}

/// How a job ended, kept for who asks for it.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    state: Mutex<Option<Result<[u64; INLINE_RESULT_BYTES / 8], JobError>>>,
}

/// A submitted job.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    slot: usize,
    epoch: u64,
    ended: Arc<Ended>,
}

impl Ticket {
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The job was taken out of its slot, and had ended well.
    pub(crate) fn went_well(&self) -> bool {
        let state = self.ended.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(&*state, Some(Ok(_)))
    }
}

/// The words of a job that somebody follows chunk by chunk.
///
/// While there is one, workers say at each chunk's end that there is news of this slot.
#[derive(Debug)]
pub(crate) struct Watched {
    control: Control,
    slot: usize,
    chunks: u64,
    segment: Option<Words>,
    looks: u32,
}

impl Watched {
    pub(crate) fn words(&self) -> &[AtomicU64] {
        words_of(&self.control, self.segment.as_ref(), self.slot, self.chunks)
    }

    /// What to give to [`sleep`](Self::sleep): read before the words are looked at.
    pub(crate) fn seen(&self) -> u32 {
        self.control.job(self.slot).news.load(Ordering::SeqCst)
    }

    /// Returns when there is news that `seen` does not know of.
    pub(crate) fn sleep(&self, seen: u32) {
        let line = self.control.job(self.slot);
        if spin_until(CALLER_SPIN_NS, self.looks, || line.news.load(Ordering::SeqCst) != seen) {
            return;
        }
        line.sleepers.fetch_add(1, Ordering::SeqCst);
        // Not for ever: a chunk that ended at the very moment when the watch began is not told.
        let nap = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let _ = futex::wait(&line.news, futex::Flags::empty(), seen, Some(&nap));
        line.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.control.job(self.slot).watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What to submit.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) args: Description,
    pub(crate) entry: &'static KernelEntry,
    pub(crate) offset: i64,
    /// Segment, offset in it, and bytes a chunk; `None`: in the job's slot, or nowhere.
    pub(crate) results: Option<(Arc<Segment>, usize)>,
    pub(crate) result_bytes: usize,
    pub(crate) stream: u64,
    pub(crate) on_death: OnDeath,
    pub(crate) flags: u64,
    /// Where words and journals are if not in the pool's memory, and how many chunks are done.
    pub(crate) checkpoint: Option<(Arc<Segment>, u64)>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) active: Vec<Option<Active>>,
    pub(super) free: Vec<usize>,
    pub(super) epoch: u64,
    /// Memory for chunk words that no job uses now.
    pub(super) words: Vec<Arc<Segment>>,
    /// One a worker, all of the same size.
    pub(super) journals: Vec<Arc<Segment>>,
    /// Smaller ones that a job in flight may still use.
    pub(super) old_journals: Vec<Arc<Segment>>,
    pub(super) broken: Option<JobError>,
    /// No more jobs are taken.
    pub(super) closed: bool,
}

/// All jobs of one pool.
#[derive(Debug)]
pub(crate) struct Jobs {
    pub(super) control: Control,
    pub(super) table: Arc<Table>,
    /// Looks between two yields of a waiting caller.
    pub(super) looks: u32,
    pub(crate) results: Results,
    pub(super) limits: Limits,
    pub(super) inner: Mutex<Inner>,
    pub(super) deaths: AtomicU64,
}

pub(super) fn words_of<'a>(
    control: &'a Control,
    words: Option<&'a Words>,
    slot: usize,
    chunks: u64,
) -> &'a [AtomicU64] {
    match words {
        None => &control.inline_words(slot)[..chunks as usize],
        Some(Words { segment, offset }) => {
            let first = segment.base().wrapping_add(*offset).cast();
            // SAFETY: `submit` made the segment for at least so many words, or found them in a
            // checkpoint of that length; it is mapped as long as the borrow, they begin at a page,
            // and are used as atomics by everybody.
            unsafe { std::slice::from_raw_parts(first, chunks as usize) }
        }
    }
}

impl Jobs {
    pub(crate) fn new(control: Control, table: Arc<Table>, caller_has_core: bool) -> Jobs {
        let inner = Inner {
            active: (0..MAX_JOBS).map(|_| None).collect(),
            free: (0..MAX_JOBS).rev().collect(),
            epoch: 0,
            words: Vec::new(),
            journals: Vec::new(),
            old_journals: Vec::new(),
            broken: None,
            closed: false,
        };
        let looks =
            if caller_has_core { LOOKS_BETWEEN_YIELDS } else { LOOKS_BETWEEN_YIELDS_SHARED };
        let results = Results::default();
        let (inner, limits) = (Mutex::new(inner), Limits::default());
        Jobs { control, table, looks, results, limits, inner, deaths: AtomicU64::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deaths of workers that were recovered from so far.
    pub(crate) fn deaths(&self) -> u64 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Publishes a job. Waits where [`MAX_JOBS`] are in flight.
    pub(crate) fn submit(&self, s: Submission) -> Result<Ticket, Error> {
        let mut inner = self.lock();
        let slot = loop {
            if let Some(error) = &inner.broken {
                return Err(error.clone().into());
            }
            if inner.closed {
                return Err(JobError::Closed.into());
            }
            if let Some(slot) = inner.free.pop() {
                break slot;
            }
            inner = self.make_room(inner);
        };
        match self.publish(&mut inner, slot, s) {
            Ok((ticket, chunks)) => {
                drop(inner);
                self.control.announce(usize::try_from(chunks).unwrap_or(usize::MAX));
                Ok(ticket)
            }
            Err(error) => {
                inner.free.push(slot);
                Err(error)
            }
        }
    }

    /// Harvests a job that is over, else waits for the oldest one.
    fn make_room<'a>(&'a self, mut inner: MutexGuard<'a, Inner>) -> MutexGuard<'a, Inner> {
        let over = |slot: usize, epoch: u64| {
            self.control.job(slot).complete.epoch.load(Ordering::SeqCst) >= epoch
        };
        let jobs = || 0..MAX_JOBS;
        let mut oldest: Option<(u64, usize)> = None;
        for slot in jobs() {
            let Some(epoch) = inner.active[slot].as_ref().map(|a| a.epoch) else { continue };
            if over(slot, epoch) {
                self.harvest(&mut inner, slot);
            } else if oldest.is_none_or(|(e, _)| epoch < e) {
                oldest = Some((epoch, slot));
            }
        }
        if !inner.free.is_empty() {
            return inner;
        }
        drop(inner);
        if let Some((epoch, slot)) = oldest {
            self.await_end(slot, epoch, Some(Duration::from_millis(100)));
        }
        self.lock()
    }

    fn publish(
        &self,
        inner: &mut Inner,
        slot: usize,
        s: Submission,
    ) -> Result<(Ticket, u64), Error> {
        let mut args = s.args;
        let chunks = args.desc.head.chunks;
        let (words, before) = match s.checkpoint {
            Some((segment, before)) => {
                let offset = args.desc.head.words_offset as usize;
                (Some(Words { segment, offset }), before)
            }
            None => (self.take_memory(inner, &args.desc.head)?, 0),
        };
        if let Some((results, _)) = &s.results {
            args.segments.push(Arc::clone(results));
        }
        for segment in args.segments.iter().chain(words.as_ref().map(|w| &w.segment)) {
            self.table.ensure(segment);
        }
        inner.epoch += 1;
        let epoch = inner.epoch;
        assert!(epoch < MAX_EPOCH, "a pool runs 2^44 jobs at most");
        let head = &mut args.desc.head;
        head.epoch = epoch;
        head.entry = s.offset;
        head.stream = s.stream;
        head.flags |= s.flags;
        head.words = words.as_ref().map_or(0, |w| w.segment.id());
        head.results = s.results.as_ref().map_or(0, |(r, _)| r.id());
        head.results_offset = s.results.as_ref().map_or(0, |(_, offset)| *offset as u64);
        head.result_bytes = s.result_bytes as u64;
        self.control.write_desc(slot, &args.desc);
        let ended = Arc::new(Ended::default());
        inner.active[slot] = Some(Active {
            epoch,
            kernel: s.entry,
            desc: args.desc,
            segments: args.segments,
            words,
            on_death: s.on_death,
            deaths: HashMap::new(),
            died: None,
            ended: Arc::clone(&ended),
        });
        self.control.job(slot).before.store(before, Ordering::Relaxed);
        self.control.job(slot).live.store(epoch, Ordering::SeqCst);
        self.control.header().dispatch.live.fetch_or(1 << slot, Ordering::SeqCst);
        if chunks == before {
            self.control.complete(slot, epoch);
        }
        Ok((Ticket { slot, epoch, ended }, chunks))
    }

    /// Memory for the words of a job, and journals for it.
    fn take_memory(&self, inner: &mut Inner, head: &JobHead) -> Result<Option<Words>, Error> {
        let words = self.take_words(inner, head.chunks)?;
        self.ensure_journals(inner, head.journal_bytes)?;
        Ok(words.map(|segment| Words { segment, offset: 0 }))
    }

    /// Memory for the words of `chunks` chunks. Old words need no clearing: they are of an older
    /// epoch, and so free.
    fn take_words(&self, inner: &mut Inner, chunks: u64) -> Result<Option<Arc<Segment>>, Error> {
        if chunks <= INLINE_WORDS as u64 {
            return Ok(None);
        }
        let bytes = chunks as usize * 8;
        let best = (0..inner.words.len())
            .filter(|&i| inner.words[i].len() >= bytes)
            .min_by_key(|&i| inner.words[i].len());
        match best {
            Some(i) => Ok(Some(inner.words.swap_remove(i))),
            None => {
                // The others are too small for the jobs of this program: let them go.
                inner.words.clear();
                let len = bytes.next_power_of_two();
                Ok(Some(Segment::nameless("pinpool-words", len)?))
            }
        }
    }

    /// A journal for each worker that holds `bytes` at least.
    fn ensure_journals(&self, inner: &mut Inner, bytes: u64) -> Result<(), Error> {
        let has = inner.journals.first().map_or(0, |j| j.len() as u64);
        if inner.free.len() + 1 == MAX_JOBS {
            inner.old_journals.clear();
        }
        if bytes <= has {
            return Ok(());
        }
        let len = (bytes as usize).next_multiple_of(4096);
        let journals: Vec<_> = (0..self.control.workers())
            .map(|_| Segment::nameless("pinpool-journal", len))
            .collect::<Result<_, _>>()?;
        let old = std::mem::replace(&mut inner.journals, journals);
        inner.old_journals.extend(old);
        for (w, journal) in inner.journals.iter().enumerate() {
            self.table.ensure(journal);
            self.control.worker(w).standing.journal.store(journal.id(), Ordering::Release);
        }
        Ok(())
    }

    /// Whether the job is over.
    pub(crate) fn is_over(&self, ticket: &Ticket) -> bool {
        self.control.job(ticket.slot).complete.epoch.load(Ordering::SeqCst) >= ticket.epoch
    }

    /// Waits for the end of a job; `false` where the time was up before.
    pub(crate) fn wait(&self, ticket: &Ticket, limit: Option<Duration>) -> bool {
        self.await_end(ticket.slot, ticket.epoch, limit)
    }

    fn await_end(&self, slot: usize, epoch: u64, limit: Option<Duration>) -> bool {
        let c = &self.control.job(slot).complete;
        let over = || c.epoch.load(Ordering::SeqCst) >= epoch;
        if spin_until(CALLER_SPIN_NS, self.looks, over) {
            return true;
        }
        // Beyond the clock: no limit.
        let end = limit.and_then(|l| Instant::now().checked_add(l));
        c.waiters.fetch_add(1, Ordering::SeqCst);
        let seen = loop {
            let now = c.epoch.load(Ordering::SeqCst);
            if now >= epoch {
                break true;
            }
            let left = end.map(|e| e.saturating_duration_since(Instant::now()));
            if left.is_some_and(|l| l.is_zero()) {
                break false;
            }
            // A second at most, whatever happens: no wake-up is trusted with a hang.
            let nap = left.unwrap_or(Duration::MAX).min(Duration::from_secs(1));
            let nap = Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: nap.subsec_nanos().into() };
            let woken = futex::wait(futex_half(c), futex::Flags::empty(), now as u32, Some(&nap));
            if woken == Err(rustix::io::Errno::TIMEDOUT) {
                self.nudge(slot, epoch);
            }
        };
        c.waiters.fetch_sub(1, Ordering::SeqCst);
        seen
    }

    /// Makes up for a worker that is stopped (SIGSTOP, a debugger) or starved just where others
    /// count on it: between its last chunk and saying that the job is over, or after it was woken
    /// in another one's stead.
    fn nudge(&self, slot: usize, epoch: u64) {
        let inner = self.lock();
        if let Some(job) = inner.active[slot].as_ref().filter(|a| a.epoch == epoch) {
            self.check_over(slot, job);
        }
        drop(inner);
        self.control.wake(usize::MAX);
    }

    /// The end of a job that is over: what is in its inline result, or its error.
    pub(crate) fn finish(
        &self,
        ticket: &Ticket,
    ) -> Result<[u64; INLINE_RESULT_BYTES / 8], JobError> {
        let mut inner = self.lock();
        if inner.active[ticket.slot].as_ref().is_some_and(|a| a.epoch == ticket.epoch) {
            self.harvest(&mut inner, ticket.slot);
        }
        drop(inner);
        let state = ticket.ended.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clone().unwrap_or(Err(JobError::Cancelled))
    }

    /// Takes a job that is over out of its slot.
    fn harvest(&self, inner: &mut Inner, slot: usize) {
        let Some(job) = inner.active[slot].take() else { return };
        let line = self.control.job(slot);
        self.control.header().dispatch.live.fetch_and(!(1 << slot), Ordering::SeqCst);
        line.live.store(0, Ordering::SeqCst);
        let end = if line.stop.load(Ordering::SeqCst) == job.epoch {
            Err(self.error_of(&job, slot, inner.broken.as_ref()))
        } else {
            let mut result = [0u64; INLINE_RESULT_BYTES / 8];
            if job.desc.head.results == 0 {
                let bytes = job.desc.head.result_bytes as usize;
                // SAFETY: a slot's inline result has room for `INLINE_RESULT_BYTES`, `bytes` is
                // checked against that at submission, and no worker is in the job any more.
                unsafe {
                    ptr::copy_nonoverlapping(
                        self.control.inline_result(slot),
                        result.as_mut_ptr().cast(),
                        bytes.min(INLINE_RESULT_BYTES),
                    );
                }
            }
            Ok(result)
        };
        *job.ended.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        inner.words.extend(job.words.filter(|w| w.offset == 0).map(|w| w.segment));
        inner.free.push(slot);
        let journals = inner.journals.first().map_or(0, |j| j.len() * inner.journals.len());
        if inner.free.len() == MAX_JOBS && journals > JOURNALS_KEPT_BYTES {
            // The undo copies of one job with large chunks are no reason to keep so much memory.
            for w in 0..self.control.workers() {
                self.control.worker(w).standing.journal.store(0, Ordering::Release);
            }
            inner.journals.clear();
            inner.old_journals.clear();
        }
    }

    /// The failure at the lowest chunk, of those that workers and supervisor have seen.
    fn error_of(&self, job: &Active, slot: usize, broken: Option<&JobError>) -> JobError {
        let mut worst = job.died.clone();
        for worker in 0..self.control.workers() {
            let record = self.control.error(slot, worker);
            if record.epoch.load(Ordering::Acquire) != job.epoch {
                continue;
            }
            let chunk = record.chunk.load(Ordering::Relaxed);
            let kind_len = record.kind_len.load(Ordering::Relaxed);
            if worst.as_ref().is_some_and(|(c, _)| *c <= chunk) {
                continue;
            }
            let message = load_text(&record.text, kind_len & u64::from(u32::MAX));
            let kernel = job.kernel.name();
            let error = if kind_len >> 32 == PANIC {
                JobError::Panic { kernel, chunk, worker, message }
            } else {
                JobError::Failed { kernel, chunk, worker, message }
            };
            worst = Some((chunk, error));
        }
        match worst {
            Some((_, error)) => error.in_part(job.desc.head.first_chunk),
            None => broken.cloned().unwrap_or(JobError::Cancelled),
        }
    }

    /// Chunks of all jobs in flight: those that came to their end, and all.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let inner = self.lock();
        let jobs = inner.active.iter().enumerate();
        jobs.filter_map(|(slot, job)| Some((slot, job.as_ref()?)))
            .map(|(slot, job)| (self.chunks_over(slot, job.epoch), job.desc.head.chunks))
            .fold((0, 0), |sum, job| (sum.0 + job.0, sum.1 + job.1))
    }

    /// Chunks of one job that came to their end; 0 where its slot is another job's by now.
    pub(crate) fn progress_of(&self, ticket: &Ticket) -> u64 {
        self.chunks_over(ticket.slot, ticket.epoch)
    }

    fn chunks_over(&self, slot: usize, epoch: u64) -> u64 {
        let line = self.control.job(slot);
        let here = line.live.load(Ordering::Acquire) == epoch;
        let before = if here { line.before.load(Ordering::Relaxed) } else { 0 };
        let over: u64 = (0..self.control.workers())
            .map(|w| {
                let tally = self.control.tally(slot, w);
                let over = tally.over.load(Ordering::Acquire);
                if tally.epoch.load(Ordering::Acquire) == epoch { over } else { 0 }
            })
            .sum();
        before + over
    }

    /// The words of a job, to follow it chunk by chunk; `None` where it is over and gone.
    pub(crate) fn watch(&self, ticket: &Ticket) -> Option<Watched> {
        let inner = self.lock();
        let job = inner.active[ticket.slot].as_ref().filter(|a| a.epoch == ticket.epoch)?;
        self.control.job(ticket.slot).watchers.fetch_add(1, Ordering::SeqCst);
        Some(Watched {
            control: self.control.clone(),
            slot: ticket.slot,
            chunks: job.desc.head.chunks,
            segment: job.words.clone(),
            looks: self.looks,
        })
    }

    /// Stops a job: chunks in progress come to their end, no others begin.
    pub(crate) fn cancel(&self, ticket: &Ticket) {
        let inner = self.lock();
        if let Some(job) = inner.active[ticket.slot].as_ref().filter(|a| a.epoch == ticket.epoch) {
            self.stop(ticket.slot, job);
        }
    }

    /// Stops all jobs.
    pub(crate) fn cancel_all(&self) {
        let inner = self.lock();
        for (slot, job) in inner.active.iter().enumerate() {
            if let Some(job) = job {
                self.stop(slot, job);
            }
        }
    }

    pub(super) fn stop(&self, slot: usize, job: &Active) {
        if self.control.job(slot).complete.epoch.load(Ordering::SeqCst) >= job.epoch {
            return;
        }
        self.control.job(slot).stop.fetch_max(job.epoch, Ordering::SeqCst);
        self.check_over(slot, job);
    }

    pub(super) fn check_over(&self, slot: usize, job: &Active) {
        let words = words_of(&self.control, job.words.as_ref(), slot, job.desc.head.chunks);
        if is_over(&self.control, slot, job.epoch, words) {
            self.control.complete(slot, job.epoch);
        }
    }

    /// Takes no more jobs.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits for every job that is in flight now.
    pub(crate) fn wait_all(&self) {
        let jobs: Vec<_> = {
            let inner = self.lock();
            let active = inner.active.iter().enumerate();
            active.filter_map(|(slot, job)| Some((slot, job.as_ref()?.epoch))).collect()
        };
        for (slot, epoch) in jobs {
            self.await_end(slot, epoch, None);
        }
    }

    /// The pool cannot go on: every job ends with this error, and so does every later one.
    pub(crate) fn break_down(&self, error: &JobError) {
        let mut inner = self.lock();
        inner.broken = Some(error.clone());
        for (slot, job) in inner.active.iter_mut().enumerate() {
            if let Some(job) = job {
                job.died.get_or_insert((u64::MAX, error.clone()));
                self.control.job(slot).stop.fetch_max(job.epoch, Ordering::SeqCst);
                self.check_over(slot, job);
            }
        }
    }
}

#[cfg(feature = "walk")]
impl Jobs {
    /// The memory of all journals.
    pub(crate) fn journals(&self) -> Vec<Arc<Segment>> {
        self.lock().journals.clone()
    }
}
