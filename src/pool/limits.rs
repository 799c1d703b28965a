//! Deadlines: of a cancelled job's last chunks, of a job, of each chunk. The supervisor looks at
//! them and kills whoever holds a job up; the rest is the recovery of any death.
//!
//! Workers know nothing of deadlines, so that they cost a job without one nothing. A worker that
//! goes on to another chunk at the very moment of its kill loses that chunk's progress, and no
//! more: it is put back and run again.

#![forbid(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use std::sync::atomic::Ordering;

use super::jobs::{Active, Jobs, words_of};
use super::ticket::Ticket;
use crate::error::{Death, JobError};
use crate::protocol::{self, Owner, Word};

/// What is to happen at a deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The job is stopped already: kill whoever is still in it.
    Kill,
    /// Stop the job, then as `Kill`.
    Job(Duration),
    /// Kill a worker that has been in the same chunk of the job for so long.
    Chunk(Duration),
}

#[derive(Debug)]
struct Limit {
    slot: usize,
    epoch: u64,
    /// Of one chunk of the job alone.
    chunk: Option<u64>,
    at: Instant,
    kind: Kind,
}

/// The deadlines of all jobs in flight.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    list: Mutex<Vec<Limit>>,
}

/// What a worker was at when the supervisor last looked, and since when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Incarnation, job, chunk, chunks finished.
    at: (Option<u32>, u64, u64, u64),
    since: Instant,
}

/// Whom to kill, counted as which death; and when to look again.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) kill: Vec<(usize, Option<Death>)>,
    pub(crate) next: Option<Instant>,
}

/// A chunk that takes long; see [`Job::on_stall`](super::Job::on_stall).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// Which chunk.
    pub chunk: u64,
    /// The worker that is in it.
    pub worker: usize,
    /// Its process; this one where the workers are threads.
    pub pid: u32,
    /// How long it has been seen in the chunk.
    pub elapsed: Duration,
}

/// What a caller who asked for stalls has seen each worker at.
#[derive(Debug)]
pub(crate) struct Attention {
    after: Duration,
    seen: Vec<Held>,
}

/// The claim that a worker holds (the chunk and its word, which names the incarnation), since
/// when, and whether that was told.
type Held = (Option<(u64, Word)>, Instant, bool);

impl Attention {
    pub(crate) fn new(workers: usize, after: Duration) -> Attention {
        Attention { after, seen: vec![(None, Instant::now(), false); workers] }
    }

    /// How long to wait between two looks.
    pub(crate) fn pause(&self) -> Duration {
        (self.after / 4).clamp(Duration::from_millis(1), Duration::from_secs(1))
    }
}

/// How soon a kill that had no effect yet is tried again.
const AGAIN: Duration = Duration::from_millis(100);

impl Limits {
    fn lock(&self) -> MutexGuard<'_, Vec<Limit>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, slot: usize, epoch: u64, at: Instant, kind: Kind) {
        self.lock().push(Limit { slot, epoch, chunk: None, at, kind });
    }

    /// Whoever is in this chunk at that time is killed.
    pub(crate) fn add_kill(&self, slot: usize, epoch: u64, chunk: u64, at: Instant) {
        self.lock().push(Limit { slot, epoch, chunk: Some(chunk), at, kind: Kind::Kill });
    }
}

impl Seen {
    pub(crate) fn nothing() -> Seen {
        Seen { at: (None, 0, 0, 0), since: Instant::now() }
    }
}

impl Jobs {
    /// Looks at every deadline. `alive` is the incarnation of each worker that has a process.
    pub(crate) fn look(&self, now: Instant, alive: &[Option<u32>], seen: &mut [Seen]) -> Verdict {
        let mut verdict = Verdict::default();
        let mut limits = self.limits.lock();
        if limits.is_empty() {
            return verdict;
        }
        for (worker, seen) in seen.iter_mut().enumerate() {
            let c = &self.control.worker(worker).current;
            let at = (
                alive[worker],
                c.epoch.load(Ordering::Relaxed),
                c.chunk.load(Ordering::Relaxed),
                c.finished.load(Ordering::Relaxed),
            );
            if at != seen.at {
                *seen = Seen { at, since: now };
            }
        }
        let mut inner = self.lock();
        limits.retain_mut(|limit| {
            let job = inner.active[limit.slot].as_mut().filter(|job| job.epoch == limit.epoch);
            let Some(job) = job else { return false };
            let keep = self.judge(limit, job, now, alive, seen, &mut verdict);
            if keep {
                verdict.next = Some(verdict.next.map_or(limit.at, |next| next.min(limit.at)));
            }
            keep
        });
        verdict
    }

