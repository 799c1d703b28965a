//! The system calls that the library makes, one function a call.
pub(crate) mod mem;
