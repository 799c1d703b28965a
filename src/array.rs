//! A shared array: an ndarray over a segment that is a `.npy` file.
//!
//! It owns its segment, knows shape and data offset, and hands out ndarray views. It knows nothing
//! of chunks, jobs or workers. What it keeps: the header was checked once, from a copy, against the
//! real length; the data are aligned for `T` and in C order; no view outlives the mapping.
//!
//! The contract with other programs that reach a named or file-backed array: they may read at any
//! time (what a job is changing may be torn) and write between jobs. A write into a chunk during a
//! job is a data race, which is why making and opening such arrays is `unsafe`.

#[cfg(feature = "capi")]
mod any;
mod open;
mod save;

use std::io;
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use ndarray::{ArrayView, ArrayViewMut, Dimension, IntoDimension};

use crate::element::{Dtype, Pod, dtype_of};
use crate::npy;
use crate::pages::MemoryReport;
use crate::segment::{CreateError, Kind, Reserve, Segment};
use crate::sys::pages::Pages;

#[cfg(feature = "capi")]
pub(crate) use any::AnyArray;
pub use save::SaveError;

/// An n-dimensional array that worker processes map too.
///
/// Elements are plain old data in C order. Dropping it unmaps it, and removes its name if this
/// process made it under one and did not [persist](Self::set_persist) it. A plain fork of the program
/// has no part in it: the child must not touch its views.
///
/// ```
/// let mut a = pinpool::SharedArray::<f64, _>::zeros((2, 3))?;
/// a.view_mut()[[1, 2]] = 0.5;
/// assert_eq!(a.as_slice(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.5]);
/// # Ok::<(), pinpool::CreateError>(())
/// ```
pub struct SharedArray<T: Pod, D: Dimension> {
    segment: Arc<Segment>,
    data_offset: usize,
    dim: D,
    element: PhantomData<T>,
}

impl<T: Pod, D: Dimension> Drop for SharedArray<T, D> {
    fn drop(&mut self) {
        self.segment.unname();
    }
}

