//! Why bytes are not an array that can be used in place, and what to do about it.
#![forbid(unsafe_code)]

use super::MAX_RANK;

/// Why bytes are not an NPY array that can be used in place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The first bytes are not the format's.
    #[error("not an NPY file: it does not begin with \\x93NUMPY; write it with numpy.save")]
    Magic,
    /// A version of the format that is not known.
    #[error(
        "NPY format version {major}.{minor} is not known (1.0, 2.0 and 3.0 are); save it again with numpy.save"
    )]
    Version {
        /// Major version found.
        major: u8,
        /// Minor version found.
        minor: u8,
    },
    /// The header is longer than any that is needed.
    #[error(
        "the header says that it is {bytes} bytes long, more than the limit of {limit}; the file is damaged or not for us"
    )]
    HeaderTooLong {
        /// Length that the file states.
        bytes: u64,
        /// The longest that is read.
        limit: usize,
    },
    /// The file ends before its header does.
    #[error(
        "the file ends inside its header ({have} bytes of {need}); it was cut off or is still being written"
    )]
    HeaderTruncated {
        /// Bytes that the header needs.
        need: u64,
        /// Bytes that there are.
        have: u64,
    },
    /// The header is not the Python dictionary that it must be.
    #[error(
        "damaged header: {expected} expected at byte {at} of its dictionary; save the array again"
    )]
    Syntax {
        /// Where, counted from the dictionary's first byte.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// The dictionary lacks a key, has one twice, or has one too many.
    #[error("damaged header: the key '{key}' is {problem}; save the array again")]
    Key {
        /// The key.
        key: String,
        /// `missing`, `there twice` or `not known`.
        problem: &'static str,
    },
    /// Elements in the other byte order.
    #[error(
        "big-endian elements ('{descr}') cannot be used in place; convert them in numpy: a.astype(a.dtype.newbyteorder('<'))"
    )]
    BigEndian {
        /// The dtype found.
        descr: String,
    },
    /// Python objects, which are pickles and not numbers.
    #[error(
        "an array of Python objects ('{descr}') cannot be shared; convert it in numpy to a number type"
    )]
    Object {
        /// The dtype found.
        descr: String,
    },
    /// Records with fields.
    #[error("a structured dtype cannot be used in place; save each field as an array of its own")]
    Structured,
    /// A dtype that has no element type here.
    #[error(
        "elements of dtype '{descr}' are not supported; use integers, float32/64, complex64/128, bool or raw bytes (|V)"
    )]
    Unsupported {
        /// The dtype found.
        descr: String,
    },
    /// Columns first, where rows first is needed.
    #[error(
        "the array is in Fortran order {shape:?}; save it in C order: numpy.save(path, numpy.ascontiguousarray(a))"
    )]
    FortranOrder {
        /// The shape found.
        shape: Vec<usize>,
    },
    /// More axes than numpy itself knows.
    #[error("the array has more than {MAX_RANK} axes; the header is damaged")]
    Rank,
    /// A shape whose bytes cannot be counted.
    #[error(
        "shape {shape:?} of {item_bytes}-byte elements is larger than any memory; the header is damaged"
    )]
    Overflow {
        /// The shape found.
        shape: Vec<usize>,
        /// Bytes of one element.
        item_bytes: usize,
    },
    /// The file ends before its data do.
    #[error(
        "the file is cut off: its header announces {need} bytes and there are {have}; copy or save it again"
    )]
    Truncated {
        /// Bytes that header and data need.
        need: u64,
        /// Bytes that there are.
        have: u64,
    },
    /// The file goes on after its data.
    #[error("{} bytes follow the data (the file has {have}, the array needs {need}); save the array alone in its file", have - need)]
    Trailing {
        /// Bytes that header and data need.
        need: u64,
        /// Bytes that there are.
        have: u64,
    },
}
