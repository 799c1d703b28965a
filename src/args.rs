//! What a kernel is called with: chunks of shared arrays, whole arrays, parameters, indices.
//!
//! [`Args`] is implemented by each kind of argument and by tuples of them (the `starmap` of this
//! library). The caller's side describes an argument as plain data; the worker's side makes the
//! views for one chunk out of that description. Nothing else turns shared bytes into `&[T]` or
//! `&mut [T]`, and it does so for the chunk that the worker has claimed.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};

use bytemuck::Pod;
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use crate::array::SharedArray;
use crate::chunk::{chunk_range, default_chunk_rows};
use crate::config::MAX_ARGS;
use crate::error::ArgsError;
use crate::layout::{ArgDesc, ArgKind, JobDesc};

mod description;
mod mapping;
mod small;
mod undo;

pub(crate) use description::{Description, reuse};
pub(crate) use mapping::Mapping;
pub(crate) use small::{Made, Packed};
pub use undo::{ChunkUndo, ChunksUndo, UndoLog};
pub(crate) use undo::{journal_bytes, old_parts};

/// An argument of a job, or a tuple of arguments.
///
/// This trait is sealed: the kinds of argument are those of this module.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument of a job",
    note = "a list goes in as `items(list)?`, an array as `x.chunks(n)`, one value as `Param(v)`"
)]
pub trait Args: sealed::Describe {
    /// What the kernel gets for one chunk.
    type Item<'w>;

    /// Makes the item of one chunk.
    ///
    /// # Safety
    /// `reader` is at a description that `Self` wrote, its bases are mappings of the segments
    /// described, its journal has the room that the description asks for, is aligned to 64 bytes and
    /// the caller's alone, and the chunk is claimed by the caller for as long as the item lives.
    #[doc(hidden)]
    unsafe fn item<'w>(reader: &mut Reader<'w>) -> Self::Item<'w>;
}

pub(crate) mod sealed {
    pub trait Describe {
        #[doc(hidden)]
        const MADE: super::Made = super::Made::OfMore;

        /// Of arguments that are small.
        #[doc(hidden)]
        fn pack(&self, _: &mut super::Packed) {}

        #[doc(hidden)]
        fn describe(&self, job: &mut super::Description) -> Result<(), crate::error::ArgsError>;
    }
}

/// Where a job's chunks lie in those of a larger job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The number that the first chunk has there.
    pub(crate) first: u64,
    /// How many chunks there are in all.
    pub(crate) total: u64,
}

/// Bytes of the segment that chunk `chunk` of `arg` covers.
pub(crate) fn chunk_bytes(arg: &ArgDesc, chunk: u64) -> Range<usize> {
    let rows = chunk_range(arg.rows, arg.chunk_rows, chunk);
    let at = |row: u64| (arg.offset + row * arg.row_bytes) as usize;
    at(rows.start)..at(rows.end)
}

/// Walks through a job's arguments in a worker, for one chunk.
#[doc(hidden)]
#[derive(Debug)]
pub struct Reader<'w> {
    pub(crate) desc: &'w JobDesc,
    pub(crate) bases: &'w [*mut u8; MAX_ARGS],
    pub(crate) chunk: u64,
    pub(crate) journal: *mut u8,
    pub(crate) at: usize,
}

impl<'w> Reader<'w> {
    pub(crate) fn next(&mut self) -> (&'w ArgDesc, *mut u8) {
        let i = self.at;
        self.at += 1;
        (&self.desc.args[i], self.bases[i])
    }

    /// Where the elements begin, and their shape: of the chunk, or of the whole array.
    fn part<T, D: Dimension>(&mut self, whole: bool) -> (*mut T, D) {
        let (arg, base) = self.next();
        let mut shape = D::zeros(arg.ndim as usize);
        for (to, &from) in shape.slice_mut().iter_mut().zip(&arg.shape) {
            *to = from as usize;
        }
        if whole {
            return (base.wrapping_add(arg.offset as usize).cast(), shape);
        }
        let rows = chunk_range(arg.rows, arg.chunk_rows, self.chunk);
        if let Some(axis0) = shape.slice_mut().first_mut() {
            *axis0 = (rows.end - rows.start) as usize;
        }
        (base.wrapping_add(chunk_bytes(arg, self.chunk).start).cast(), shape)
    }
}

