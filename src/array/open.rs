//! Opening arrays that are there: everything in the header is checked, from a copy, before use.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Dimension, IxDyn};

use super::SharedArray;
use crate::element::{Bool, Pod, dtype_of};
use crate::npy::{self, Header};
use crate::segment::{AttachError, Segment};

/// Bytes of a bool array that are checked at once.
const CHECK_BLOCK_BYTES: usize = 64 << 10;

impl<T: Pod, D: Dimension> SharedArray<T, D> {
    /// Attaches to the array that another process of this user made as `/dev/shm/NAME`.
    ///
    /// # Errors
    /// [`AttachError`]: not there, not this user's alone, or not such an array.
    ///
    /// # Safety
    /// No other program writes into or truncates it while a view is alive or a job works on it.
    pub unsafe fn open_named(name: &str) -> Result<Self, AttachError> {
        Self::attach(Segment::open_named(name, true)?, name)
    }

    /// As [`open_named`](Self::open_named), to read only.
    ///
    /// # Errors
    /// As [`open_named`](Self::open_named).
    ///
    /// # Safety
    /// No other program writes into or truncates it while a view is alive or a job reads it.
    pub unsafe fn open_named_read_only(name: &str) -> Result<Self, AttachError> {
        Self::attach(Segment::open_named(name, false)?, name)
    }

    /// Opens a `.npy` file in place: what changes here changes in the file.
    ///
    /// # Errors
    /// [`AttachError`]: cannot be opened, or not such an array.
    ///
    /// # Safety
    /// No other program writes into or truncates the file while the array lives.
    pub unsafe fn open_file(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        Self::attach(Segment::open_file(path, true)?, &path.display().to_string())
    }

    /// As [`open_file`](Self::open_file), to read only.
    ///
    /// # Errors
    /// As [`open_file`](Self::open_file).
    ///
    /// # Safety
    /// No other program writes into or truncates the file while the array lives.
    pub unsafe fn open_file_read_only(path: impl AsRef<Path>) -> Result<Self, AttachError> {
        let path = path.as_ref();
        Self::attach(Segment::open_file(path, false)?, &path.display().to_string())
    }

    fn attach(segment: Arc<Segment>, name: &str) -> Result<Self, AttachError> {
        const { Self::ALIGNED };
        let owned = || name.to_owned();
        let Header { dtype, shape, data_offset } = read_header(&segment, name)?;
        let expected = dtype_of::<T>();
        if dtype != expected {
            return Err(AttachError::WrongType {
                name: owned(),
                expected: expected.to_string(),
                found: dtype.to_string(),
            });
        }
        let Some(dim) = D::from_dimension(&IxDyn(&shape)) else {
            let expected = D::NDIM.unwrap_or(0);
            return Err(AttachError::WrongRank { name: owned(), expected, found: shape });
        };
        let align = align_of::<T>();
        if !(segment.base() as usize + data_offset).is_multiple_of(align) {
            return Err(AttachError::Misaligned { name: owned(), offset: data_offset, align });
        }
        if expected == dtype_of::<Bool>() {
            check_bools(&segment, data_offset, name)?;
        }
        Ok(Self { segment, data_offset, dim, element: PhantomData })
    }
}

/// Copies the header out of the file, and parses the copy.
pub(super) fn read_header(segment: &Segment, name: &str) -> Result<Header, AttachError> {
    let read = |len: usize| {
        let mut bytes = vec![0; len.min(segment.len())];
        let system = |source| AttachError::System { action: "read", name: name.to_owned(), source };
        let got = segment.read_at(&mut bytes, 0).map_err(system)?;
        bytes.truncate(got);
        Ok(bytes)
    };
    let header_error = |source| AttachError::Header { name: name.to_owned(), source };
    let file_bytes = segment.len() as u64;
    let start = read(npy::HEADER_BYTES)?;
    let len = npy::header_len(&start, file_bytes).map_err(header_error)?;
    let bytes = if len > start.len() { read(len)? } else { start };
    npy::parse(&bytes, file_bytes).map_err(header_error)
}

/// Every byte of a bool array is 0 or 1, as far as its writer kept to the format.
pub(super) fn check_bools(
    segment: &Segment,
    data_offset: usize,
    name: &str,
) -> Result<(), AttachError> {
    let mut block = vec![0; CHECK_BLOCK_BYTES];
    let mut offset = data_offset as u64;
    loop {
        let read = segment.read_at(&mut block, offset);
        let read = read.map_err(|source| AttachError::System {
            action: "read",
            name: name.to_owned(),
            source,
        })?;
        if let Some(at) = block[..read].iter().position(|&byte| byte > 1) {
            let index = offset - data_offset as u64 + at as u64;
            return Err(AttachError::BadBool { name: name.to_owned(), index, value: block[at] });
        }
        if read < block.len() {
            return Ok(());
        }
        offset += read as u64;
    }
}
