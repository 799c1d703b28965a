//! Pools.

use std::ffi::c_char;
use std::sync::Arc;

use super::options::Options;
use super::pointers;
use super::status::{Failure, Status, guarded, value};
use crate::Backend;

/// Workers that run kernels.
#[derive(Debug)]
pub struct Pool {
    /// Jobs under way keep it too.
    pub(super) pool: Arc<crate::Pool>,
}

/// Starts a pool; returns when every worker is bound and ready. `options` may be null: a worker
/// process on each usable physical core.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_new(options: *const Options, out: *mut *mut Pool) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let out = unsafe { pointers::Place::new(out, std::ptr::null_mut(), "out") }?;
        // SAFETY: as above.
        let options = unsafe { options.as_ref() }.cloned().unwrap_or_default();
        let pool = Arc::new(options.builder().build()?);
        out.put(Box::into_raw(Box::new(Pool { pool })));
        Ok(())
    })
}

/// Ends the workers, after the chunks that they are at, and frees the pool; null is fine. Where jobs
/// are under way, the workers end when the last `pp_pending` is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_free(pool: *mut Pool) {
    guarded(|| {
        if !pool.is_null() {
            // SAFETY: made by `pp_pool_new`, freed once: the contract of this module.
            drop(unsafe { Box::from_raw(pool) });
        }
        Ok(())
    });
}

/// The pool behind a handle, which a fork of the process that built it has not.
///
/// # Safety
/// The contract of this module.
pub(super) unsafe fn pool<'a>(pool: *const Pool) -> Result<&'a Arc<crate::Pool>, Failure> {
    // SAFETY: the contract is the caller's.
    let pool = &unsafe { pointers::borrow(pool, "pool") }?.pool;
    pool.check_alive()?;
    Ok(pool)
}

/// How many workers it has; 0 for null, and in a forked process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_workers(pool: *const Pool) -> usize {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::pool(pool) }?.workers())
    })
}

/// Deaths of workers that the pool has recovered from; 0 for null, and in a forked process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_deaths(pool: *const Pool) -> u64 {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::pool(pool) }?.deaths())
    })
}

/// The seed of its random streams; 0 for null, and in a forked process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_seed(pool: *const Pool) -> u64 {
    value(0, || {
        // SAFETY: the contract of this module.
        Ok(unsafe { self::pool(pool) }?.seed())
    })
}

/// What runs its chunks: "processes", "threads" or "serial"; null for null, and in a forked
/// process.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_backend(pool: *const Pool) -> *const c_char {
    value(std::ptr::null(), || {
        // SAFETY: the contract of this module.
        let name = match unsafe { self::pool(pool) }?.backend() {
            Backend::Processes => c"processes",
            Backend::Threads => c"threads",
            Backend::Serial => c"serial",
        };
        Ok(name.as_ptr())
    })
}

/// A worker's process, and the PU on which it ran when it was ready; either may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_worker(
    pool: *const Pool,
    worker: usize,
    pid: *mut u32,
    pu: *mut u32,
) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let pool = unsafe { self::pool(pool) }?;
        let all = pool.whereabouts();
        let found = all.get(worker).ok_or_else(|| {
            let workers = all.len();
            Failure::invalid(format!("there is no worker {worker}; the pool has {workers}, from 0"))
        })?;
        for (to, value) in [(pid, found.pid), (pu, found.pu as u32)] {
            if !to.is_null() {
                // SAFETY: not null, and the contract of this module.
                unsafe { to.write(value) };
            }
        }
        Ok(())
    })
}

/// Stops all jobs in flight: each ends with `PP_CANCELLED` after the chunks in progress. From any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_pool_cancel_all(pool: *const Pool) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        unsafe { self::pool(pool) }?.cancel_all();
        Ok(())
    })
}
