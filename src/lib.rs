//! Pinned worker processes over shared-memory ndarrays.
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!(
    "pinpool runs on Linux on x86-64 and aarch64; the crate pinpool-kernels builds elsewhere too"
);

pub mod doctor;
pub mod placement;
pub mod simulate;
pub mod topology;
