//! Sleeping, waking, completing, scanning again: nobody sleeps for ever, and no freed chunk is
//! overlooked. A lost wake-up is a deadlock, which loom reports.

use loom::sync::Arc;
use loom::sync::atomic::fence;
use loom::thread;

use crate::Futex;
use crate::sync::{AtomicU64, Ordering};

const BUSY: u64 = 0;
const SLEEPING: u64 = 1;

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    No,
    /// The sleeper looks for news, then says that it sleeps, and does not look again.
    LookThenSay,
    /// The announcer wakes first and counts after.
    WakeThenCount,
    /// Accesses of the handshake are Acquire and Release only.
    NoSeqCst,
    /// `rescan` is read after the scan.
    RescanLate,
    /// `rescan` rises before the chunk is free.
    RescanEarly,
    /// No fence between the own tally and the look at the others'.
    NoFence,
}

struct Dispatch {
    work_seq: AtomicU64,
    bits: AtomicU64,
    park: AtomicU64,
    futex: Futex,
}

fn announce(d: &Dispatch, wrong: Wrong) {
    let order = if wrong == Wrong::NoSeqCst { Ordering::AcqRel } else { Ordering::SeqCst };
    let look = if wrong == Wrong::NoSeqCst { Ordering::Acquire } else { Ordering::SeqCst };
    if wrong != Wrong::WakeThenCount {
        d.work_seq.fetch_add(1, order);
    }
    if d.bits.load(look) != 0
        && d.bits.fetch_and(0, order) != 0
        && d.park.swap(BUSY, order) == SLEEPING
    {
        d.futex.wake();
    }
    if wrong == Wrong::WakeThenCount {
        d.work_seq.fetch_add(1, order);
    }
}

fn idle(d: &Dispatch, seen: u64, wrong: Wrong) {
    let order = if wrong == Wrong::NoSeqCst { Ordering::AcqRel } else { Ordering::SeqCst };
    let look = if wrong == Wrong::NoSeqCst { Ordering::Acquire } else { Ordering::SeqCst };
    let news = || d.work_seq.load(look) != seen;
    if news() {
        return;
    }
    d.park.store(SLEEPING, if wrong == Wrong::NoSeqCst { Ordering::Release } else { order });
    d.bits.fetch_or(1, order);
    while (wrong == Wrong::LookThenSay || !news()) && d.park.load(look) == SLEEPING {
        d.futex.wait(&d.park, SLEEPING);
    }
    d.bits.fetch_and(0, order);
    d.park.store(BUSY, Ordering::Release);
}

/// One worker idles, two callers announce: it ends up having seen both.
fn sleep_and_wake(wrong: Wrong) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        // Leaked: where loom reports a deadlock, dropping its own `Arc` would panic again.
        let d: &'static Dispatch = Box::leak(Box::new(Dispatch {
            work_seq: AtomicU64::new(0),
            bits: AtomicU64::new(0),
            park: AtomicU64::new(BUSY),
            futex: Futex::new(),
        }));
        let worker = thread::spawn(move || {
            loop {
                let seen = d.work_seq.load(Ordering::SeqCst);
                if seen == 2 {
                    return;
                }
                idle(d, seen, wrong);
            }
        });
        let caller = thread::spawn(move || announce(d, wrong));
        announce(d, wrong);
        caller.join().unwrap();
        worker.join().unwrap();
    });
}

/// A caller waits for the end of a job; a worker says it.
fn complete_and_wait(wrong: Wrong) {
    loom::model(move || {
        let c = Arc::new((AtomicU64::new(0), AtomicU64::new(0), Futex::new()));
        let worker = {
            let c = Arc::clone(&c);
            thread::spawn(move || {
                let (epoch, waiters, futex) = &*c;
                if wrong == Wrong::WakeThenCount {
                    let waits = waiters.load(Ordering::SeqCst) != 0;
                    epoch.fetch_max(1, Ordering::SeqCst);
                    if waits {
                        futex.wake();
                    }
                    return;
                }
                epoch.fetch_max(1, Ordering::SeqCst);
                if waiters.load(Ordering::SeqCst) != 0 {
                    futex.wake();
                }
            })
        };
        let (epoch, waiters, futex) = &*c;
        waiters.fetch_add(1, Ordering::SeqCst);
        while epoch.load(Ordering::SeqCst) < 1 {
            futex.wait(epoch, 0);
        }
        worker.join().unwrap();
    });
}

/// Recovery frees a chunk while a worker scans: the worker takes it, now or after the news.
fn scan_again(wrong: Wrong) {
    loom::model(move || {
        let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let supervisor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (free, rescan) = &*shared;
                if wrong == Wrong::RescanEarly {
                    rescan.fetch_add(1, Ordering::SeqCst);
                    free.store(1, Ordering::SeqCst);
                } else {
                    free.store(1, Ordering::SeqCst);
                    rescan.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let (free, rescan) = &*shared;
        let early = rescan.load(Ordering::SeqCst);
        let mut taken = free.load(Ordering::Relaxed) == 1;
        let noted = if wrong == Wrong::RescanLate { rescan.load(Ordering::SeqCst) } else { early };
        // The announcement wakes it.
        supervisor.join().unwrap();
        if !taken && rescan.load(Ordering::SeqCst) != noted {
            taken = free.load(Ordering::Relaxed) == 1;
        }
        assert!(taken, "the freed chunk is overlooked");
    });
}

/// Two workers finish the last two chunks: at least one sees that the job is over.
fn last_ones(wrong: Wrong) {
    loom::model(move || {
        let tallies = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let finish = move |own: &AtomicU64, other: &AtomicU64| {
            own.store(1, Ordering::Release);
            if wrong != Wrong::NoFence {
                fence(Ordering::SeqCst);
            }
            own.load(Ordering::Acquire) + other.load(Ordering::Acquire) == 2
        };
        let second = {
            let tallies = Arc::clone(&tallies);
            thread::spawn(move || finish(&tallies.1, &tallies.0))
        };
        let first = finish(&tallies.0, &tallies.1);
        let second = second.join().unwrap();
        assert!(first || second, "nobody ends the job");
    });
}

#[test]
fn no_wake_up_is_lost() {
    sleep_and_wake(Wrong::No);
}

#[test]
#[should_panic]
fn sleeping_without_a_second_look_is_convicted() {
    sleep_and_wake(Wrong::LookThenSay);
}

#[test]
#[should_panic]
fn waking_before_counting_is_convicted() {
    sleep_and_wake(Wrong::WakeThenCount);
}

#[test]
#[should_panic]
fn the_handshake_without_seqcst_is_convicted() {
    sleep_and_wake(Wrong::NoSeqCst);
}

#[test]
fn no_waiter_is_left() {
    complete_and_wait(Wrong::No);
}

#[test]
#[should_panic]
fn completing_after_the_look_for_waiters_is_convicted() {
    complete_and_wait(Wrong::WakeThenCount);
}

#[test]
fn a_chunk_freed_during_a_scan_is_found() {
    scan_again(Wrong::No);
}

#[test]
#[should_panic]
fn reading_rescan_after_the_scan_is_convicted() {
    scan_again(Wrong::RescanLate);
}

#[test]
#[should_panic]
fn raising_rescan_before_freeing_is_convicted() {
    scan_again(Wrong::RescanEarly);
}

#[test]
fn one_of_the_last_two_ends_the_job() {
    last_ones(Wrong::No);
}

#[test]
#[should_panic]
fn looking_at_the_others_without_a_fence_is_convicted() {
    last_ones(Wrong::NoFence);
}
