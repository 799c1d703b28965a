//! A worker's way through a job's chunks: its own share upward, then the others' from their ends,
//! then everything once more.
//!
//! Head and tail in a [`Tally`] are hints that spare others the look at words which are taken;
//! the last look, over all words, trusts none of them. So a wrong hint costs time and no chunk.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chunk::share;
use crate::control::Control;
use crate::layout::Tally;
use crate::protocol::Word;

#[derive(Debug, Default)]
pub(crate) struct Cursor {
    chunks: u64,
    worker: usize,
    workers: usize,
    stage: Stage,
    /// Chunks brought to an end, by this worker, its earlier incarnations included.
    over: u64,
}

#[derive(Debug)]
enum Stage {
    /// The worker's own share, from this chunk up.
    Own { next: u64, end: u64 },
    /// The share of the worker `steps` after this one, downward from `back` to `front`.
    Steal { steps: usize, front: u64, back: u64 },
    /// All chunks, from this one up.
    All { next: u64 },
}

impl Default for Stage {
    fn default() -> Stage {
        Stage::All { next: 0 }
    }
}

impl Cursor {
    pub(crate) fn new(chunks: u64, worker: usize, workers: usize) -> Cursor {
        let own = share(chunks, worker, workers);
        let stage = Stage::Own { next: own.start, end: own.end };
        Cursor { chunks, worker, workers, stage, over: 0 }
    }

    /// Opens this worker's tally for job `epoch`, or goes on with what an earlier incarnation did.
    pub(crate) fn open(&mut self, tally: &Tally, epoch: u64) {
        if tally.epoch.load(Ordering::Acquire) == epoch {
            self.over = tally.over.load(Ordering::Relaxed);
            return;
        }
        let own = share(self.chunks, self.worker, self.workers);
        // First the count, then the epoch: see `Tally::count`.
        tally.over.store(0, Ordering::Relaxed);
        tally.head.store(own.start, Ordering::Relaxed);
        tally.tail.store(own.end, Ordering::Relaxed);
        tally.epoch.store(epoch, Ordering::Release);
        self.over = 0;
    }

    /// Whether a chunk is of this worker's own share.
    pub(crate) fn owns(&self, chunk: u64) -> bool {
        share(self.chunks, self.worker, self.workers).contains(&chunk)
    }

    /// Recovery has freed chunks: look at all of them again.
    pub(crate) fn rescan(&mut self) {
        self.stage = Stage::All { next: 0 };
    }

    /// The next chunk that looks free, if any. The same one again until it is taken.
    pub(crate) fn find(
        &mut self,
        control: &Control,
        slot: usize,
        epoch: u64,
        words: &[AtomicU64],
    ) -> Option<u64> {
        let free = |c: &u64| Word(words[*c as usize].load(Ordering::Relaxed)).is_free_for(epoch);
        if let Stage::Own { next, end } = &self.stage
            && next < end
            && free(next)
        {
            return Some(*next);
        }
        loop {
            match &mut self.stage {
                Stage::Own { next, end } => {
                    if let Some(c) = (*next..*end).find(free) {
                        *next = c;
                        return Some(c);
                    }
                    self.stage = self.victim(1, control, slot, epoch);
                }
                Stage::Steal { steps, front, back } => {
                    if let Some(c) = (*front..*back).rev().find(free) {
                        *back = c + 1;
                        return Some(c);
                    }
                    let steps = *steps + 1;
                    self.stage = self.victim(steps, control, slot, epoch);
                }
                Stage::All { next } => {
                    if let Some(c) = (*next..self.chunks).find(free) {
                        *next = c;
                        return Some(c);
                    }
                    *next = self.chunks;
                    return None;
                }
            }
        }
    }

    fn victim(&self, steps: usize, control: &Control, slot: usize, epoch: u64) -> Stage {
        if steps >= self.workers {
            return Stage::All { next: 0 };
        }
        let (range, tally) = self.share_of(steps, control, slot);
        let (mut front, mut back) = (range.start, range.end);
        if tally.epoch.load(Ordering::Acquire) == epoch {
            front = front.max(tally.head.load(Ordering::Relaxed)).min(range.end);
            back = back.min(tally.tail.load(Ordering::Relaxed)).max(front);
        }
        Stage::Steal { steps, front, back }
    }

    fn share_of<'c>(
        &self,
        steps: usize,
        control: &'c Control,
        slot: usize,
    ) -> (Range<u64>, &'c Tally) {
        let victim = (self.worker + steps) % self.workers;
        (share(self.chunks, victim, self.workers), control.tally(slot, victim))
    }

    /// Leaves a hint that `chunk`, found a moment ago, is taken.
    pub(crate) fn claimed(
        &mut self,
        control: &Control,
        slot: usize,
        epoch: u64,
        chunk: u64,
        own: &Tally,
    ) {
        match &mut self.stage {
            Stage::Own { next, .. } => {
                *next = chunk + 1;
                own.head.store(chunk + 1, Ordering::Relaxed);
            }
            Stage::Steal { steps, back, .. } => {
                *back = chunk;
                let steps = *steps;
                let (_, tally) = self.share_of(steps, control, slot);
                if tally.epoch.load(Ordering::Relaxed) == epoch {
                    tally.tail.store(chunk, Ordering::Relaxed);
                }
            }
            Stage::All { next } => *next = chunk + 1,
        }
    }

    /// Counts a chunk that came to its end.
    pub(crate) fn over(&mut self, tally: &Tally) {
        self.over += 1;
        tally.over.store(self.over, Ordering::Release);
    }
}
