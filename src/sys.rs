//! The system calls that the library makes, one function a call.
pub(crate) mod float;
pub(crate) mod flush;
pub(crate) mod image;
#[cfg(feature = "capi")]
pub(crate) mod loader;
pub(crate) mod map;
pub(crate) mod mem;
pub(crate) mod objects;
pub(crate) mod pages;
pub(crate) mod process;
