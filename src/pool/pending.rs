//! The handle of a job that runs beside the caller: wait, look, cancel, take the result.

#![forbid(unsafe_code)]

use std::time::Duration;

use bytemuck::Pod;
use ndarray::Ix1;

use super::Pool;
use super::running::{Progress, Running};
use super::stream::{Completed, InOrder};
use crate::array::SharedArray;
use crate::error::{JobError, Result};

/// A job that was started in a [scope](Pool::scope) and may still run.
///
/// Dropping it does not stop the job: the scope waits for it at its end. In an `async` block it
/// may be awaited (its [`IntoFuture`]).
#[derive(Debug)]
#[must_use = "the scope waits for the job anyway, but only this gives its result"]
pub struct Pending<'scope, T> {
    pool: &'scope Pool,
    running: Running<T>,
}

impl<'scope, T> Pending<'scope, T> {
    #[inline]
    pub(super) fn new(pool: &'scope Pool, running: Running<T>) -> Self {
        Pending { pool, running }
    }

    pub(super) fn into_parts(self) -> (&'scope Pool, Running<T>) {
        (self.pool, self.running)
    }

    /// Waits until the job is over, whether well or badly.
    pub fn wait(&self) {
        self.running.wait(self.pool);
    }

    /// Waits until the job is over, for so long at most.
    ///
    /// # Errors
    /// [`JobError::TimedOut`] where the time is up first; the job goes on, and one may wait again.
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), JobError> {
        self.running.wait_timeout(self.pool, limit)
    }

    /// Whether the job is over.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.running.is_over(self.pool)
    }

    /// How many of its chunks are done. After a bad end: as far as is still known.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.running.progress(self.pool)
    }

    /// Stops the job: no more chunks begin, and [`get`](Self::get) gives [`JobError::Cancelled`]
    /// unless it was over already. Returns at once.
    ///
    /// Chunks in progress may come to their end. With worker processes they have the pool's
    /// [grace time](crate::PoolBuilder::cancel_grace) for that; then their workers are killed, the
    /// chunks are put back as they were, and new workers started. A thread cannot be killed: the
    /// backends `threads` and `serial` wait for the chunks in progress however long they take.
    pub fn cancel(&self) {
        self.running.cancel(self.pool);
    }

    /// Waits for the job and gives its result.
    ///
    /// # Errors
    /// [`JobError`]: the kernel failed, its workers died, or it was cancelled.
    pub fn get(self) -> Result<T> {
        self.running.wait(self.pool);
        Ok(self.running.take(self.pool)?)
    }
}

impl<'scope, R: Pod> Pending<'scope, SharedArray<R, Ix1>> {
    /// Chunk numbers and results as the chunks are finished, in that order: `imap_unordered`.
    ///
    /// The caller sleeps where nothing is ready. After a bad end the last item is the error;
    /// results that were not taken by then are not given any more.
    pub fn as_completed(self) -> Completed<'scope, R> {
        Completed::new(self.pool, self.running)
    }

    /// Results in the order of the chunks, each as soon as it and all before it are there:
    /// `imap`.
    ///
    /// The caller sleeps where the next is not ready. After a bad end the last item is the error.
    pub fn in_order(self) -> InOrder<'scope, R> {
        InOrder::new(self.pool, self.running)
    }
}
