//! The interface for C, and for all that can call C: `include/pinpool.h` is made from it.
//!
//! Every function here takes what C has (pointers, numbers, terminated strings), checks it, and
//! calls what the rest of the crate offers in Rust; nothing else of the crate knows of it. A
//! function that can fail gives a [`Status`] and keeps the text of the failure for its thread. No
//! panic crosses: `guarded` is around each.
//!
//! # Safety
//! The contract of all of them: a pointer is null or points to what its type says, for as long as
//! the call takes (an array among a job's arguments: until the job is over); a length belongs to
//! its pointer; a string ends with a zero byte; what was made here is freed once, by its own
//! function, and not used while or after it is. Handles may be used by several threads at once,
//! except by their `free` and by `pp_pending_result`. Who reads or writes elements of an array while
//! a job works on it has a data race. The page for users is `docs/c.md`.
#![allow(
    clippy::missing_safety_doc,
    reason = "the contract is the same for all functions, and stands above"
)]

mod array;
mod builtin;
mod dtype;
mod foreign;
mod job;
mod kernel;
mod options;
mod pending;
mod plan;
mod pointers;
mod pool;
mod status;

use std::ffi::c_char;

pub use array::*;
pub use builtin::*;
pub use dtype::*;
pub use foreign::*;
pub use job::*;
pub use kernel::*;
pub use options::*;
pub use pending::*;
pub use pool::*;
pub use status::*;

/// The version of this interface; `pp_abi_version()` gives the library's.
///
/// It rises when something is taken away or changed; what is added leaves it.
pub const PP_ABI_VERSION: u32 = 1;

/// The version of the interface that the library has.
#[unsafe(no_mangle)]
pub extern "C" fn pp_abi_version() -> u32 {
    PP_ABI_VERSION
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn pp_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// For programs whose kernels need C++ or Fortran constructors: call it first in `main`.
///
/// In a worker it does not return. Programs whose kernels are plain C need not call it.
#[unsafe(no_mangle)]
pub extern "C" fn pp_init() {
    // A worker that fails ends its process; a parent has nothing here that could panic.
    let _ = std::panic::catch_unwind(crate::worker_process::init);
}

/// The instruction set of the built-in kernels: "scalar", "avx2", "avx512" or "neon".
#[unsafe(no_mangle)]
pub extern "C" fn pp_isa() -> *const c_char {
    use pinpool_kernels::isa::Isa;
    let name = match pinpool_kernels::isa::current() {
        Isa::Scalar => c"scalar",
        Isa::Avx2 => c"avx2",
        Isa::Avx512 => c"avx512",
        Isa::Neon => c"neon",
        _ => c"unknown",
    };
    name.as_ptr()
}

/// Has this process, and the pools that it builds from now on, use an instruction set. The results
/// have the same bits on all of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_set_isa(name: *const c_char) -> Status {
    guarded(|| {
        // SAFETY: the contract of this module.
        let name = unsafe { pointers::text(name, "name") }?;
        let isa = name.parse().and_then(|isa| pinpool_kernels::isa::force(isa).map(|()| isa));
        isa.map(|_| ()).map_err(|error| Failure::invalid(error.to_string()))
    })
}

/// The built-in arithmetic of the flagship, for kernels of one's own: `rounds` of
/// a <- (sin a + cos a)^(a*a) over `n` doubles, which stay as they are; gives the sum.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pp_trig_power_sum(a: *const f64, n: usize, rounds: u32) -> f64 {
    value(f64::NAN, || {
        // SAFETY: the contract of this module.
        let a = unsafe { pointers::slice(a, n, "a") }?;
        Ok(pinpool_kernels::trig_power_sum(a, rounds))
    })
}

#[cfg(test)]
mod tests;
