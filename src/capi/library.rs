//! The library as a whole: its version, its start, the instruction set of its kernels.

use std::ffi::c_char;

use super::pointers;
use super::status::{Failure, Status, guarded, value};

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