/// How a header comes into a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// By `write`, so that others never find a part of it under a name.
    Written,
    /// By stores: files in reserved huge pages take nothing else.
    Stored,
}

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Page-aligned data are aligned for every element.
    const ALIGNED: () = assert!(
        align_of::<T>() <= npy::HEADER_BYTES,
        "elements of a shared array are aligned to at most 4096 bytes"
    );

    /// Makes an array of zero bytes that has no name: the usual one, for the pool's own workers.
    ///
    /// # Errors
    /// [`CreateError`]: too large, or not enough memory; says how much is free.
    pub fn zeros(shape: impl IntoDimension<Dim = D>) -> Result<Self, CreateError> {
        Self::create(shape, |bytes| Segment::nameless("array", bytes))
    }

    /// Copies an array of any layout into a new nameless one.
    ///
    /// # Errors
    /// As [`zeros`](Self::zeros).
    pub fn from_array(array: &ArrayView<'_, T, D>) -> Result<Self, CreateError> {
        let mut copy = Self::zeros(array.raw_dim())?;
        copy.view_mut().assign(array);
        Ok(copy)
    }

    /// Makes an array of zero bytes that other programs find as `/dev/shm/NAME`.
    ///
    /// # Errors
    /// [`CreateError`]: the name is taken or cannot be one, too large, or no room in /dev/shm or
    /// in memory.
    ///
    /// # Safety
    /// No other program writes into it while a view is alive or a job works on it.
    pub unsafe fn create_named(
        name: &str,
        shape: impl IntoDimension<Dim = D>,
    ) -> Result<Self, CreateError> {
        Self::create(shape, |bytes| Segment::named(name, bytes, Reserve::Now))
    }

    /// Makes an array of zero bytes in a new file, which stays when the array is dropped.
    ///
    /// # Errors
    /// [`CreateError`]: the file exists or cannot be made, too large, or the disk is full.
    ///
    /// # Safety
    /// No other program writes into or truncates the file while the array lives.
    pub unsafe fn create_file(
        path: impl AsRef<Path>,
        shape: impl IntoDimension<Dim = D>,
    ) -> Result<Self, CreateError> {
        Self::create(shape, |bytes| Segment::create_file(path.as_ref(), bytes, Reserve::Now))
    }

    /// Makes an array of zero bytes in a segment of at least the bytes that `make` is asked for.
    pub(crate) fn create(
        shape: impl IntoDimension<Dim = D>,
        make: impl FnOnce(usize) -> Result<Arc<Segment>, CreateError>,
    ) -> Result<Self, CreateError> {
        const { Self::ALIGNED };
        let dim = shape.into_dimension();
        let segment = create_segment(&dtype_of::<T>(), dim.slice(), make)?;
        Ok(Self { segment, data_offset: npy::HEADER_BYTES, dim, element: PhantomData })
    }

    /// Bytes of header and data.
    pub(crate) fn file_bytes(dim: &D) -> Result<usize, CreateError> {
        file_bytes(size_of::<T>(), dim.slice())
    }

    /// Makes an array of a segment of zero bytes, which has at least [`file_bytes`](Self::file_bytes).
    pub(crate) fn over(segment: Arc<Segment>, dim: D, how: Header) -> Result<Self, CreateError> {
        const { Self::ALIGNED };
        assert!(Self::file_bytes(&dim).is_ok_and(|bytes| bytes <= segment.len()));
        write_header(&segment, &dtype_of::<T>(), dim.slice(), how)?;
        Ok(Self { segment, data_offset: npy::HEADER_BYTES, dim, element: PhantomData })
    }

    /// What its memory really is: pages, huge pages, NUMA nodes, as the kernel accounts for them.
    ///
    /// What lies in memory and not yet in this process's page tables is mapped first, so that the
    /// account is of the whole array; of a file on a disk only what is mapped already is counted.
    ///
    /// # Errors
    /// Where /proc cannot be read.
    ///
    /// ```
    /// let a = pinpool::SharedArray::<f64, _>::builder(100_000).create()?;
    /// let memory = a.memory()?;
    /// assert_eq!(memory.resident_bytes, memory.mapped_bytes);
    /// println!("{memory}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn memory(&self) -> io::Result<MemoryReport> {
        let (start, len) = (self.segment.base() as usize, self.segment.len().max(1));
        if self.segment.is_in_memory() {
            // Linux before 5.14 cannot; then what is mapped is counted.
            let _ = Pages::new(start, len).populate_to_read();
        }
        let page = rustix::param::page_size();
        MemoryReport::of(start as u64..(start + len).next_multiple_of(page) as u64)
    }

    /// The whole array, to read.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY:
        // - the data are `dim.size()` elements inside the mapping, which `self` keeps alive, and
        //   aligned: checked when the array was made or opened;
        // - any bytes are a `T: Pod`;
        // - nobody writes meanwhile: workers only while the pool borrows the array, other programs
        //   not, by the contract of the unsafe functions that let them reach it.
        unsafe { ArrayView::from_shape_ptr(self.dim.clone(), self.data_ptr()) }
    }

    /// The whole array, to change.
    ///
    /// # Panics
    /// If it was opened read-only.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        assert!(self.is_writable(), "this shared array was opened read-only");
        // SAFETY: as in `view`, and `&mut self` makes it the only view; the mapping is writable.
        unsafe { ArrayViewMut::from_shape_ptr(self.dim.clone(), self.data_ptr()) }
    }

    /// All elements in C order, to read.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        // SAFETY: as in `view`; the data are in C order without gaps.
        unsafe { std::slice::from_raw_parts(self.data_ptr(), self.len()) }
    }

    /// All elements in C order, to change.
    ///
    /// # Panics
    /// If it was opened read-only.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        assert!(self.is_writable(), "this shared array was opened read-only");
        // SAFETY: as in `view_mut`; the data are in C order without gaps.
        unsafe { std::slice::from_raw_parts_mut(self.data_ptr(), self.len()) }
    }

    /// Length of each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.dim.slice()
    }

    /// The shape as ndarray's own type.
    #[must_use]
    pub fn raw_dim(&self) -> D {
        self.dim.clone()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dim.size()
    }

    /// Whether it has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of axis 0, along which it is chunked; an array without axes is one row.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape().first().copied().unwrap_or(1)
    }

    /// Elements of one row: the product of all axes but the first.
    #[must_use]
    pub fn row_len(&self) -> usize {
        self.shape().iter().skip(1).product()
    }

    /// The type of its elements, as in its header.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        dtype_of::<T>()
    }

    /// The name under /dev/shm, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self.segment.kind() {
            Kind::Named(named) => Some(named.name()),
            Kind::Nameless(_) | Kind::File(_) => None,
        }
    }

    /// Whether it may be changed: false if it was opened read-only.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.segment.writable()
    }

    /// Whether its name is to outlive everybody.
    #[must_use]
    pub fn persist(&self) -> bool {
        matches!(self.segment.kind(), Kind::Named(named) if named.persist())
    }

    /// Has the name outlive everybody (or not): `pinpool segments gc` lets such a segment stay.
    /// Without a name there is nothing to keep, and nothing is done.
    ///
    /// # Errors
    /// Where the registry in /dev/shm cannot be written.
    pub fn set_persist(&mut self, persist: bool) -> io::Result<()> {
        match self.segment.kind() {
            Kind::Named(named) => named.set_persist(self.segment.fd(), persist),
            Kind::Nameless(_) | Kind::File(_) => Ok(()),
        }
    }

    /// The segment that it lies in.
    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Where its data begin, in bytes from the start of the segment.
    pub(crate) fn data_offset(&self) -> usize {
        self.data_offset
    }

    /// The first element.
    pub(crate) fn data_ptr(&self) -> *mut T {
        self.segment.base().wrapping_add(self.data_offset).cast()
    }
}

