//! What is left of a submitted job for who asks for its end: which it is, and how it ended.
//!
//! A scope may hold a hundred thousand of them, so they are small: a value of two words lies in
//! the ticket's own memory, a larger one in a box.

#![forbid(unsafe_code)]

use std::sync::{Arc, OnceLock};

use crate::config::INLINE_RESULT_BYTES;
use crate::error::JobError;

/// Words of a result that need no memory of their own.
const SMALL: usize = 2;

/// What lies in a job's inline result.
#[derive(Debug, Clone)]
pub(crate) enum Bits {
    Small([u64; SMALL]),
    Large(Box<[u64; INLINE_RESULT_BYTES / 8]>),
}

impl Bits {
    /// So many bytes of zeros at least.
    pub(crate) fn zeroed(bytes: usize) -> Bits {
        if bytes <= SMALL * 8 {
            Bits::Small([0; SMALL])
        } else {
            Bits::Large(Box::new([0; INLINE_RESULT_BYTES / 8]))
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        match self {
            Bits::Small(words) => words,
            Bits::Large(words) => &words[..],
        }
    }

    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        match self {
            Bits::Small(words) => words,
            Bits::Large(words) => &mut words[..],
        }
    }
}

/// How a job ended, once it was taken out of its slot.
pub(crate) type End = Result<Bits, Box<JobError>>;

/// A submitted job.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    slot: usize,
    epoch: u64,
    ended: Arc<OnceLock<End>>,
}

impl Ticket {
    pub(super) fn new(slot: usize, epoch: u64) -> Ticket {
        Ticket { slot, epoch, ended: Arc::default() }
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How the job ended; `None`: it is in its slot still.
    pub(super) fn end(&self) -> Option<&End> {
        self.ended.get()
    }

    pub(super) fn set_end(&self, end: End) {
        let first = self.ended.set(end);
        debug_assert!(first.is_ok(), "a job is taken out of its slot once");
    }

    /// The job was taken out of its slot, and had ended well.
    pub(crate) fn went_well(&self) -> bool {
        matches!(self.end(), Some(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_in_waiting_takes_a_cache_line() {
        assert!(size_of::<OnceLock<End>>() + 16 <= 64);
    }

    #[test]
    fn results_of_every_size_have_room() {
        for bytes in [0, 1, 16, 17, INLINE_RESULT_BYTES] {
            let mut bits = Bits::zeroed(bytes);
            assert!(bits.words().len() * 8 >= bytes);
            bits.words_mut().fill(7);
            assert!(bits.clone().words().iter().all(|&w| w == 7));
        }
    }
}
