//! An array whose element type is known only when the program runs: what C and what speaks C has.
//!
//! The same segments and headers as [`SharedArray`](super::SharedArray). It hands out a pointer and
//! no views: what its readers and writers promise each other is theirs to keep.

#![forbid(unsafe_code)]

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{SaveError, create_segment, open, save};
use crate::chunk::default_chunk_rows;
use crate::element::{Bool, Dtype, dtype_of};
use crate::npy::{self, Header};
use crate::segment::{AttachError, CreateError, Kind, Reserve, Segment};

/// Elements are aligned to what their size is a multiple of, this at most.
const MOST_ALIGN: usize = 8;

/// An n-dimensional array in C order that worker processes map too.
#[derive(Debug, Clone)]
pub(crate) struct AnyArray {
    segment: Arc<Segment>,
    data_offset: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl AnyArray {
    pub(crate) fn zeros(dtype: Dtype, shape: &[usize]) -> Result<AnyArray, CreateError> {
        Self::create(dtype, shape, |bytes| Segment::nameless("array", bytes))
    }

    pub(crate) fn create_named(
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<AnyArray, CreateError> {
        Self::create(dtype, shape, |bytes| Segment::named(name, bytes, Reserve::Now))
    }

    pub(crate) fn create_file(
        path: &Path,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<AnyArray, CreateError> {
        Self::create(dtype, shape, |bytes| Segment::create_file(path, bytes, Reserve::Now))
    }

    /// In a segment of at least the bytes that `make` is asked for.
    pub(crate) fn create(
        dtype: Dtype,
        shape: &[usize],
        make: impl FnOnce(usize) -> Result<Arc<Segment>, CreateError>,
    ) -> Result<AnyArray, CreateError> {
        let segment = create_segment(&dtype, shape, make)?;
        Ok(AnyArray { segment, data_offset: npy::HEADER_BYTES, dtype, shape: shape.to_vec() })
    }

    pub(crate) fn open_named(name: &str, writable: bool) -> Result<AnyArray, AttachError> {
        Self::attach(Segment::open_named(name, writable)?, name)
    }

    pub(crate) fn open_file(path: &Path, writable: bool) -> Result<AnyArray, AttachError> {
        Self::attach(Segment::open_file(path, writable)?, &path.display().to_string())
    }

    fn attach(segment: Arc<Segment>, name: &str) -> Result<AnyArray, AttachError> {
        let Header { dtype, shape, data_offset } = open::read_header(&segment, name)?;
        let align = 1 << dtype.item_bytes().trailing_zeros().min(MOST_ALIGN.trailing_zeros());
        if !(segment.base() as usize + data_offset).is_multiple_of(align) {
            let name = name.to_owned();
            return Err(AttachError::Misaligned { name, offset: data_offset, align });
        }
        if dtype == dtype_of::<Bool>() {
            open::check_bools(&segment, data_offset, name)?;
        }
        Ok(AnyArray { segment, data_offset, dtype, shape })
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(crate) fn data_offset(&self) -> usize {
        self.data_offset
    }

    /// The first element.
    pub(crate) fn data(&self) -> *mut u8 {
        self.segment.base().wrapping_add(self.data_offset)
    }

    pub(crate) fn dtype(&self) -> &Dtype {
        &self.dtype
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.len() * self.dtype.item_bytes()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.segment.writable()
    }

    /// The name under /dev/shm, if it has one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self.segment.kind() {
            Kind::Named(named) => Some(named.name()),
            Kind::Nameless(_) | Kind::File(_) => None,
        }
    }

    /// As `SharedArray::default_chunk`.
    pub(crate) fn default_chunk(&self) -> usize {
        let rows = self.shape.first().copied().unwrap_or(1);
        let row_len: usize = self.shape.iter().skip(1).product();
        default_chunk_rows(rows as u64, row_len * self.dtype.item_bytes()) as usize
    }

    /// As `SharedArray::set_persist`.
    pub(crate) fn set_persist(&self, persist: bool) -> io::Result<()> {
        match self.segment.kind() {
            Kind::Named(named) => named.set_persist(self.segment.fd(), persist),
            Kind::Nameless(_) | Kind::File(_) => Ok(()),
        }
    }

    /// As `SharedArray::save`, of `data`: its bytes, which the caller has.
    pub(crate) fn save(&self, path: &Path, data: &[u8]) -> Result<(), SaveError> {
        save::save(path, &self.dtype, &self.shape, data)
    }
}
