//! What is left of a submitted job for who asks for its end: which it is, and how it ended.
//!
//! A scope may hold a hundred thousand of them, so they are small: a value of two words lies in
//! the ticket's own memory, a larger one beside it, and those of a batch of calls together.

use std::ptr;
use std::sync::{Arc, OnceLock};

use super::calls::Batch;
use crate::config::INLINE_RESULT_BYTES;
use crate::error::JobError;

/// Words of a result that need no memory of their own.
const SMALL: usize = 2;

/// What lies in a job's inline result.
#[derive(Debug, Clone)]
pub(crate) enum Bits {
    Small([u64; SMALL]),
    Large(Arc<[u64; INLINE_RESULT_BYTES / 8]>),
}

impl Bits {
    /// Copies a result of so many bytes.
    ///
    /// # Safety
    /// `from` is aligned to 8 bytes, has room for so many bytes and for two words at least, and
    /// nobody writes there. No more than `INLINE_RESULT_BYTES` are copied.
    pub(super) unsafe fn read(from: *const u8, bytes: usize) -> Bits {
        if bytes <= SMALL * 8 {
            // SAFETY: the contract is the caller's. A copy of fixed length needs no call.
            return Bits::Small(unsafe { from.cast::<[u64; SMALL]>().read() });
        }
        let mut words = [0; INLINE_RESULT_BYTES / 8];
        let to = words.as_mut_ptr().cast();
        // SAFETY: the contract is the caller's, and `words` has room for so many.
        unsafe { ptr::copy_nonoverlapping(from, to, bytes.min(INLINE_RESULT_BYTES)) };
        Bits::Large(Arc::new(words))
    }

    /// A result that is these words and zeros.
    pub(super) fn of(from: &[u64]) -> Bits {
        if from.len() <= SMALL {
            let mut words = [0; SMALL];
            words[..from.len()].copy_from_slice(from);
            return Bits::Small(words);
        }
        let mut words = [0; INLINE_RESULT_BYTES / 8];
        words[..from.len()].copy_from_slice(from);
        Bits::Large(Arc::new(words))
    }

    pub(crate) fn words(&self) -> &[u64] {
        match self {
            Bits::Small(words) => words,
            Bits::Large(words) => &words[..],
        }
    }
}

/// How a job ended, once it was taken out of its slot.
pub(crate) type End = Result<Bits, Box<JobError>>;

/// A submitted job, or a call of a submitted batch.
#[derive(Debug, Clone)]
pub(crate) struct Ticket(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Job(Arc<Submitted>),
    Call(Arc<Batch>, u32),
}

#[derive(Debug)]
struct Submitted {
    slot: usize,
    epoch: u64,
    ended: OnceLock<End>,
}

impl Ticket {
    pub(super) fn new(slot: usize, epoch: u64) -> Ticket {
        Ticket(Kind::Job(Arc::new(Submitted { slot, epoch, ended: OnceLock::new() })))
    }

    pub(super) fn of_call(batch: Arc<Batch>, call: usize) -> Ticket {
        Ticket(Kind::Call(batch, call as u32))
    }

    /// The slot of the job, or of the batch.
    pub(crate) fn slot(&self) -> usize {
        match &self.0 {
            Kind::Job(job) => job.slot,
            Kind::Call(batch, _) => batch.slot(),
        }
    }

    pub(crate) fn epoch(&self) -> u64 {
        match &self.0 {
            Kind::Job(job) => job.epoch,
            Kind::Call(batch, _) => batch.epoch(),
        }
    }

    /// The batch, and which of its calls this is.
    pub(super) fn call(&self) -> Option<(&Arc<Batch>, usize)> {
        match &self.0 {
            Kind::Job(_) => None,
            Kind::Call(batch, call) => Some((batch, *call as usize)),
        }
    }

    /// What is known of its end without a look at memory that workers write; `None`: it is in its
    /// slot still.
    pub(super) fn end(&self) -> Option<Result<Bits, &JobError>> {
        match &self.0 {
            Kind::Job(job) => Some(match job.ended.get()? {
                Ok(bits) => Ok(bits.clone()),
                Err(error) => Err(error),
            }),
            Kind::Call(batch, call) => batch.end(*call as usize),
        }
    }

    pub(super) fn was_taken_out(&self) -> bool {
        match &self.0 {
            Kind::Job(job) => job.ended.get().is_some(),
            Kind::Call(batch, _) => batch.is_ended(),
        }
    }

    /// Of a job, not of a call.
    pub(super) fn set_end(&self, end: End) {
        let Kind::Job(job) = &self.0 else { unreachable!("a batch has the ends of calls") };
        let first = job.ended.set(end);
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
        assert!(size_of::<Submitted>() + 16 <= 64);
        assert!(size_of::<Ticket>() == 16);
    }

    #[test]
    fn results_of_every_size_are_copied_whole() {
        let from: Vec<u64> = (1..=INLINE_RESULT_BYTES as u64 / 8).collect();
        for bytes in [0, 1, 16, 17, 112, 113, INLINE_RESULT_BYTES] {
            // SAFETY: the vector is longer than that.
            let bits = unsafe { Bits::read(from.as_ptr().cast(), bytes) };
            let words = bits.clone();
            let copied: &[u8] = bytemuck::cast_slice(words.words());
            assert_eq!(&copied[..bytes], &bytemuck::cast_slice::<u64, u8>(&from)[..bytes]);
        }
    }
}
