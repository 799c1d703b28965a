//! Chunks changed in place whose kernel takes the undo copy itself, as it goes.
//!
//! ```text
//! journal of a worker, for one chunk, in the order of the arguments
//!   Update   the chunk's old bytes, copied before the kernel begins
//!   Undo     (at a multiple of 64) how many bytes are kept, 64 bytes in all; then the old bytes,
//!            of which so many count
//! ```
//! The number is 0 when the journal is armed. The kernel writes old elements, then the number, and
//! only then changes the elements: a death at any instruction finds in the journal all that was
//! changed. `worker/task.rs` sets the number to 0, `pool/recover.rs` puts back.

use std::fmt;
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use bytemuck::Pod;
use ndarray::{ArrayView, Dimension};
use pinpool_kernels::{Undo, prefetch};

use super::{Args, Description, Reader, chunk_bytes, sealed, writable};
use crate::array::SharedArray;
use crate::error::ArgsError;
use crate::layout::{ArgKind, JobDesc};
use crate::mutant::{self, Mutant};

/// Bytes of a cache line. The number of bytes kept has one to itself, and so the old bytes begin one.
const LINE_BYTES: usize = 64;

/// Where the undo copy of one argument's chunk lies in a journal.
#[derive(Debug, Clone)]
pub(crate) struct OldPart {
    /// Number of the argument.
    pub(crate) arg: usize,
    /// The chunk's bytes in the argument's segment.
    pub(crate) bytes: Range<usize>,
    /// Bytes from the journal's start to the number of bytes kept; `None`: all of them count.
    kept: Option<usize>,
    /// Bytes from the journal's start to the old bytes.
    at: usize,
}

impl OldPart {
    /// Bytes from the journal's start to behind this part.
    pub(crate) fn end(&self) -> usize {
        self.at.saturating_add(self.bytes.len())
    }

    /// Before the kernel: keeps the chunk, or, where the kernel will do it (and not `ahead` of it),
    /// says that nothing is kept so far.
    ///
    /// # Safety
    /// `base` is a mapping of the argument's segment with the chunk in it, `journal` one of a journal
    /// with this part in it that overlaps no array; nobody else writes either.
    pub(crate) unsafe fn begin(&self, base: *mut u8, journal: *mut u8, ahead: bool) {
        // SAFETY: the contract is the caller's.
        let kept = self.kept.map(|at| unsafe { kept_word(journal.wrapping_add(at)) });
        if let Some(kept) = kept {
            kept.store(0, Ordering::Relaxed);
            if !ahead {
                return;
            }
        }
        let from = base.wrapping_add(self.bytes.start).cast_const();
        let to = journal.wrapping_add(self.at);
        // SAFETY: the contract is the caller's.
        unsafe { ptr::copy_nonoverlapping(from, to, self.bytes.len()) };
        compiler_fence(Ordering::SeqCst);
        if let Some(kept) = kept {
            kept.store(self.bytes.len() as u64, Ordering::Release);
        }
    }

    /// Copies back what is kept. The number of bytes is read once and not believed: it counts up to
    /// the chunk's own.
    ///
    /// # Safety
    /// As for [`begin`](Self::begin).
    pub(crate) unsafe fn put_back(&self, base: *mut u8, journal: *mut u8) {
        // SAFETY: the contract is the caller's.
        let kept = self.kept.map(|at| unsafe { kept_word(journal.wrapping_add(at)) });
        let kept = kept.map_or(u64::MAX, |kept| kept.load(Ordering::Acquire));
        let bytes = self.bytes.len().min(usize::try_from(kept).unwrap_or(usize::MAX));
        let from = journal.wrapping_add(self.at).cast_const();
        let to = base.wrapping_add(self.bytes.start);
        // SAFETY: the contract is the caller's.
        unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
    }
}

/// The undo copies of `chunk`, in the order of a journal.
pub(crate) fn old_parts(desc: &JobDesc, chunk: u64) -> impl Iterator<Item = OldPart> {
    let args = desc.args[..desc.head.args as usize].iter().enumerate();
    let changed = args.filter_map(|(i, arg)| match arg.kind {
        kind if kind == ArgKind::Update as u64 => Some((i, arg, false)),
        kind if kind == ArgKind::Undo as u64 => Some((i, arg, true)),
        _ => None,
    });
    changed.scan(0usize, move |end, (arg, description, by_kernel)| {
        let bytes = chunk_bytes(description, chunk);
        let kept = by_kernel.then(|| end.next_multiple_of(LINE_BYTES));
        let at = kept.map_or(*end, |kept| kept + LINE_BYTES);
        let part = OldPart { arg, bytes, kept, at };
        *end = part.end();
        Some(part)
    })
}

