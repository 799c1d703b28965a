//! The ring of a queue: who may do what to a cell, and what becomes of the cells of the dead.
//!
//! It consists of cells, each with one word that says what it is at in which lap, and whose it is:
//!
//! ```text
//!   Empty(lap) --claim--> Writing(lap, who) --> Full(lap) --claim--> Reading(lap, who) --> Empty(lap+1)
//! ```
//!
//! The words are the truth. `head` and `tail` are hints that whoever finds them behind moves on,
//! so that nobody who dies between two steps holds anybody up. A cell whose owner is dead is taken
//! on by whoever meets it: what it was putting is absent, what it had begun to take is lost with
//! it. An owner is a process, by its pid and the time of its start, since pids are used again.
//!
//! A sleeper sets a flag, looks once more, and sleeps on the flag; who changes a cell clears the
//! flag and wakes all. A sleeper that dies leaves a flag behind, which costs one needless wake-up.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use bytemuck::Pod;
use rustix::thread::{Timespec, futex};

use super::Queue;
use crate::sys::process::{OWNER_BITS, own_mark, process_lives};

/// What can be wrong with a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// It was full, for as long as the caller wanted to wait.
    #[error("the queue is full; get from it, wait longer, or make it larger")]
    Full,
    /// It was closed.
    #[error("the queue is closed and takes nothing more")]
    Closed,
}

/// What can be wrong with a get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// It was empty, for as long as the caller wanted to wait.
    #[error("the queue is empty; put into it, or wait longer")]
    Empty,
    /// It is empty and was closed, so that nothing will come.
    #[error("the queue is closed and nothing is left in it")]
    Closed,
}

/// The first page of a queue's segment.
#[repr(C)]
struct Header {
    tail: Line,
    head: Line,
    getters: Flag,
    putters: Flag,
    closed: Line,
}

#[repr(C, align(128))]
struct Line(AtomicU64);

/// Futex word: 1 where somebody may sleep on it.
#[repr(C, align(128))]
struct Flag(AtomicU32);

pub(super) const HEADER_BYTES: usize = 4096;
const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

const EMPTY: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const READING: u64 = 3;

const LAP_SHIFT: u32 = 2 + OWNER_BITS;
const LAP_MASK: u64 = (1 << (64 - LAP_SHIFT)) - 1;

/// How long a sleeper trusts that whoever holds a cell lives.
const CHECK_HELD: Duration = Duration::from_millis(20);

/// The same where nobody held one when he looked: somebody may since have, and have died.
const CHECK: Duration = Duration::from_millis(500);

/// How long one looks before one sleeps.
const SPINS: u32 = 200;

fn word(state: u64, owner: u64, lap: u64) -> u64 {
    state | owner << 2 | (lap & LAP_MASK) << LAP_SHIFT
}

/// What one attempt at a cell came to.
enum Step<R> {
    Did(R),
    /// Somebody else was faster, or a hint was behind: at once again.
    Again,
    /// The ring is full, or empty.
    Blocked,
    /// A cell in the way is another process's.
    Held(u64),
}

/// A queue as kernels see it; made by a [`Queue`] that is an argument of a job, or
/// [`Queue::view`].
pub struct QueueView<'q, T: Pod> {
    pub(super) base: *mut u8,
    pub(super) cells: u64,
    pub(super) queue: PhantomData<&'q Queue<T>>,
}

impl<T: Pod> Clone for QueueView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Pod> Copy for QueueView<'_, T> {}

impl<T: Pod> fmt::Debug for QueueView<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueView").field("capacity", &self.cells).finish_non_exhaustive()
    }
}

// SAFETY: the base is that of a mapping that the queue behind `'q` keeps alive; what lies in it is
// used as atomics, or by the one thread that has claimed a cell. Items are plain data.
unsafe impl<T: Pod + Send> Send for QueueView<'_, T> {}
// SAFETY: as above: every method may run in many threads and processes at once.
unsafe impl<T: Pod + Send> Sync for QueueView<'_, T> {}

/// Bytes of a cell: its word, then the item.
pub(super) const fn cell_bytes<T>() -> usize {
    (8 + size_of::<T>()).next_multiple_of(8)
}