/// Makes a segment that holds an array of zero bytes behind its header.
fn create_segment(
    dtype: &Dtype,
    shape: &[usize],
    make: impl FnOnce(usize) -> Result<Arc<Segment>, CreateError>,
) -> Result<Arc<Segment>, CreateError> {
    let segment = make(file_bytes(dtype.item_bytes(), shape)?)?;
    write_header(&segment, dtype, shape, Header::Written)?;
    Ok(segment)
}

/// Bytes of header and data of an array of this shape.
fn file_bytes(item_bytes: usize, shape: &[usize]) -> Result<usize, CreateError> {
    if shape.len() > npy::MAX_RANK {
        return Err(CreateError::Rank { axes: shape.len() });
    }
    let too_large = || CreateError::TooLarge { shape: shape.to_vec(), item_bytes };
    npy::data_bytes(shape, item_bytes)
        .and_then(|bytes| bytes.checked_add(npy::HEADER_BYTES))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(too_large)
}

/// Puts the header into a new segment, and takes that away again where it cannot.
fn write_header(
    segment: &Segment,
    dtype: &Dtype,
    shape: &[usize],
    how: Header,
) -> Result<(), CreateError> {
    let header = npy::write(dtype, shape);
    // The magic last: who finds it finds a whole array.
    let written = match how {
        Header::Written => {
            segment.write_at(&header[8..], 8).and_then(|()| segment.write_at(&header[..8], 0))
        }
        Header::Stored => {
            // SAFETY: the segment is writable and longer than a header, and so far nobody but
            // the caller knows it.
            unsafe { segment.base().copy_from_nonoverlapping(header.as_ptr(), header.len()) };
            Ok(())
        }
    };
    written.map_err(|source| {
        segment.discard();
        let name = segment.label().into_owned();
        CreateError::System { action: "write the header of", name, source }
    })
}

impl<T: Pod, D: Dimension> std::fmt::Debug for SharedArray<T, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedArray")
            .field("shape", &self.shape())
            .field("dtype", &self.dtype().descr())
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}