/// Bytes of a journal that the undo copy of `chunk` takes.
pub(crate) fn journal_bytes(desc: &JobDesc, chunk: u64) -> usize {
    old_parts(desc, chunk).last().map_or(0, |part| part.end())
}

/// The number of bytes that are kept, at this address.
///
/// # Safety
/// `at` is a multiple of 8 in a mapping that lives as long as the reference; all processes use it
/// as an atomic alone.
unsafe fn kept_word<'a>(at: *mut u8) -> &'a AtomicU64 {
    // SAFETY: the contract is the caller's.
    unsafe { &*at.cast_const().cast::<AtomicU64>() }
}

/// The chunks of an array, changed in place with undo copies that the kernel takes; made by
/// [`SharedArray::chunks_undo`].
#[derive(Debug)]
pub struct ChunksUndo<'a, T: Pod, D: Dimension> {
    array: &'a mut SharedArray<T, D>,
    rows: usize,
}

/// A chunk of a shared array that the kernel may change behind its undo copy.
///
/// The copy of a whole chunk before its kernel ([`SharedArray::chunks_mut`]) is a pass over memory
/// of its own. Here the elements are kept piece by piece, while the kernel has them at hand:
/// - [`for_each_tile`](Self::for_each_tile) keeps a tile, then gives it to be changed;
/// - [`with_undo`](Self::with_undo) leaves it to a kernel that stores each element that it has
///   read, as [`trig_power_in_place_sum_undo`](pinpool_kernels::trig_power_in_place_sum_undo) does.
///
/// Holding it is the claim: no other worker has a view of these bytes.
pub struct ChunkUndo<'w, T, D: Dimension> {
    all: &'w mut [T],
    shape: D,
    old: &'w mut [T],
    kept: &'w AtomicU64,
    tiled: bool,
}

/// Where a kernel keeps old elements of its chunk.
#[derive(Debug)]
pub struct UndoLog<'c, T> {
    old: &'c mut [T],
    kept: &'c AtomicU64,
}

impl<T: Pod> UndoLog<'_, T> {
    /// Room for the old elements, as many as the chunk has.
    ///
    /// Nothing else may be written there, not even for a while: with a durable checkpoint all of it
    /// counts from the start.
    #[must_use]
    pub fn room(&mut self) -> &mut [T] {
        self.old
    }

    /// The first `n` old elements are in the room: from now on these may be changed, and in the room
    /// no longer.
    ///
    /// # Panics
    /// Where the chunk has fewer than `n`.
    pub fn kept(&mut self, n: usize) {
        assert!(n <= self.old.len(), "{n} elements kept of a chunk of {}", self.old.len());
        let bytes = (n * size_of::<T>()) as u64;
        compiler_fence(Ordering::SeqCst);
        // Where a chunk was kept whole before its kernel began, it stays so.
        if bytes > self.kept.load(Ordering::Relaxed) {
            self.kept.store(bytes, Ordering::Release);
        }
        compiler_fence(Ordering::SeqCst);
    }

    /// How many are kept.
    fn count(&self) -> usize {
        self.kept.load(Ordering::Relaxed) as usize / size_of::<T>().max(1)
    }
}

impl Undo for UndoLog<'_, f64> {
    fn old(&mut self) -> &mut [f64] {
        self.old
    }

    fn kept(&mut self, n: usize) {
        UndoLog::kept(self, n);
    }
}

