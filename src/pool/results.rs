//! Memory for result slots, used again: a map that is called in a loop makes no system call for it.

use std::ptr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{RESULTS_KEPT, RESULTS_KEPT_BYTES};
use crate::segment::{CreateError, Segment};

/// Segments of results that the caller has let go of, and some that he still has.
#[derive(Debug, Default)]
pub(crate) struct Results {
    kept: Mutex<Vec<Arc<Segment>>>,
}

impl Results {
    /// A zeroed segment of at least `bytes`.
    pub(crate) fn take(&self, bytes: usize) -> Result<Arc<Segment>, CreateError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Alone here: neither a caller's array nor a job nor a worker of this process has it.
        // Worker processes may still map it, but write to no slot of a job that is over.
        let fits = |s: &Arc<Segment>| {
            Arc::strong_count(s) == 1 && s.len() >= bytes && s.len() / 4 <= bytes
        };
        if let Some(segment) = kept.iter().find(|s| fits(s)) {
            // With the release of the last other owner, whose count was seen.
            fence(Ordering::Acquire);
            // SAFETY: the range is the whole mapping, which is writable, and nobody else has it:
            // see above.
            unsafe { ptr::write_bytes(segment.base(), 0, bytes) };
            return Ok(Arc::clone(segment));
        }
        let segment = Segment::nameless("results", bytes)?;
        if bytes <= RESULTS_KEPT_BYTES {
            let others = |kept: &[Arc<Segment>]| kept.iter().map(|s| s.len()).sum::<usize>();
            while kept.len() == RESULTS_KEPT || others(&kept) + bytes > RESULTS_KEPT_BYTES {
                kept.remove(0);
            }
            kept.push(Arc::clone(&segment));
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_only_when_nobody_has_it_and_then_it_is_zero() {
        let results = Results::default();
        let a = results.take(8192).unwrap();
        let b = results.take(8192).unwrap();
        assert_ne!(a.id(), b.id());
        let (id, base) = (a.id(), a.base());
        // SAFETY: inside the mapping, which nobody else uses.
        unsafe { base.write(7) };
        drop(a);
        let c = results.take(8000).unwrap();
        assert_eq!(c.id(), id);
        // SAFETY: as above.
        assert_eq!(unsafe { base.read() }, 0);
        assert_ne!(results.take(8 << 20).unwrap().id(), id);
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        let results = Results::default();
        for _ in 0..3 * RESULTS_KEPT {
            drop(results.take(4096).unwrap());
        }
        assert_eq!(results.kept.lock().unwrap().len(), 1);
        let held: Vec<_> = (0..3 * RESULTS_KEPT).map(|_| results.take(4096).unwrap()).collect();
        assert_eq!(results.kept.lock().unwrap().len(), RESULTS_KEPT);
        drop(held);
    }
}