impl<'q, T: Pod> QueueView<'q, T> {
    fn header(&self) -> &'q Header {
        // SAFETY: the segment begins with a page for the header, which is atomics alone, and the
        // mapping outlives `'q`.
        unsafe { &*self.base.cast::<Header>() }
    }

    fn cell(&self, position: u64) -> (&'q AtomicU64, *mut u8) {
        let index = (position % self.cells) as usize;
        let at = self.base.wrapping_add(HEADER_BYTES + index * cell_bytes::<T>());
        // SAFETY: the segment has room for so many cells, each begins with an aligned word that
        // is used as an atomic by everybody, and the mapping outlives `'q`.
        let word = unsafe { &*at.cast::<AtomicU64>() };
        (word, at.wrapping_add(8))
    }

    /// Most items that are in it at once.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.cells as usize
    }

    /// How many items are in it, about: others may put and get meanwhile.
    #[must_use]
    pub fn len(&self) -> usize {
        let h = self.header();
        let (tail, head) = (h.tail.0.load(Ordering::Acquire), h.head.0.load(Ordering::Acquire));
        tail.saturating_sub(head).min(self.cells) as usize
    }

    /// Whether nothing is in it, about.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes nothing more: later puts fail, gets take what is left and then fail.
    pub fn close(&self) {
        let h = self.header();
        h.closed.0.store(1, Ordering::SeqCst);
        wake(&h.getters);
        wake(&h.putters);
    }

    /// Whether it was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.header().closed.0.load(Ordering::SeqCst) != 0
    }

    /// Puts an item in, waiting while the queue is full.
    ///
    /// # Errors
    /// [`PutError::Closed`].
    pub fn put(&self, item: T) -> Result<(), PutError> {
        self.put_until(item, None)
    }

    /// Puts an item in if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::Closed`].
    pub fn try_put(&self, item: T) -> Result<(), PutError> {
        self.put_until(item, Some(Instant::now()))
    }

    /// Puts an item in, waiting for room so long at most.
    ///
    /// # Errors
    /// [`PutError::Full`], [`PutError::Closed`].
    pub fn put_timeout(&self, item: T, limit: Duration) -> Result<(), PutError> {
        self.put_until(item, Instant::now().checked_add(limit))
    }

    /// Takes the oldest item out, waiting while the queue is empty.
    ///
    /// # Errors
    /// [`GetError::Closed`].
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(None)
    }

    /// Takes the oldest item out if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`], [`GetError::Closed`].
    pub fn try_get(&self) -> Result<T, GetError> {
        self.get_until(Some(Instant::now()))
    }

    /// Takes the oldest item out, waiting for one so long at most.
    ///
    /// # Errors
    /// [`GetError::Empty`], [`GetError::Closed`].
    pub fn get_timeout(&self, limit: Duration) -> Result<T, GetError> {
        self.get_until(Instant::now().checked_add(limit))
    }

    /// Items until the queue is closed and empty.
    pub fn drain(self) -> impl Iterator<Item = T> + 'q {
        std::iter::from_fn(move || self.get().ok())
    }

    fn put_until(&self, item: T, end: Option<Instant>) -> Result<(), PutError> {
        let me = own_mark();
        let closed = || self.is_closed().then_some(PutError::Closed);
        let put = || self.put_step(&item, me);
        self.until(end, &self.header().putters, closed, put, PutError::Full)?;
        wake(&self.header().getters);
        Ok(())
    }

    fn get_until(&self, end: Option<Instant>) -> Result<T, GetError> {
        let me = own_mark();
        // Read before the cells: what was put before the close is seen after it.
        let closed = || None;
        let get = || {
            let closed = self.is_closed();
            match self.get_step(me) {
                Step::Blocked if closed => Step::Did(None),
                step => step.map(Some),
            }
        };
        let item = self.until(end, &self.header().getters, closed, get, GetError::Empty)?;
        wake(&self.header().putters);
        item.ok_or(GetError::Closed)
    }

    /// Tries until it is done or the time is up; sleeps on `flag` between.
    fn until<R, E>(
        &self,
        end: Option<Instant>,
        flag: &Flag,
        refuse: impl Fn() -> Option<E>,
        step: impl Fn() -> Step<R>,
        late: E,
    ) -> Result<R, E> {
        let mut spins = 0;
        let mut flagged = false;
        loop {
            if let Some(error) = refuse() {
                return Err(error);
            }
            let held = match step() {
                Step::Did(result) => return Ok(result),
                Step::Again => continue,
                Step::Held(owner) => {
                    // Asked seldom: it costs a look into /proc.
                    if (spins % 64 == 63 || spins >= SPINS) && !process_lives(owner) {
                        self.bury(owner);
                        continue;
                    }
                    true
                }
                Step::Blocked => false,
            };
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) && !held {
                return Err(late);
            }
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
                if spins % 16 == 0 || held {
                    std::thread::yield_now();
                }
                continue;
            }
            if end.is_some_and(|end| end <= now) {
                return Err(late);
            }
            if !flagged {
                // Said first, then one more look: who changes a cell looks at the flag after it.
                flag.0.store(1, Ordering::SeqCst);
                fence(Ordering::SeqCst);
                flagged = true;
                continue;
            }
            flagged = false;
            let most = if held { CHECK_HELD } else { CHECK };
            let nap = end.map_or(most, |end| (end - now).min(most));
            let nap = Timespec { tv_sec: nap.as_secs() as i64, tv_nsec: nap.subsec_nanos().into() };
            // Shared between processes: no PRIVATE flag.
            let _ = futex::wait(&flag.0, futex::Flags::empty(), 1, Some(&nap));
        }
    }

    /// One attempt at the cell at the tail.
    fn put_step(&self, item: &T, me: u64) -> Step<()> {
        let tail = &self.header().tail.0;
        let position = tail.load(Ordering::Acquire);
        let lap = position / self.cells;
        let (cell, data) = self.cell(position);
        let seen = cell.load(Ordering::Acquire);
        if seen == word(EMPTY, 0, lap) {
            let mine = word(WRITING, me, lap);
            if cell.compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return Step::Again;
            }
            advance(tail, position);
            // SAFETY: the cell is claimed by this call alone, and has room for a `T`.
            unsafe { data.cast::<T>().write_unaligned(*item) };
            cell.store(word(FULL, 0, lap), Ordering::Release);
            return Step::Did(());
        }
        if seen >> LAP_SHIFT == lap.wrapping_sub(1) & LAP_MASK && lap > 0 {
            // Still of the lap before: being emptied, or not even that.
            return match seen & 3 {
                FULL => Step::Blocked,
                _ => Step::Held(seen >> 2 & ((1 << OWNER_BITS) - 1)),
            };
        }
        // Somebody has filled it: the hint is behind.
        advance(tail, position);
        Step::Again
    }

    /// One attempt at the cell at the head.
    fn get_step(&self, me: u64) -> Step<T> {
        let head = &self.header().head.0;
        let position = head.load(Ordering::Acquire);
        let lap = position / self.cells;
        let (cell, data) = self.cell(position);
        let seen = cell.load(Ordering::Acquire);
        if seen == word(EMPTY, 0, lap) {
            return Step::Blocked;
        }
        if seen >> LAP_SHIFT == lap & LAP_MASK {
            match seen & 3 {
                FULL => {}
                // Its item comes before all others: they wait for it.
                WRITING => return Step::Held(seen >> 2 & ((1 << OWNER_BITS) - 1)),
                _ => {
                    advance(head, position);
                    return Step::Again;
                }
            }
            let mine = word(READING, me, lap);
            if cell.compare_exchange(seen, mine, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return Step::Again;
            }
            advance(head, position);
            // SAFETY: the cell is claimed by this call alone, and holds a whole `T`: it was full.
            let item = unsafe { data.cast::<T>().read_unaligned() };
            cell.store(word(EMPTY, 0, lap + 1), Ordering::Release);
            return Step::Did(item);
        }
        if seen >> LAP_SHIFT == lap.wrapping_sub(1) & LAP_MASK && lap > 0 {
            // Being emptied for this lap: nothing was put into it yet.
            return match seen & 3 {
                READING => Step::Held(seen >> 2 & ((1 << OWNER_BITS) - 1)),
                _ => Step::Blocked,
            };
        }
        advance(head, position);
        Step::Again
    }

    /// Frees every cell of a process that is dead.
    fn bury(&self, owner: u64) {
        for index in 0..self.cells {
            let (cell, _) = self.cell(index);
            let seen = cell.load(Ordering::Acquire);
            let lap = seen >> LAP_SHIFT;
            if seen >> 2 & ((1 << OWNER_BITS) - 1) == owner && matches!(seen & 3, WRITING | READING)
            {
                // The exact word: a second undertaker changes nothing.
                let next = word(EMPTY, 0, lap + 1);
                let _ = cell.compare_exchange(seen, next, Ordering::AcqRel, Ordering::Relaxed);
            }
        }
        wake(&self.header().getters);
        wake(&self.header().putters);
    }
}

impl<R> Step<R> {
    fn map<S>(self, f: impl FnOnce(R) -> S) -> Step<S> {
        match self {
            Step::Did(result) => Step::Did(f(result)),
            Step::Again => Step::Again,
            Step::Blocked => Step::Blocked,
            Step::Held(owner) => Step::Held(owner),
        }
    }
}

/// Moves a hint on, if nobody has.
fn advance(hint: &AtomicU64, position: u64) {
    let _ = hint.compare_exchange(position, position + 1, Ordering::AcqRel, Ordering::Relaxed);
}

/// Wakes whoever says that he may sleep.
fn wake(flag: &Flag) {
    fence(Ordering::SeqCst);
    if flag.0.load(Ordering::Relaxed) != 0 {
        flag.0.store(0, Ordering::SeqCst);
        let _ = futex::wake(&flag.0, futex::Flags::empty(), i32::MAX as u32);
    }
}