    /// The workers that have been in one chunk of a job for longer than `attention` allows, each
    /// once a claim.
    pub(crate) fn stalled(&self, ticket: &Ticket, attention: &mut Attention) -> Vec<Stall> {
        let (now, slot) = (Instant::now(), ticket.slot());
        let inner = self.lock();
        let job = inner.active[slot].as_ref().filter(|job| job.epoch == ticket.epoch());
        let Some(job) = job else { return Vec::new() };
        let chunks = job.desc.head.chunks;
        let words = words_of(&self.control, job.words.as_ref(), slot, chunks);
        let mut stalls = Vec::new();
        for (worker, (held, since, told)) in attention.seen.iter_mut().enumerate() {
            let chunk = self.control.worker(worker).current.chunk.load(Ordering::Relaxed);
            let word = words.get(chunk as usize).map(|w| Word(w.load(Ordering::Acquire)));
            let claim = word
                .filter(|w| w.is_claimed_in(job.epoch) && w.worker() as usize == worker)
                .map(|w| (chunk, w));
            if claim != *held {
                (*held, *since, *told) = (claim, now, false);
            }
            let elapsed = now.duration_since(*since);
            if claim.is_some() && !*told && elapsed >= attention.after {
                *told = true;
                let pid = self.control.worker(worker).standing.pid.load(Ordering::Relaxed) as u32;
                let chunk = job.desc.head.first_chunk + chunk;
                stalls.push(Stall { chunk, worker, pid, elapsed });
            }
        }
        stalls
    }

    /// `false`: the job is over.
    fn judge(
        &self,
        limit: &mut Limit,
        job: &mut Active,
        now: Instant,
        alive: &[Option<u32>],
        seen: &mut [Seen],
        verdict: &mut Verdict,
    ) -> bool {
        if let Kind::Job(allowed) = limit.kind
            && now >= limit.at
        {
            job.died.get_or_insert((0, JobError::Overran { allowed }));
            self.stop(limit.slot, job);
            limit.kind = Kind::Kill;
        }
        if self.control.job(limit.slot).complete.epoch.load(Ordering::SeqCst) >= job.epoch {
            return false;
        }
        let words = words_of(&self.control, job.words.as_ref(), limit.slot, job.desc.head.chunks);
        let is_claimed =
            |c: u64| Word(words[c as usize].load(Ordering::SeqCst)).is_claimed_in(job.epoch);
        if limit.chunk.is_some_and(|chunk| !is_claimed(chunk)) {
            return false;
        }
        if now < limit.at {
            return true;
        }
        let held =
            |&worker: &usize| alive[worker].is_some_and(|i| self.holds(worker, i, limit, job));
        let holders = (0..alive.len()).filter(held);
        match limit.kind {
            Kind::Kill => {
                verdict.kill.extend(holders.map(|worker| (worker, None)));
                limit.at = now + AGAIN;
            }
            Kind::Chunk(allowed) => {
                // A worker that is still to claim the chunk that it was last at (it was started
                // again, say) has not been in it for a moment.
                let between = |w: usize| {
                    let epoch = self.control.worker(w).current.epoch.load(Ordering::Relaxed);
                    epoch == job.epoch && !held(&w)
                };
                let idle = seen.iter_mut().enumerate().filter(|(w, _)| between(*w));
                idle.for_each(|(_, seen)| seen.since = now);
                let late = holders.filter(|&w| now.duration_since(seen[w].since) >= allowed);
                verdict.kill.extend(late.map(|worker| (worker, Some(Death::Overdue))));
                let pause = (allowed / 4).clamp(Duration::from_millis(1), Duration::from_secs(1));
                limit.at = now + pause;
            }
            Kind::Job(_) => {}
        }
        true
    }

    /// Whether the worker has claimed a chunk of the job.
    fn holds(&self, worker: usize, incarnation: u32, limit: &Limit, job: &Active) -> bool {
        let current = &self.control.worker(worker).current;
        let chunk = current.chunk.load(Ordering::Relaxed) as usize;
        let chunks = job.desc.head.chunks;
        let words = words_of(&self.control, job.words.as_ref(), limit.slot, chunks);
        let owner = Owner { worker: worker as u32, incarnation };
        current.epoch.load(Ordering::Relaxed) == job.epoch
            && limit.chunk.is_none_or(|c| c == chunk as u64)
            && words.get(chunk).is_some_and(|w| protocol::is_claim_of(w, owner, job.epoch))
    }
}
