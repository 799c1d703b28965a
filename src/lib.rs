//! Pinned worker processes over shared-memory ndarrays.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "pinpool runs on Linux on x86-64 and aarch64; the crate pinpool-kernels builds elsewhere too"
);

mod array;
pub mod config;
mod element;
mod error;
mod memory;
mod npy;
pub mod placement;
pub mod rng;
mod segment;
pub mod segments;
mod sys;
pub mod topology;

pub use array::{SaveError, SharedArray};
pub use element::{Bool, Dtype, Pod, dtype_of};
pub use error::{Error, Result};
pub use npy::NpyError;
pub use segment::{AttachError, CreateError};
