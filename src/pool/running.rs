//! A job under way, without the lifetimes: what the blocking calls, [`Pending`](super::Pending)
//! and [`Process`](crate::Process) have in common.
//!
//! It holds the result slots of the job, and knows how to make the value out of them. Who holds
//! one sees to it that what the job's arguments borrow outlives the job; nothing here does.
//!
//! In a fork of the process that built the pool there is no job: it is over, and its value is
//! [`JobError::Forked`].

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use super::ticket::{Bits, Ticket};
use crate::error::JobError;
use crate::segment::Segment;

/// Result slots that lie in a segment: it, and the bytes before the first slot.
pub(crate) type Place = (Arc<Segment>, usize);

/// How far a job is, or all jobs in flight are; counted where the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Progress {
    /// Chunks that came to their end.
    pub done: u64,
    /// Chunks of the job, or of all jobs in flight; 0 where there is none.
    pub chunks: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} chunks", self.done, self.chunks)
    }
}

/// Where a job's value comes from when it is over.
pub(crate) enum Value<T> {
    /// It was made before the job: the array of its slots, or nothing.
    Made(T),
    /// It is read out of the one slot.
    Read(Option<Place>, fn(&Bits, Option<&Place>) -> T),
}

pub(crate) struct Running<T> {
    pub(super) ticket: Ticket,
    pub(super) chunks: u64,
    pub(super) value: Value<T>,
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl<T> Running<T> {
    pub(crate) fn is_over(&self, pool: &Pool) -> bool {
        pool.is_fork() || pool.jobs.is_over(&self.ticket)
    }

    /// Waits for the end, the job's work done here if the pool has nobody else.
    pub(crate) fn wait(&self, pool: &Pool) {
        if !pool.is_fork() {
            pool.drive(&self.ticket);
        }
    }

    pub(crate) fn cancel(&self, pool: &Pool) {
        if !pool.is_fork() {
            pool.cancel_ticket(&self.ticket);
        }
    }

    pub(crate) fn wait_timeout(&self, pool: &Pool, limit: Duration) -> Result<(), JobError> {
        pool.check_alive()?;
        let start = Instant::now();
        if pool.jobs.wait(&self.ticket, Some(limit)) {
            return Ok(());
        }
        Err(JobError::TimedOut { waited: start.elapsed() })
    }

    pub(crate) fn progress(&self, pool: &Pool) -> Progress {
        let chunks = self.chunks;
        if pool.is_fork() {
            return Progress { done: 0, chunks };
        }
        let done =
            if self.ticket.went_well() { chunks } else { pool.jobs.progress_of(&self.ticket) };
        Progress { done: done.min(chunks), chunks }
    }

    /// The value of a job that is over.
    pub(crate) fn take(self, pool: &Pool) -> Result<T, JobError> {
        pool.check_alive()?;
        let bits = pool.jobs.finish(&self.ticket)?;
        Ok(match self.value {
            Value::Made(value) => value,
            Value::Read(place, read) => read(&bits, place.as_ref()),
        })
    }
}
