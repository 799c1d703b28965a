//! How jobs end: waiting for it, taking the result out of the slot, stopping.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::thread::{Timespec, futex};

use super::jobs::{Active, Inner, Jobs, words_of};
use super::ticket::{Bits, Ticket};
use crate::args::reuse;
use crate::config::{CALLER_SPIN_NS, JOURNALS_KEPT_BYTES, MAX_JOBS};
use crate::control::{futex_half, load_text};
use crate::error::JobError;
use crate::layout::PANIC;
use crate::worker::{is_over, spin_until};

impl Jobs {
    /// Whether the job is over.
    pub(crate) fn is_over(&self, ticket: &Ticket) -> bool {
        // What was taken out needs no look at memory that workers write.
        ticket.was_taken_out()
            || match ticket.call() {
                None => self.slot_is_over(ticket.slot(), ticket.epoch()),
                Some((batch, call)) => self.call_is_over(batch, call),
            }
    }

    pub(super) fn slot_is_over(&self, slot: usize, epoch: u64) -> bool {
        self.control.job(slot).complete.epoch.load(Ordering::SeqCst) >= epoch
    }

    /// Waits for the end of a job; `false` where the time was up before.
    pub(crate) fn wait(&self, ticket: &Ticket, limit: Option<Duration>) -> bool {
        ticket.was_taken_out()
            || match ticket.call() {
                None => self.await_end(ticket.slot(), ticket.epoch(), limit),
                Some(_) => self.await_call(ticket, limit),
            }
    }

    pub(super) fn await_end(&self, slot: usize, epoch: u64, limit: Option<Duration>) -> bool {
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
    pub(super) fn nudge(&self, slot: usize, epoch: u64) {
        let inner = self.lock();
        if let Some(job) = inner.active[slot].as_ref().filter(|a| a.epoch == epoch) {
            self.check_over(slot, job);
        }
        drop(inner);
        self.control.wake(usize::MAX);
    }

    /// The end of a job that is over: what is in its inline result, or its error.
    pub(crate) fn finish(&self, ticket: &Ticket) -> Result<Bits, JobError> {
        if !ticket.was_taken_out() {
            if let Some((batch, call)) = ticket.call() {
                return self.end_of_call(batch, call);
            }
            self.take_out(ticket.slot(), ticket.epoch());
        }
        ticket.end().map_or(Err(JobError::Cancelled), |end| end.map_err(JobError::clone))
    }

    /// Takes a job that is over out of its slot, if it is still there.
    pub(crate) fn take_out(&self, slot: usize, epoch: u64) {
        let mut inner = self.lock();
        if inner.active[slot].as_ref().is_some_and(|a| a.epoch == epoch) {
            self.harvest(&mut inner, 1 << slot);
        }
    }

    /// Takes jobs that are over out of their slots, which `slots` has a bit for each of.
    pub(super) fn harvest(&self, inner: &mut Inner, slots: u64) {
        inner.live &= !slots;
        self.control.header().dispatch.live.store(inner.live, Ordering::Release);
        let slots = || (0..MAX_JOBS).filter(|slot| slots >> slot & 1 == 1);
        for slot in slots() {
            self.control.job(slot).live.store(0, Ordering::Release);
            self.control.touch_desc(slot);
        }
        for slot in slots() {
            if let Some(job) = inner.active[slot].take() {
                self.harvest_one(inner, slot, job);
            }
        }
        let journals = inner.journals.first().map_or(0, |j| j.len() * inner.journals.len());
        if inner.live == 0 && journals > JOURNALS_KEPT_BYTES {
            // The undo copies of one job with large chunks are no reason to keep so much memory.
            for w in 0..self.control.workers() {
                self.control.worker(w).standing.journal.store(0, Ordering::Release);
            }
            inner.journals.clear();
            inner.old_journals.clear();
        }
    }

    fn harvest_one(&self, inner: &mut Inner, slot: usize, mut job: Active) {
        if let Some(calls) = job.calls.take() {
            self.harvest_calls(inner, &job, &calls);
        }
        let line = self.control.job(slot);
        let head = &job.desc.head;
        let end = if line.stop.load(Ordering::SeqCst) == job.epoch {
            Err(Box::new(self.error_of(&job, slot, inner.broken.as_ref())))
        } else {
            let inline = if head.results == 0 { head.result_bytes as usize } else { 0 };
            // SAFETY: a slot's inline result has room for `INLINE_RESULT_BYTES`, which is what
            // its length is checked against at submission, or for `SMALL_RESULT_BYTES` if it is
            // not longer than that; no worker is in the job any more.
            let bits =
                unsafe { Bits::read(self.control.inline_result(slot, inline as u64), inline) };
            Ok(bits)
        };
        job.ticket.set_end(end);
        inner.words.extend(job.words.filter(|w| w.offset == 0).map(|w| w.segment));
        reuse(job.desc);
    }

    /// The failure at the lowest chunk, of those that workers and supervisor have seen.
    pub(super) fn error_of(
        &self,
        job: &Active,
        slot: usize,
        broken: Option<&JobError>,
    ) -> JobError {
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
            .map(|(slot, job)| (self.chunks_over(slot, job.epoch), job.chunks()))
            .fold((0, 0), |sum, job| (sum.0 + job.0, sum.1 + job.1))
    }

    /// Chunks of one job that came to their end; 0 where its slot is another job's by now.
    pub(crate) fn progress_of(&self, ticket: &Ticket) -> u64 {
        if ticket.call().is_some() {
            return self.is_over(ticket).into();
        }
        self.chunks_over(ticket.slot(), ticket.epoch())
    }

    fn chunks_over(&self, slot: usize, epoch: u64) -> u64 {
        let line = self.control.job(slot);
        let here = line.live.load(Ordering::Acquire) == epoch;
        let before = if here { line.before.load(Ordering::Relaxed) } else { 0 };
        let tallies = (0..self.control.workers()).map(|w| self.control.tally(slot, w));
        before + tallies.map(|tally| tally.count(epoch)).sum::<u64>()
    }

    /// Stops a job: chunks in progress come to their end, no others begin.
    pub(crate) fn cancel(&self, slot: usize, epoch: u64) {
        let inner = self.lock();
        if let Some(job) = inner.active[slot].as_ref().filter(|a| a.epoch == epoch) {
            self.stop(slot, job);
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

    /// Slots and epochs of the jobs that a scope waits for, the oldest first.
    pub(crate) fn of_scope(&self, scope: u64) -> Vec<(usize, u64)> {
        let mut inner = self.lock();
        self.close_batches(&mut inner, |open| open == scope);
        let jobs = inner.active.iter().flatten().filter(|job| job.scope == scope);
        let mut jobs: Vec<_> = jobs.map(|job| (job.ticket.slot(), job.epoch)).collect();
        jobs.sort_by_key(|&(_, epoch)| epoch);
        jobs
    }

    /// Takes no more jobs.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits for every job that is in flight now.
    pub(crate) fn wait_all(&self) {
        let jobs: Vec<_> = {
            let mut inner = self.lock();
            self.close_batches(&mut inner, |_| true);
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