/// A chunk of a shared array, read only: an [`ArrayView`] that is also a slice.
pub struct Chunk<'w, T, D: Dimension> {
    view: ArrayView<'w, T, D>,
}

/// A chunk of a shared array that the kernel may change: an [`ArrayViewMut`] that is also a slice.
///
/// Holding it is the claim: no other worker has a view of these bytes.
pub struct ChunkMut<'w, T, D: Dimension> {
    view: ArrayViewMut<'w, T, D>,
}

impl<'w, T, D: Dimension> Chunk<'w, T, D> {
    /// The elements in row-major order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.view.as_slice().expect("chunks are runs of whole rows, so contiguous")
    }

    /// The view itself.
    #[must_use]
    pub fn into_view(self) -> ArrayView<'w, T, D> {
        self.view
    }
}

impl<'w, T, D: Dimension> ChunkMut<'w, T, D> {
    /// The elements in row-major order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.view.as_slice().expect("chunks are runs of whole rows, so contiguous")
    }

    /// The elements in row-major order, to change.
    #[must_use]
    pub fn as_slice_mut(&mut self) -> &mut [T] {
        self.view.as_slice_mut().expect("chunks are runs of whole rows, so contiguous")
    }

    /// The view itself.
    #[must_use]
    pub fn into_view(self) -> ArrayViewMut<'w, T, D> {
        self.view
    }
}

impl<T, D: Dimension> AsRef<[T]> for Chunk<'_, T, D> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T, D: Dimension> AsRef<[T]> for ChunkMut<'_, T, D> {
    fn as_ref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T, D: Dimension> AsMut<[T]> for ChunkMut<'_, T, D> {
    fn as_mut(&mut self) -> &mut [T] {
        self.as_slice_mut()
    }
}

impl<'w, T, D: Dimension> Deref for Chunk<'w, T, D> {
    type Target = ArrayView<'w, T, D>;

    fn deref(&self) -> &Self::Target {
        &self.view
    }
}

impl<'w, T, D: Dimension> Deref for ChunkMut<'w, T, D> {
    type Target = ArrayViewMut<'w, T, D>;

    fn deref(&self) -> &Self::Target {
        &self.view
    }
}

impl<T, D: Dimension> DerefMut for ChunkMut<'_, T, D> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.view
    }
}

impl<T: fmt::Debug, D: Dimension> fmt::Debug for Chunk<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

impl<T: fmt::Debug, D: Dimension> fmt::Debug for ChunkMut<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(f)
    }
}

/// The chunks of an array, read only; made by [`SharedArray::chunks`].
#[derive(Debug)]
pub struct Chunks<'a, T: Pod, D: Dimension> {
    array: &'a SharedArray<T, D>,
    rows: usize,
}

/// The chunks of an array, to be changed in place; made by [`SharedArray::chunks_mut`].
#[derive(Debug)]
pub struct ChunksMut<'a, T: Pod, D: Dimension> {
    array: &'a mut SharedArray<T, D>,
    rows: usize,
}

/// The chunks of an array, to be overwritten; made by [`SharedArray::chunks_out`].
#[derive(Debug)]
pub struct ChunksOut<'a, T: Pod, D: Dimension> {
    array: &'a mut SharedArray<T, D>,
    rows: usize,
}

/// The whole array for every chunk, read only; made by [`SharedArray::whole`].
#[derive(Debug)]
pub struct Whole<'a, T: Pod, D: Dimension> {
    array: &'a SharedArray<T, D>,
}

