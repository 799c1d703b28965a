//! The parent's side of jobs: what it knows of them, and how one is submitted. How one ends is in
//! `ends.rs`, recovery in `recover.rs`.
//!
//! One mutex guards the table of active jobs. A job's data lies in the control block and in
//! segments; what stands here is private to the parent, for recovery to rely on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::calls::Calls;
use super::limits::Limits;
use super::results::Results;
use super::table::Table;
use super::ticket::Ticket;
use crate::args::Description;
use crate::config::{
    INLINE_WORDS, LOOKS_BETWEEN_YIELDS, LOOKS_BETWEEN_YIELDS_SHARED, MAX_JOBS, ROOM_AT_ONCE,
    ROOM_SPIN_NS,
};
use crate::control::Control;
use crate::entry::KernelEntry;
use crate::error::{Error, JobError};
use crate::layout::{CALLS, JobDesc, JobHead, OPEN};
use crate::protocol::MAX_EPOCH;
use crate::segment::Segment;
use crate::worker::spin_until;

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
    /// The scope that waits for it; 0: none.
    pub(super) scope: u64,
    pub(super) kernel: &'static KernelEntry,
    pub(super) desc: Box<JobDesc>,
    pub(super) segments: Vec<Arc<Segment>>,
    /// `None`: the words lie in the job's slot.
    pub(super) words: Option<Words>,
    pub(super) on_death: OnDeath,
    /// Deaths by chunk: of the worker's own doing, and kills.
    pub(super) deaths: BTreeMap<u64, (u32, u32)>,
    /// The failure at the lowest chunk that the parent itself knows of.
    pub(super) died: Option<(u64, JobError)>,
    pub(super) ticket: Ticket,
    /// Of a batch of calls.
    pub(super) calls: Option<Calls>,
}

/// Where the words of a job are that are not in its slot.
#[derive(Debug, Clone)]
pub(super) struct Words {
    pub(super) segment: Arc<Segment>,
    /// Not 0: in a checkpoint.
    pub(super) offset: usize,
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
    /// `None`: the order of submission gives it.
    pub(crate) stream: Option<u64>,
    pub(crate) scope: u64,
    pub(crate) on_death: OnDeath,
    pub(crate) flags: u64,
    /// Where words and journals are if not in the pool's memory, and how many chunks are done.
    pub(crate) checkpoint: Option<(Arc<Segment>, u64)>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) active: Vec<Option<Active>>,
    /// One bit a slot: a job is in it. The mask of the control block is a copy of this one, and
    /// nobody else writes it.
    pub(super) live: u64,
    pub(super) epoch: u64,
    /// The stream of the next job that names none.
    stream: u64,
    /// Memory for chunk words that no job uses now.
    pub(super) words: Vec<Arc<Segment>>,
    /// One a worker, all of the same size.
    pub(super) journals: Vec<Arc<Segment>>,
    /// Smaller ones that a job in flight may still use.
    pub(super) old_journals: Vec<Arc<Segment>>,
    /// Scopes whose batch takes more calls, and its slot.
    pub(super) open: Vec<(u64, usize)>,
    /// Memory for batches that none uses now.
    pub(super) batches: Vec<Arc<Segment>>,
    pub(super) broken: Option<JobError>,
    /// No more jobs are taken.
    pub(super) closed: bool,
}

impl Inner {
    pub(super) fn take_stream(&mut self) -> u64 {
        self.stream += 1;
        self.stream - 1
    }
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
            live: 0,
            epoch: 0,
            stream: 0,
            words: Vec::new(),
            journals: Vec::new(),
            old_journals: Vec::new(),
            open: Vec::new(),
            batches: Vec::new(),
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

    /// The stream of a job that names none, for who has to know it before the job is submitted.
    pub(crate) fn take_stream(&self) -> u64 {
        self.lock().take_stream()
    }

