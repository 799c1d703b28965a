//! The words of a job that somebody follows chunk by chunk.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use std::time::Duration;

use rustix::thread::{Timespec, futex};

use super::jobs::{Jobs, Words, words_of};
use super::ticket::Ticket;
use crate::config::CALLER_SPIN_NS;
use crate::control::Control;
use crate::worker::spin_until;

/// The words of a job that somebody follows chunk by chunk.
///
/// While there is one, workers say at each chunk's end that there is news of this slot.
#[derive(Debug)]
pub(crate) struct Watched {
    control: Control,
    slot: usize,
    chunks: u64,
    segment: Option<Words>,
    looks: u32,
}

impl Watched {
    pub(crate) fn words(&self) -> &[AtomicU64] {
        words_of(&self.control, self.segment.as_ref(), self.slot, self.chunks)
    }

    /// What to give to [`sleep`](Self::sleep): read before the words are looked at.
    pub(crate) fn seen(&self) -> u32 {
        self.control.job(self.slot).news.load(Ordering::SeqCst)
    }

    /// Returns when there is news that `seen` does not know of.
    pub(crate) fn sleep(&self, seen: u32) {
        let line = self.control.job(self.slot);
        if spin_until(CALLER_SPIN_NS, self.looks, || line.news.load(Ordering::SeqCst) != seen) {
            return;
        }
        // Not for ever: a chunk that ended at the very moment when the watch began is not told.
        self.nap(seen, Duration::from_millis(20));
    }

    /// Sleeps until there is news that `seen` does not know of, for so long at most; `false`: the time
    /// was up.
    pub(super) fn nap(&self, seen: u32, limit: Duration) -> bool {
        let line = self.control.job(self.slot);
        line.sleepers.fetch_add(1, Ordering::SeqCst);
        let limit =
            Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let woken = futex::wait(&line.news, futex::Flags::empty(), seen, Some(&limit));
        line.sleepers.fetch_sub(1, Ordering::SeqCst);
        woken != Err(rustix::io::Errno::TIMEDOUT)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.control.job(self.slot).watchers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Jobs {
    /// The words of a job, to follow it chunk by chunk; `None` where it is over and gone.
    pub(crate) fn watch(&self, ticket: &Ticket) -> Option<Watched> {
        let inner = self.lock();
        let job = inner.active[ticket.slot()].as_ref().filter(|a| a.epoch == ticket.epoch())?;
        self.control.job(ticket.slot()).watchers.fetch_add(1, Ordering::SeqCst);
        Some(Watched {
            control: self.control.clone(),
            slot: ticket.slot(),
            chunks: job.desc.head.chunks,
            segment: job.words.clone(),
            looks: self.looks,
        })
    }
}
