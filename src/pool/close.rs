//! `close`, `join` and `terminate`, with Python's meanings; and cancelling with a grace time.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::limits::Kind;
use super::ticket::Ticket;
use super::{Crew, Pool, shut_down};
use crate::error::{ArgsError, Result};

impl Pool {
    /// Takes no more jobs: each later one is [`JobError::Closed`](crate::JobError::Closed). Jobs
    /// in flight go on.
    ///
    /// A pool that is dropped needs none of this; it is for a pool that several threads share.
    pub fn close(&self) {
        if !self.is_fork() {
            self.jobs.close();
        }
    }

    /// [Closes](Self::close) the pool, waits for the jobs in flight, whoever submitted them, and
    /// ends the workers.
    pub fn join(&self) {
        if self.is_fork() {
            return;
        }
        self.jobs.close();
        // The serial backend's jobs run in the threads that submitted them, which wait for them.
        self.jobs.wait_all();
        self.end_workers(false);
    }

    /// [Closes](Self::close) the pool and ends it now: jobs in flight end with
    /// [`JobError::Cancelled`](crate::JobError::Cancelled), worker processes are killed, and chunks
    /// that they were in are put back as they were.
    ///
    /// Threads cannot be killed: with the backends `threads` and `serial` it waits for the chunks
    /// in progress.
    pub fn terminate(&self) {
        if self.is_fork() {
            return;
        }
        self.jobs.close();
        self.jobs.cancel_all();
        self.end_workers(true);
    }

    fn end_workers(&self, now: bool) {
        shut_down(&self.control);
        match &self.crew {
            Crew::Processes { supervisor } => supervisor.stop(now),
            Crew::Threads { threads } => threads.join(),
            Crew::Serial(_) => {}
        }
    }

    /// Stops a job; see [`Pending::cancel`](super::Pending::cancel).
    pub(crate) fn cancel(&self, slot: usize, epoch: u64) {
        self.jobs.cancel(slot, epoch);
        if let Crew::Processes { supervisor } = &self.crew
            && !self.jobs.slot_is_over(slot, epoch)
        {
            // A grace beyond the clock is one without an end.
            if let Some(at) = Instant::now().checked_add(self.cancel_grace) {
                self.jobs.limits.add(slot, epoch, at, Kind::Kill);
                supervisor.ring();
            }
        }
    }

    /// Cancels a job, or one call of a batch.
    pub(super) fn cancel_ticket(&self, ticket: &Ticket) {
        let Some((batch, call)) = ticket.call() else {
            return self.cancel(ticket.slot(), ticket.epoch());
        };
        if self.jobs.cancel_call(batch, call)
            && let Crew::Processes { supervisor } = &self.crew
            && let Some(at) = Instant::now().checked_add(self.cancel_grace)
        {
            self.jobs.limits.add_kill(batch.slot(), batch.epoch(), call as u64, at);
            supervisor.ring();
        }
    }

    /// Puts deadlines on a job that was just published.
    pub(super) fn limit(&self, ticket: &Ticket, job: Option<Duration>, chunk: Option<Duration>) {
        let (slot, epoch) = (ticket.slot(), ticket.epoch());
        let now = Instant::now();
        if let Some((allowed, at)) = job.and_then(|d| Some((d, now.checked_add(d)?))) {
            self.jobs.limits.add(slot, epoch, at, Kind::Job(allowed));
        }
        if let Some(allowed) = chunk {
            self.jobs.limits.add(slot, epoch, now, Kind::Chunk(allowed));
        }
        if let Crew::Processes { supervisor } = &self.crew {
            supervisor.ring();
        }
    }

    /// What only worker processes can do, since a thread cannot be killed.
    pub(super) fn needs_processes(&self, what: &'static str) -> Result<()> {
        match &self.crew {
            Crew::Processes { .. } => Ok(()),
            _ => Err(ArgsError::NeedsProcesses { what, backend: self.backend.name() }.into()),
        }
    }
}