/// A plain value, copied into the job and given to the kernel for each chunk.
///
/// It is the `functools.partial` of this library. All parameters of a job together take at most
/// [`MAX_PARAM_BYTES`](crate::config::MAX_PARAM_BYTES) bytes; larger state goes into a shared
/// array and is passed as [`SharedArray::whole`].
#[derive(Debug, Clone, Copy)]
pub struct Param<P: Pod>(pub P);

/// `n` chunks with no data but their number; made by [`indices`].
#[derive(Debug, Clone, Copy)]
pub struct Indices {
    n: u64,
}

/// An argument that gives each of `n` chunks its own number, 0 to n − 1; in a job that is a
/// [part of a larger one](crate::Job::part_of), the number that it has there.
#[must_use]
pub fn indices(n: u64) -> Indices {
    Indices { n }
}

/// How an array is dealt to the chunks of a job. Chunks are runs of rows along axis 0.
impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Chunks of `rows` rows each, read only; the last one may be shorter. Kernels get a
    /// [`Chunk`].
    #[must_use]
    pub fn chunks(&self, rows: usize) -> Chunks<'_, T, D> {
        Chunks { array: self, rows }
    }

    /// Chunks of `rows` rows each, changed in place; kernels get a [`ChunkMut`].
    ///
    /// Before a worker changes such a chunk it keeps an undo copy, so that a chunk whose kernel
    /// fails, or whose worker dies, is put back as it was. Kernels that are as fast as memory can take
    /// it themselves: [`chunks_undo`](Self::chunks_undo).
    #[must_use]
    pub fn chunks_mut(&mut self, rows: usize) -> ChunksMut<'_, T, D> {
        ChunksMut { array: self, rows }
    }

    /// Chunks of `rows` rows each which the kernel overwrites without reading them; kernels get a
    /// [`ChunkMut`].
    ///
    /// No undo copy is kept: after a death the chunk is computed again from the start, and after
    /// an error its contents are unspecified. A kernel that reads what it finds here gives results
    /// that depend on deaths; use [`chunks_mut`](Self::chunks_mut) for it.
    #[must_use]
    pub fn chunks_out(&mut self, rows: usize) -> ChunksOut<'_, T, D> {
        ChunksOut { array: self, rows }
    }

    /// The whole array for every chunk, read only; kernels get an [`ArrayView`].
    #[must_use]
    pub fn whole(&self) -> Whole<'_, T, D> {
        Whole { array: self }
    }

    /// The chunk length that is used where the caller has no wish: a function of the shape alone,
    /// some 256 chunks of at most 256 KiB.
    #[must_use]
    pub fn default_chunk(&self) -> usize {
        default_chunk_rows(self.rows() as u64, self.row_len() * size_of::<T>()) as usize
    }
}

/// The unit argument: none. For `call`.
impl sealed::Describe for () {
    const MADE: Made = Made::OfParams { params: 0, bytes: 0 };

    fn describe(&self, _: &mut Description) -> Result<(), ArgsError> {
        Ok(())
    }
}

impl Args for () {
    type Item<'w> = ();

    unsafe fn item<'w>(_: &mut Reader<'w>) {}
}

impl<T: Pod, D: Dimension> sealed::Describe for Chunks<'_, T, D> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.array(self.array, ArgKind::Read, self.rows)
    }
}

impl<T: Pod, D: Dimension> Args for Chunks<'_, T, D> {
    type Item<'w> = Chunk<'w, T, D>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> Chunk<'w, T, D> {
        let (at, shape) = reader.part::<T, D>(false);
        // SAFETY: the caller guarantees a mapping of the array described, which has aligned,
        // initialized elements of type T in row-major order for this shape, and nobody writes
        // them during the job (the caller's borrow, or the contract of the unsafe open).
        let view = unsafe { ArrayView::from_shape_ptr(shape, at.cast_const()) };
        Chunk { view }
    }
}

/// SAFETY contract of [`Args::item`] holds for the caller.
unsafe fn chunk_mut<'w, T: Pod, D: Dimension>(reader: &mut Reader<'w>) -> ChunkMut<'w, T, D> {
    let (at, shape) = reader.part::<T, D>(false);
    // SAFETY: as for `Chunks`; and the chunk is claimed by the caller, chunks do not overlap, and
    // the array is mutably borrowed for the job, so no other view of these bytes exists.
    let view = unsafe { ArrayViewMut::from_shape_ptr(shape, at) };
    ChunkMut { view }
}

