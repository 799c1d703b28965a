//! Results while the job still runs: the chunk words say which slots are written.
//!
//! A slot is read only after its word was seen as done in this very epoch, or after the job was
//! seen to have ended well. Done is never undone, and a done slot is never written again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use bytemuck::Pod;
use ndarray::Ix1;

use super::Pool;
use super::running::{Running, Value};
use super::watched::Watched;
use crate::array::SharedArray;
use crate::error::Result;
use crate::protocol::{State, Word};

/// Looks at the words of one running job, and sleeps until there is something new to see.
#[derive(Debug)]
struct Follower<'scope, R: Pod> {
    pool: &'scope Pool,
    running: Running<SharedArray<R, Ix1>>,
    /// `None`: the job was over when the stream began, or is now.
    words: Option<Watched>,
    /// Slots may be read without a look at their words.
    all_done: bool,
    /// The error was given, and nothing comes after it.
    ended: bool,
}

impl<'scope, R: Pod> Follower<'scope, R> {
    fn new(pool: &'scope Pool, running: Running<SharedArray<R, Ix1>>) -> Self {
        let words = if pool.is_fork() { None } else { pool.jobs.watch(&running.ticket) };
        Follower { pool, running, words, all_done: false, ended: false }
    }

    fn is_done(&self, chunk: u64) -> bool {
        if self.all_done {
            return true;
        }
        let Some(words) = &self.words else { return false };
        let word = Word(words.words()[chunk as usize].load(Ordering::Acquire));
        word.epoch() == self.running.ticket.epoch() && word.state() == State::Done
    }

    /// The result of a chunk that [`is_done`](Self::is_done).
    fn slot(&self, chunk: u64) -> R {
        let Value::Made(slots) = &self.running.value else {
            unreachable!("a map's slots are made before it starts")
        };
        let at = slots.data_ptr().wrapping_add(chunk as usize);
        debug_assert!((chunk as usize) < slots.len());
        // SAFETY: there is a slot for each chunk, in a mapping that `slots` keeps alive; its
        // chunk is done (see the head of this file), which was read with acquire, so that it is
        // initialized and no worker writes it any more.
        unsafe { at.read() }
    }

    /// Sleeps until `ready` may have changed its mind. `Err`: the job ended badly.
    fn wait(&mut self, mut ready: impl FnMut(&Self) -> bool) -> Result<()> {
        if let Err(error) = self.pool.check_alive() {
            self.ended = true;
            return Err(error.into());
        }
        loop {
            let seen = self.words.as_ref().map(Watched::seen);
            let over = self.running.is_over(self.pool);
            if ready(self) {
                return Ok(());
            }
            match (over, seen, &self.words) {
                (false, Some(seen), Some(words)) => words.sleep(seen),
                (false, ..) => self.running.wait(self.pool),
                (true, ..) => {
                    self.words = None;
                    if let Err(error) = self.pool.jobs.finish(&self.running.ticket) {
                        self.ended = true;
                        return Err(error.into());
                    }
                    self.all_done = true;
                }
            }
        }
    }
}

impl<R: Pod> Drop for Follower<'_, R> {
    fn drop(&mut self) {
        if self.pool.is_fork() {
            // The words are not mapped here, and nobody follows them.
            std::mem::forget(self.words.take());
        }
    }
}

/// Results in the order in which they are finished; see
/// [`Pending::as_completed`](super::Pending::as_completed).
#[derive(Debug)]
pub struct Completed<'scope, R: Pod> {
    follower: Follower<'scope, R>,
    /// Chunks that were not seen done yet, in rising order.
    rest: Vec<u64>,
    ready: VecDeque<u64>,
}

impl<'scope, R: Pod> Completed<'scope, R> {
    pub(super) fn new(pool: &'scope Pool, running: Running<SharedArray<R, Ix1>>) -> Self {
        let rest = (0..running.chunks).collect();
        Completed { follower: Follower::new(pool, running), rest, ready: VecDeque::new() }
    }
}

impl<R: Pod> Iterator for Completed<'_, R> {
    type Item = Result<(u64, R)>;

    fn next(&mut self) -> Option<Self::Item> {
        let Completed { follower, rest, ready } = self;
        if ready.is_empty() || follower.pool.is_fork() {
            if follower.ended || rest.is_empty() {
                return None;
            }
            let waited = follower.wait(|f| {
                rest.retain(|&chunk| {
                    let done = f.is_done(chunk);
                    if done {
                        ready.push_back(chunk);
                    }
                    !done
                });
                !ready.is_empty()
            });
            if let Err(error) = waited {
                return Some(Err(error));
            }
        }
        let chunk = ready.pop_front()?;
        Some(Ok((chunk, follower.slot(chunk))))
    }
}

/// Results in the order of the chunks; see [`Pending::in_order`](super::Pending::in_order).
#[derive(Debug)]
pub struct InOrder<'scope, R: Pod> {
    follower: Follower<'scope, R>,
    next: u64,
}

impl<'scope, R: Pod> InOrder<'scope, R> {
    pub(super) fn new(pool: &'scope Pool, running: Running<SharedArray<R, Ix1>>) -> Self {
        InOrder { follower: Follower::new(pool, running), next: 0 }
    }
}

impl<R: Pod> Iterator for InOrder<'_, R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.follower.ended || self.next == self.follower.running.chunks {
            return None;
        }
        let chunk = self.next;
        if let Err(error) = self.follower.wait(|f| f.is_done(chunk)) {
            return Some(Err(error));
        }
        self.next += 1;
        Some(Ok(self.follower.slot(chunk)))
    }
}