    /// Publishes a job. Waits where [`MAX_JOBS`] are in flight.
    pub(crate) fn submit(&self, s: Submission) -> Result<Ticket, Error> {
        let mut inner = self.lock();
        // A batch that waits for more calls would keep a job with many chunks from being alone.
        let scope = s.scope;
        self.close_batches(&mut inner, |open| scope == 0 || scope == open);
        let slot = loop {
            if let Some(error) = &inner.broken {
                return Err(error.clone().into());
            }
            if inner.closed {
                return Err(JobError::Closed.into());
            }
            if inner.live != u64::MAX {
                break inner.live.trailing_ones() as usize;
            }
            inner = self.make_room(inner);
        };
        let (ticket, chunks) = self.publish(&mut inner, slot, s)?;
        drop(inner);
        self.control.announce(usize::try_from(chunks).unwrap_or(usize::MAX));
        Ok(ticket)
    }

    /// Takes out the jobs that are over, else waits for the oldest one.
    ///
    /// Where jobs are shorter than the look for them, a slot at a time would be all that is ever
    /// free: so it waits for some more, but no longer than a moment, since there is no lack of
    /// work with so many in flight.
    pub(super) fn make_room<'a>(
        &'a self,
        mut inner: MutexGuard<'a, Inner>,
    ) -> MutexGuard<'a, Inner> {
        self.close_batches(&mut inner, |_| true);
        let all_over = |inner: &Inner| {
            let jobs = inner.active.iter().flatten().map(|job| (job.ticket.slot(), job.epoch));
            jobs.filter(|&(slot, epoch)| self.slot_is_over(slot, epoch))
                .fold(0, |m, (slot, _)| m | 1u64 << slot)
        };
        let mut found = all_over(&inner);
        if (found.count_ones() as usize) < ROOM_AT_ONCE {
            let age = inner.epoch - ROOM_AT_ONCE as u64;
            let jobs = inner.active.iter().flatten();
            let later = jobs.filter(|job| job.epoch <= age).max_by_key(|job| job.epoch);
            let later = later.map(|job| (job.ticket.slot(), job.epoch));
            drop(inner);
            if let Some((slot, epoch)) = later {
                spin_until(ROOM_SPIN_NS, self.looks, || self.slot_is_over(slot, epoch));
            }
            inner = self.lock();
            found = all_over(&inner);
        }
        if found != 0 || inner.live != u64::MAX {
            self.harvest(&mut inner, found);
            return inner;
        }
        let oldest = inner.active.iter().flatten().min_by_key(|job| job.epoch);
        let oldest = oldest.map(|job| (job.ticket.slot(), job.epoch));
        drop(inner);
        if let Some((slot, epoch)) = oldest {
            self.await_end(slot, epoch, Some(Duration::from_millis(100)));
        }
        self.lock()
    }

    pub(super) fn publish(
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
        head.stream = s.stream.unwrap_or_else(|| inner.take_stream());
        head.flags |= s.flags;
        head.words = words.as_ref().map_or(0, |w| w.segment.id());
        head.results = s.results.as_ref().map_or(0, |(r, _)| r.id());
        head.results_offset = s.results.as_ref().map_or(0, |(_, offset)| *offset as u64);
        head.result_bytes = s.result_bytes as u64;
        self.control.write_desc(slot, &args.desc);
        let ticket = Ticket::new(slot, epoch);
        inner.active[slot] = Some(Active {
            epoch,
            scope: s.scope,
            kernel: s.entry,
            desc: args.desc,
            segments: args.segments,
            words,
            on_death: s.on_death,
            deaths: BTreeMap::new(),
            died: None,
            ticket: ticket.clone(),
            calls: None,
        });
        let total = if s.flags & CALLS == 0 { chunks } else { OPEN };
        self.control.job(slot).before.store(before, Ordering::Relaxed);
        self.control.job(slot).total.store(total, Ordering::Relaxed);
        self.control.job(slot).live.store(epoch, Ordering::Release);
        inner.live |= 1 << slot;
        self.control.header().dispatch.live.store(inner.live, Ordering::Release);
        if chunks == before {
            self.control.complete(slot, epoch);
        }
        Ok((ticket, chunks))
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
        if inner.live == 0 {
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
}

#[cfg(feature = "walk")]
impl Jobs {
    /// The memory of all journals.
    pub(crate) fn journals(&self) -> Vec<Arc<Segment>> {
        self.lock().journals.clone()
    }
}