impl<'w, T: Pod, D: Dimension> ChunkUndo<'w, T, D> {
    /// The elements in row-major order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.all
    }

    /// The elements as an array.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        ArrayView::from_shape(self.shape.clone(), &*self.all).expect("chunks are whole rows")
    }

    /// Gives the elements to `f`, `len` at a time in row-major order (the last ones may be fewer),
    /// each tile after it was kept. May be called again: what is kept already stays as it is.
    ///
    /// Good lengths fit the first-level cache: some 1000 doubles.
    ///
    /// # Panics
    /// Where `len` is 0.
    pub fn for_each_tile(&mut self, len: usize, mut f: impl FnMut(&mut [T])) {
        self.tiled = true;
        let mut old = UndoLog { old: self.old, kept: self.kept };
        let mut done = 0;
        for tile in self.all.chunks_mut(len) {
            let end = done + tile.len();
            let first = old.count().clamp(done, end);
            if mutant::on(Mutant::KeptBeforeOld) {
                old.kept(end);
            }
            old.old[first..end].copy_from_slice(&tile[first - done..]);
            for line in (0..size_of_val(tile)).step_by(LINE_BYTES) {
                let next = tile.as_ptr().wrapping_add(tile.len()).cast::<u8>();
                prefetch::read(next.wrapping_add(line));
                let next = old.old.as_ptr().wrapping_add(end).cast::<u8>();
                prefetch::write(next.wrapping_add(line));
            }
            if !mutant::on(Mutant::ChangedBeforeKept) {
                old.kept(end);
            }
            f(tile);
            if mutant::on(Mutant::ChangedBeforeKept) {
                old.kept(end);
            }
            done = end;
        }
    }

    /// The elements, to change, and where their old values are kept before that.
    ///
    /// It is the kernel's to keep each element, at its own index, before it changes it, and never to
    /// keep it again. One that it changes otherwise stays changed where the kernel fails or its
    /// worker dies, and the result depends on deaths.
    ///
    /// # Panics
    /// Where tiles were given before: their old values are in the room.
    #[must_use]
    pub fn with_undo(self) -> (&'w mut [T], UndoLog<'w, T>) {
        assert!(!self.tiled, "the chunk has been changed by tiles: take `with_undo` first");
        (self.all, UndoLog { old: self.old, kept: self.kept })
    }
}

impl<T: fmt::Debug + Pod, D: Dimension> fmt::Debug for ChunkUndo<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Chunks of `rows` rows each, changed in place, whose kernel keeps what it is about to change;
    /// kernels get a [`ChunkUndo`].
    ///
    /// For kernels that are as fast as memory: the undo copy of
    /// [`chunks_mut`](SharedArray::chunks_mut) can cost them a fifth of their time. What a failure or
    /// a death leaves is the same as there. Elements are aligned to 64 bytes at most.
    ///
    /// ```
    /// use pinpool::{Pool, SharedArray, kernels};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let mut x = SharedArray::<f64, _>::zeros(100_000)?;
    /// let sums = pool.map(x.chunks_undo(4_096), |c, _| {
    ///     let (a, undo) = c.with_undo();
    ///     kernels::trig_power_in_place_sum_undo(a, 3, undo)
    /// })?;
    /// assert!(sums.total() > 0.0);
    /// pool.for_each(x.chunks_undo(4_096), |mut c, _| {
    ///     c.for_each_tile(1_000, |tile| tile.iter_mut().for_each(|v| *v = 2.0 * *v));
    /// })?;
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    #[must_use]
    pub fn chunks_undo(&mut self, rows: usize) -> ChunksUndo<'_, T, D> {
        ChunksUndo { array: self, rows }
    }
}

impl<T: Pod, D: Dimension> sealed::Describe for ChunksUndo<'_, T, D> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        writable(self.array)?;
        job.array(self.array, ArgKind::Undo, self.rows)
    }
}

impl<T: Pod, D: Dimension> Args for ChunksUndo<'_, T, D> {
    type Item<'w> = ChunkUndo<'w, T, D>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> ChunkUndo<'w, T, D> {
        const { assert!(align_of::<T>() <= LINE_BYTES, "elements are aligned to 64 bytes at most") };
        let (place, journal) = (reader.at, reader.journal);
        let mut parts = old_parts(reader.desc, reader.chunk);
        let part = parts.find(|part| part.arg == place).expect("an argument that is kept");
        let (at, shape) = reader.part::<T, D>(false);
        let n = shape.size();
        // SAFETY: as for `ChunksMut`: a mapping of the array described, n elements of type T from
        // `at` on, claimed by the caller.
        let all = unsafe { std::slice::from_raw_parts_mut(at, n) };
        let old = journal.wrapping_add(part.at).cast::<T>();
        // SAFETY: the caller's journal has room for what the description says, is aligned to
        // lines, overlaps no array, and is this worker's alone; any bytes are a T.
        let old = unsafe { std::slice::from_raw_parts_mut(old, n) };
        // SAFETY: as above; the number stands at a line's start.
        let kept = unsafe { kept_word(journal.wrapping_add(part.kept.unwrap_or(0))) };
        ChunkUndo { all, shape, old, kept, tiled: false }
    }
}