impl<T: Pod, D: Dimension> sealed::Describe for ChunksMut<'_, T, D> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        writable(self.array)?;
        job.array(self.array, ArgKind::Update, self.rows)
    }
}

impl<T: Pod, D: Dimension> Args for ChunksMut<'_, T, D> {
    type Item<'w> = ChunkMut<'w, T, D>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> ChunkMut<'w, T, D> {
        // SAFETY: the contract is the caller's.
        unsafe { chunk_mut(reader) }
    }
}

impl<T: Pod, D: Dimension> sealed::Describe for ChunksOut<'_, T, D> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        writable(self.array)?;
        job.array(self.array, ArgKind::Overwrite, self.rows)
    }
}

impl<T: Pod, D: Dimension> Args for ChunksOut<'_, T, D> {
    type Item<'w> = ChunkMut<'w, T, D>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> ChunkMut<'w, T, D> {
        // SAFETY: the contract is the caller's.
        unsafe { chunk_mut(reader) }
    }
}

fn writable<T: Pod, D: Dimension>(array: &SharedArray<T, D>) -> Result<(), ArgsError> {
    if array.segment().writable() { Ok(()) } else { Err(ArgsError::ReadOnly) }
}

impl<T: Pod, D: Dimension> sealed::Describe for Whole<'_, T, D> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.array(self.array, ArgKind::Whole, 0)
    }
}

impl<T: Pod, D: Dimension> Args for Whole<'_, T, D> {
    type Item<'w> = ArrayView<'w, T, D>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> ArrayView<'w, T, D> {
        let (at, shape) = reader.part::<T, D>(true);
        // SAFETY: as for `Chunks`, with the shape of the whole array.
        unsafe { ArrayView::from_shape_ptr(shape, at.cast_const()) }
    }
}

impl<P: Pod> sealed::Describe for Param<P> {
    const MADE: Made = Made::OfParams { params: 1, bytes: size_of::<P>() };

    #[inline]
    fn pack(&self, into: &mut Packed) {
        into.push(bytemuck::bytes_of(&self.0));
    }

    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.param(bytemuck::bytes_of(&self.0))
    }
}

impl<P: Pod> Args for Param<P> {
    type Item<'w> = P;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> P {
        let start = reader.next().0.offset as usize;
        let bytes: &[u8] = bytemuck::cast_slice(&reader.desc.params);
        bytemuck::pod_read_unaligned(&bytes[start..start + size_of::<P>()])
    }
}

impl sealed::Describe for Indices {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        job.set_chunks(self.n)?;
        job.next()?.kind = ArgKind::Index as u64;
        Ok(())
    }
}

impl Args for Indices {
    type Item<'w> = u64;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> u64 {
        reader.next();
        reader.desc.head.first_chunk + reader.chunk
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Args),+> sealed::Describe for ($($name,)+) {
            const MADE: Made = <() as sealed::Describe>::MADE$(.and($name::MADE))+;

            #[inline]
            fn pack(&self, into: &mut Packed) {
                #[allow(non_snake_case, reason = "the type's name serves as the variable's")]
                let ($($name,)+) = self;
                $($name.pack(into);)+
            }

            fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
                #[allow(non_snake_case, reason = "the type's name serves as the variable's")]
                let ($($name,)+) = self;
                $($name.describe(job)?;)+
                Ok(())
            }
        }

        impl<$($name: Args),+> Args for ($($name,)+) {
            type Item<'w> = ($($name::Item<'w>,)+);

            unsafe fn item<'w>(reader: &mut Reader<'w>) -> Self::Item<'w> {
                ($(
                    // SAFETY: the contract is the caller's; arguments are read in the order in
                    // which they were described.
                    unsafe { $name::item(reader) },
                )+)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
