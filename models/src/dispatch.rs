//! Submitting: the mask of live slots, and the tallies of a slot that the next job uses again.

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::sync::{AtomicU64, Ordering};

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    No,
    /// The mask is stored after the announcement.
    MaskAfterCount,
    /// The mask is read from where it was stored to, and no lock is held.
    MaskUnlocked,
    /// The tally's epoch comes before its count.
    EpochFirst,
    /// The tally's epoch is Relaxed.
    EpochRelaxed,
    /// The reader does not look at the epoch again after the count.
    LookOnce,
}

/// Two callers submit a job each; a worker that knows of a job's announcement sees its bit.
fn submit_two(wrong: Wrong) {
    loom::model(move || {
        let shared = Arc::new((Mutex::new(0u64), AtomicU64::new(0), AtomicU64::new(0)));
        let submit = move |(lock, mask, work_seq): &(Mutex<u64>, AtomicU64, AtomicU64), bit| {
            if wrong == Wrong::MaskUnlocked {
                let seen = mask.load(Ordering::SeqCst);
                mask.store(seen | bit, Ordering::Release);
            } else {
                // `pool/jobs.rs` announces with the lock given up again.
                let mut live = lock.lock().unwrap();
                *live |= bit;
                if wrong != Wrong::MaskAfterCount {
                    mask.store(*live, Ordering::Release);
                }
            }
            work_seq.fetch_add(1, Ordering::SeqCst);
            if wrong == Wrong::MaskAfterCount {
                mask.store(*lock.lock().unwrap(), Ordering::Release);
            }
        };
        let callers = [1, 2].map(|bit| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || submit(&shared, bit))
        });
        let (_, mask, work_seq) = &*shared;
        // As a worker does before it sleeps on this number.
        let known = work_seq.load(Ordering::SeqCst);
        let live = mask.load(Ordering::SeqCst);
        assert!(live.count_ones() as u64 >= known, "{known} announced, {live:b} seen");
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

const EPOCH: u64 = 6;
const OLD: u64 = 3;

/// A worker opens its tally for the slot's next job and counts a chunk, while others ask for the
/// count of the old job and of the new one: each gets its own, or none.
fn open_a_tally(wrong: Wrong) {
    loom::model(move || {
        let tally = Arc::new((AtomicU64::new(EPOCH), AtomicU64::new(OLD)));
        let worker = {
            let tally = Arc::clone(&tally);
            thread::spawn(move || {
                let (epoch, over) = &*tally;
                match wrong {
                    Wrong::EpochFirst => {
                        epoch.store(EPOCH + 1, Ordering::Release);
                        over.store(0, Ordering::Relaxed);
                    }
                    Wrong::EpochRelaxed => {
                        over.store(0, Ordering::Relaxed);
                        epoch.store(EPOCH + 1, Ordering::Relaxed);
                    }
                    _ => {
                        over.store(0, Ordering::Relaxed);
                        epoch.store(EPOCH + 1, Ordering::Release);
                    }
                }
                over.store(1, Ordering::Release);
            })
        };
        let count = |of: u64| {
            let (epoch, over) = &*tally;
            let before = epoch.load(Ordering::Acquire);
            let count = over.load(Ordering::SeqCst);
            let after =
                if wrong == Wrong::LookOnce { before } else { epoch.load(Ordering::Acquire) };
            (before == of && after == of).then_some(count)
        };
        // A job's end may be seen late, so 0 for the old one is no harm; another's count is.
        let (old, new) = (count(EPOCH), count(EPOCH + 1));
        assert!(old.is_none_or(|n| n == OLD || n == 0), "the new job's count for the old one");
        assert!(new.is_none_or(|n| n <= 1), "the old job's count for the new one");
        worker.join().unwrap();
    });
}

#[test]
fn who_knows_of_a_job_sees_its_bit() {
    submit_two(Wrong::No);
}

#[test]
#[should_panic]
fn announcing_before_the_mask_is_convicted() {
    submit_two(Wrong::MaskAfterCount);
}

#[test]
#[should_panic]
fn a_mask_without_the_lock_is_convicted() {
    submit_two(Wrong::MaskUnlocked);
}

#[test]
fn a_count_is_of_the_job_that_it_is_asked_for() {
    open_a_tally(Wrong::No);
}

#[test]
#[should_panic]
fn opening_a_tally_epoch_first_is_convicted() {
    open_a_tally(Wrong::EpochFirst);
}

#[test]
#[should_panic]
fn a_relaxed_tally_epoch_is_convicted() {
    open_a_tally(Wrong::EpochRelaxed);
}

#[test]
#[should_panic]
fn a_count_without_a_second_look_is_convicted() {
    open_a_tally(Wrong::LookOnce);
}
