//! Jobs under way.

use std::sync::Arc;
use std::time::Duration;

use super::array::{self, Array};
use super::pointers;
use super::status::{Failure, Status, guarded, value};
use crate::JobError;
use crate::array::AnyArray;
use crate::pool::{Progress, Running};

/// A job that was started and may still run.
#[derive(Debug)]
pub struct Pending {
    pool: Arc<crate::Pool>,
    /// `None`: its end was asked for.
    running: Option<Running<Option<AnyArray>>>,
}

impl Pending {
    pub(super) fn new(pool: Arc<crate::Pool>, running: Running<Option<AnyArray>>) -> Pending {
        Pending { pool, running: Some(running) }
    }

    /// Waits for its end, for so long at most; says whether it is over.
    pub(super) fn wait(&self, limit: Option<Duration>) -> bool {
        let Some(running) = &self.running else { return true };
        match limit {
            Some(limit) => running.wait_timeout(&self.pool, limit).is_ok(),
            None => {
                running.wait(&self.pool);
                true
            }
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.running.as_ref().map(|running| running.progress(&self.pool)).unwrap_or_default()
    }

    pub(super) fn take(&mut self) -> Result<Option<AnyArray>, Failure> {
        self.pool.check_alive()?;
        let running = self.running.take().ok_or_else(|| {
            Failure::invalid("the result of this job was taken already; it is given once")
        })?;
        running.wait(&self.pool);
        Ok(running.take(&self.pool)?)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // In a fork of the host there is neither pool nor job: what this says of one is ignored.
        if let Some(running) = self.running.take() {
            if !running.is_over(&self.pool) {
                running.cancel(&self.pool);
                running.wait(&self.pool);
            }
            let _ = running.take(&self.pool);
        }
    }
}

/// The job behind a handle, which a fork of the process that started it has not.
///
/// # Safety
/// The contract of this module.
unsafe fn pending<'a>(pending: *const Pending) -> Result<&'a Pending, Failure> {
    // SAFETY: the contract is the caller's.
    let pending = unsafe { pointers::borrow(pending, "pending") }?;
    pending.pool.check_alive()?;
    Ok(pending)
}

/// Waits for a job: `PP_OK` when it is over, whether well or badly, `PP_TIMED_OUT` where so many
/// seconds pass before; it goes on then, and one may wait again. Negative: no limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_wait(pending: *const Pending, seconds: f64) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let pending = unsafe { self::pending(pending) }?;
        let limit = if seconds < 0.0 {
            None
        } else {
            Some(Duration::try_from_secs_f64(seconds).map_err(|_| {
                Failure::invalid(format!("`seconds` is {seconds}; give a number, or -1"))
            })?)
        };
        if pending.wait(limit) {
            return Ok(());
        }
        Err(JobError::TimedOut { waited: limit.unwrap_or_default() }.into())
    })
}

/// Whether a job is over; true for null, and in a forked process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_is_over(pending: *const Pending) -> bool {
    value(true, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::pending(pending) }?.wait(Some(Duration::ZERO)))
    })
}

/// How many of its chunks are done, and how many there are; either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_progress(
    pending: *const Pending,
    done: *mut u64,
    chunks: *mut u64,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let progress = unsafe { self::pending(pending) }?.progress();
        for (to, value) in [(done, progress.done), (chunks, progress.chunks)] {
            if !to.is_null() {
                // SAFETY: not null, and the contract of this module.
                unsafe { to.write(value) };
            }
        }
        Ok(())
    })
}

/// Stops a job: no more chunks begin, and its result is `PP_CANCELLED` unless it was over already.
/// Returns at once. From any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_cancel(pending: *const Pending) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let pending = unsafe { self::pending(pending) }?;
        if let Some(running) = &pending.running {
            running.cancel(&pending.pool);
        }
        Ok(())
    })
}

/// Waits for a job and gives its results, once. `results` is set to null by a job that has none, and
/// may be null for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_result(
    pending: *mut Pending,
    results: *mut *mut Array,
) -> Status {
    guarded(|| {
        let place = if results.is_null() {
            None
        } else {
            // SAFETY: the contract of this module.
            Some(unsafe { pointers::Place::new(results, std::ptr::null_mut(), "results") }?)
        };
        // SAFETY: as above.
        let slots = unsafe { pointers::borrow_mut(pending, "pending") }?.take()?;
        if let (Some(place), Some(slots)) = (place, slots) {
            place.put(array::give(slots));
        }
        Ok(())
    })
}

/// Frees a job; null is fine. One that is not over is cancelled and waited for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pending_free(pending: *mut Pending) {
    guarded(|| {
        if !pending.is_null() {
            // SAFETY: made by `pp_start` or its like, freed once: the contract of this module.
            drop(unsafe { Box::from_raw(pending) });
        }
        Ok(())
    });
}
