//! The system calls that the library makes, one function a call.
pub(crate) mod float;
pub(crate) mod image;
pub(crate) mod mem;
pub(crate) mod prefetch;
pub(crate) mod process;
