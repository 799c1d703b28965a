//! The claim protocol: what one chunk word means, and each of its transitions.
//!
//! A chunk word is the truth about its chunk; counters elsewhere are hints that can be derived
//! from the words again. `control.md` has the protocol as a whole, the crash table and the pairs
//! of orderings; the loom models run exactly these functions. No mapping, no system call here.
//!
//! ```text
//!   63        20 19     12 11      2 1   0
//!  +------------+---------+---------+-----+
//!  |  epoch     | incarn. | worker  |state|
//!  +------------+---------+---------+-----+
//! ```
//!
//! The epoch is the job's number in its pool, rising from 1. A word of an older epoch is free, so
//! memory for words is used again without being cleared; a word of a newer epoch belongs to a
//! later job and is never touched.

#![forbid(unsafe_code)]

use crate::sync::{AtomicU64, Ordering};

const STATE_MASK: u64 = 0b11;
const WORKER_SHIFT: u32 = 2;
const WORKER_MASK: u64 = (1 << 10) - 1;
const INCARNATION_SHIFT: u32 = 12;
const INCARNATION_MASK: u64 = (1 << 8) - 1;
const EPOCH_SHIFT: u32 = 20;

/// Largest epoch that a word can hold: 2^44 jobs, half a year of one job a microsecond.
pub(crate) const MAX_EPOCH: u64 = (1 << 44) - 1;

/// What a chunk word says about its chunk in one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    Free = 0,
    Claimed = 1,
    Done = 2,
    Failed = 3,
}

/// A plain copy of a chunk word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) fn new(state: State, owner: Owner, epoch: u64) -> Word {
        Word(
            state as u64
                | (u64::from(owner.worker) & WORKER_MASK) << WORKER_SHIFT
                | (u64::from(owner.incarnation) & INCARNATION_MASK) << INCARNATION_SHIFT
                | epoch << EPOCH_SHIFT,
        )
    }

    pub(crate) fn state(self) -> State {
        match self.0 & STATE_MASK {
            0 => State::Free,
            1 => State::Claimed,
            2 => State::Done,
            _ => State::Failed,
        }
    }

    pub(crate) fn epoch(self) -> u64 {
        self.0 >> EPOCH_SHIFT
    }

    pub(crate) fn worker(self) -> u32 {
        ((self.0 >> WORKER_SHIFT) & WORKER_MASK) as u32
    }

    /// Whether a worker of job `epoch` may claim the chunk.
    #[inline]
    pub(crate) fn is_free_for(self, epoch: u64) -> bool {
        self.epoch() < epoch || (self.epoch() == epoch && self.state() == State::Free)
    }

    /// Whether the chunk is claimed in job `epoch`, by whomever.
    #[inline]
    pub(crate) fn is_claimed_in(self, epoch: u64) -> bool {
        self.epoch() == epoch && self.state() == State::Claimed
    }

    /// Whether the chunk came to its end in job `epoch`.
    #[inline]
    pub(crate) fn is_over_in(self, epoch: u64) -> bool {
        self.epoch() == epoch && matches!(self.state(), State::Done | State::Failed)
    }
}

/// Who claims: a worker and how often it has been started again (the low 8 bits count).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) worker: u32,
    pub(crate) incarnation: u32,
}

/// W1: takes the chunk if it is free for `epoch`; gives the word that was replaced.
///
/// SeqCst, because a claimer must see a stop or an end of the job that came before its claim
/// (`control.md`, "claim against stop").
#[inline]
pub(crate) fn claim(word: &AtomicU64, owner: Owner, epoch: u64) -> Option<Word> {
    let seen = Word(word.load(Ordering::Relaxed));
    if !seen.is_free_for(epoch) {
        return None;
    }
    let mine = Word::new(State::Claimed, owner, epoch);
    word.compare_exchange(seen.0, mine.0, Ordering::SeqCst, Ordering::Relaxed).ok().map(|_| seen)
}

/// Gives back a claim whose job turned out to be stopped or over, before any data was touched.
///
/// It may fail: a later job that uses the same word may have taken it as free already.
pub(crate) fn give_back(word: &AtomicU64, owner: Owner, epoch: u64, previous: Word) {
    let mine = Word::new(State::Claimed, owner, epoch);
    let _ = word.compare_exchange(mine.0, previous.0, Ordering::SeqCst, Ordering::Relaxed);
}

/// W5: the commit. Only the claimer, while it lives, moves a word away from its claim.
#[inline]
pub(crate) fn publish(word: &AtomicU64, owner: Owner, epoch: u64, state: State) {
    word.store(Word::new(state, owner, epoch).0, Ordering::Release);
}

/// R2, R4: what recovery may do with one word after the death of `owner` was reaped.
pub(crate) fn is_claim_of(word: &AtomicU64, owner: Owner, epoch: u64) -> bool {
    word.load(Ordering::Acquire) == Word::new(State::Claimed, owner, epoch).0
}

/// R4: frees (or fails) the chunk of a dead owner. The exact old word is required, so that a
/// second recovery, or one that is late, changes nothing.
pub(crate) fn reclaim(word: &AtomicU64, owner: Owner, epoch: u64, to: State) -> bool {
    let claimed = Word::new(State::Claimed, owner, epoch);
    let next = Word::new(to, owner, epoch);
    word.compare_exchange(claimed.0, next.0, Ordering::SeqCst, Ordering::Relaxed).is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const ME: Owner = Owner { worker: 1023, incarnation: 255 };
    const YOU: Owner = Owner { worker: 3, incarnation: 0 };

    #[test]
    fn a_word_keeps_its_parts() {
        let w = Word::new(State::Failed, ME, MAX_EPOCH);
        assert_eq!((w.state(), w.worker(), w.epoch()), (State::Failed, 1023, MAX_EPOCH));
    }

    #[test]
    fn only_one_claim_succeeds() {
        let word = AtomicU64::new(0);
        assert!(claim(&word, ME, 7).is_some());
        assert!(claim(&word, YOU, 7).is_none());
        publish(&word, ME, 7, State::Done);
        assert!(claim(&word, YOU, 7).is_none());
    }

    #[test]
    fn a_word_of_an_older_job_is_free_and_one_of_a_newer_job_is_not() {
        let word = AtomicU64::new(Word::new(State::Done, YOU, 6).0);
        assert!(claim(&word, ME, 7).is_some());
        publish(&word, ME, 7, State::Free);
        assert!(claim(&word, YOU, 6).is_none());
    }

    #[test]
    fn a_late_claim_is_given_back_exactly() {
        let before = Word::new(State::Free, YOU, 5);
        let word = AtomicU64::new(before.0);
        let previous = claim(&word, ME, 6).expect("free");
        give_back(&word, ME, 6, previous);
        assert_eq!(word.load(Ordering::Relaxed), before.0);
    }

    #[test]
    fn recovery_frees_the_dead_owners_claim_and_nothing_else() {
        let word = AtomicU64::new(0);
        claim(&word, YOU, 9).expect("free");
        assert!(!reclaim(&word, ME, 9, State::Free));
        assert!(reclaim(&word, YOU, 9, State::Free));
        assert!(!reclaim(&word, YOU, 9, State::Free));
        let reborn = Owner { incarnation: YOU.incarnation + 1, ..YOU };
        claim(&word, reborn, 9).expect("free");
        assert!(!reclaim(&word, YOU, 9, State::Free));
    }
}
