//! Batches of calls: a call that is added while workers go to rest is taken, a batch that is closed
//! ends, and a call that is cancelled does not run any more.

use loom::sync::Arc;
use loom::sync::atomic::fence;
use loom::thread;

use crate::protocol::{self, Owner, State, Word};
use crate::sync::{AtomicU64, Ordering};

const EPOCH: u64 = 6;
const ME: Owner = Owner { worker: 3, incarnation: 1 };

#[derive(Clone, Copy, PartialEq)]
enum Wrong {
    No,
    /// The worker looks for a call, and then says that it is idle.
    LookThenSay,
    /// The parent looks for idle workers, and then adds the call.
    LookThenAdd,
    /// Accesses of the handshake are Acquire and Release only.
    NoSeqCst,
    /// No fence between the worker's tally and its look at the total.
    NoFence,
    /// The parent looks at the tally, and then closes the batch.
    LookThenClose,
    /// The worker looks whether the call was cancelled, and then claims it.
    LookThenClaim,
    /// Who cancels looks whether the call is claimed, and then marks it.
    LookThenMark,
}

/// A call is added while its worker finds nothing and goes to rest: the worker sees it, or sleeps
/// on a number that is not the newest.
fn add_and_rest(wrong: Wrong) {
    loom::model(move || {
        let (seq, load, store) = match wrong {
            Wrong::NoSeqCst => (Ordering::AcqRel, Ordering::Acquire, Ordering::Release),
            _ => (Ordering::SeqCst, Ordering::SeqCst, Ordering::SeqCst),
        };
        // The record's mark, the idle bits, the number.
        let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)));
        let parent = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (ready, idle, work_seq) = &*shared;
                let early = wrong == Wrong::LookThenAdd && idle.load(load) != 0;
                ready.store(EPOCH << 1, store);
                if early || wrong != Wrong::LookThenAdd && idle.load(load) != 0 {
                    work_seq.fetch_add(1, seq);
                }
            })
        };
        let (ready, idle, work_seq) = &*shared;
        let known = work_seq.load(load);
        let early = wrong == Wrong::LookThenSay && ready.load(load) >> 1 == EPOCH;
        idle.fetch_or(1, seq);
        let found = early || wrong != Wrong::LookThenSay && ready.load(load) >> 1 == EPOCH;
        parent.join().unwrap();
        assert!(found || work_seq.load(load) != known, "it sleeps beside a call");
    });
}

/// A batch is closed while a worker ends its last call: one of the two ends the batch.
fn close_and_end(wrong: Wrong) {
    const OPEN: u64 = u64::MAX;
    loom::model(move || {
        // Calls over, the total, and whether somebody said that the batch is over.
        let shared = Arc::new((AtomicU64::new(0), AtomicU64::new(OPEN), AtomicU64::new(0)));
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (over, total, complete) = &*shared;
                over.store(1, Ordering::Release);
                if wrong == Wrong::NoFence {
                    if total.load(Ordering::Acquire) == 1 {
                        complete.fetch_max(EPOCH, Ordering::SeqCst);
                    }
                    return;
                }
                fence(Ordering::SeqCst);
                if total.load(Ordering::SeqCst) == 1 {
                    complete.fetch_max(EPOCH, Ordering::SeqCst);
                }
            })
        };
        let (over, total, complete) = &*shared;
        let early = wrong == Wrong::LookThenClose && over.load(Ordering::SeqCst) == 1;
        total.store(1, if wrong == Wrong::NoFence { Ordering::Release } else { Ordering::SeqCst });
        let look = if wrong == Wrong::NoFence { Ordering::Acquire } else { Ordering::SeqCst };
        if early || wrong != Wrong::LookThenClose && over.load(look) == 1 {
            complete.fetch_max(EPOCH, Ordering::SeqCst);
        }
        worker.join().unwrap();
        assert_eq!(complete.load(Ordering::SeqCst), EPOCH, "nobody ends the batch");
    });
}

/// A call is cancelled while a worker takes it: it runs, or its caller is told at once that it is
/// over, and never both.
fn cancel_and_claim(wrong: Wrong) {
    loom::model(move || {
        let shared = Arc::new((AtomicU64::new(EPOCH << 1), AtomicU64::new(0)));
        let is_marked = |ready: &AtomicU64| ready.load(Ordering::SeqCst) == EPOCH << 1 | 1;
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (ready, word) = &*shared;
                let early = wrong == Wrong::LookThenClaim && is_marked(ready);
                protocol::claim(word, ME, EPOCH).expect("nobody else takes it");
                let marked = early || wrong != Wrong::LookThenClaim && is_marked(ready);
                // While it runs the word is claimed: who looks then is told to wait.
                let to = if marked { State::Failed } else { State::Done };
                protocol::publish(word, ME, EPOCH, to);
                !marked
            })
        };
        let (ready, word) = &*shared;
        let look = || Word(word.load(Ordering::SeqCst));
        let early = (wrong == Wrong::LookThenMark).then(look);
        ready.store(EPOCH << 1 | 1, Ordering::SeqCst);
        let seen = early.unwrap_or_else(look);
        let told_that_it_is_over = is_marked(ready)
            && !seen.is_claimed_in(EPOCH)
            && !(seen.is_over_in(EPOCH) && seen.state() == State::Done);
        let ran = worker.join().unwrap();
        assert!(!(ran && told_that_it_is_over), "a call that was over ran");
    });
}

#[test]
fn a_call_added_while_its_worker_goes_to_rest_is_taken() {
    add_and_rest(Wrong::No);
}

#[test]
#[should_panic(expected = "it sleeps beside a call")]
fn looking_before_the_idle_bit_is_convicted() {
    add_and_rest(Wrong::LookThenSay);
}

#[test]
#[should_panic(expected = "it sleeps beside a call")]
fn looking_for_idle_workers_before_the_call_is_there_is_convicted() {
    add_and_rest(Wrong::LookThenAdd);
}

#[test]
#[should_panic(expected = "it sleeps beside a call")]
fn a_call_added_without_seqcst_is_convicted() {
    add_and_rest(Wrong::NoSeqCst);
}

#[test]
fn a_batch_that_is_closed_is_ended_by_somebody() {
    close_and_end(Wrong::No);
}

#[test]
#[should_panic(expected = "nobody ends the batch")]
fn ending_without_a_fence_is_convicted() {
    close_and_end(Wrong::NoFence);
}

#[test]
#[should_panic(expected = "nobody ends the batch")]
fn looking_at_the_tally_before_closing_is_convicted() {
    close_and_end(Wrong::LookThenClose);
}

#[test]
fn a_cancelled_call_runs_or_is_over_and_never_both() {
    cancel_and_claim(Wrong::No);
}

#[test]
#[should_panic(expected = "a call that was over ran")]
fn looking_for_the_mark_before_the_claim_is_convicted() {
    cancel_and_claim(Wrong::LookThenClaim);
}

#[test]
#[should_panic(expected = "a call that was over ran")]
fn looking_at_the_word_before_the_mark_is_convicted() {
    cancel_and_claim(Wrong::LookThenMark);
}
