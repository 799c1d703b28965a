//! The floating-point environment of a worker: round to nearest, subnormals kept.
//!
//! A host linked with fast-math flushes subnormals from its constructors on, and its threads
//! inherit that; a worker's results must not depend on it.

/// Sets this thread's environment to what Rust assumes.
pub(crate) fn set_default() {
    #[cfg(target_arch = "x86_64")]
    {
        // All exceptions masked, round to nearest, no flushing of subnormals.
        let mxcsr: u32 = 0x1f80;
        // SAFETY: loads the control word from a live local, with the value that Rust assumes.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack)) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: writes the control register, with the value that Rust assumes.
    unsafe {
        std::arch::asm!("msr fpcr, xzr", options(nomem, nostack))
    };
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn subnormals_are_kept_after_a_host_that_flushes_them() {
        std::thread::spawn(|| {
            let flushing: u32 = 0x9fc0;
            // SAFETY: as above; this thread ends with the default again.
            unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const flushing) };
            set_default();
            assert!(std::hint::black_box(f64::MIN_POSITIVE) / 2.0 > 0.0);
        })
        .join()
        .unwrap();
    }
}
