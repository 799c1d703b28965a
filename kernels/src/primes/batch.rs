//! `is_prime` and `factor` over a slice: which path runs on which instruction set.

use super::factor::Factors;
use super::{batch_lanes, factor_batch, interleaved};
use crate::isa::Isa;

/// See [`super::is_prime_slice`]; the slices are of one length.
pub(super) fn is_prime_slice(isa: Isa, n: &[u64], out: &mut [u8]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            // SAFETY: `isa` is only ever what this CPU was found to have.
            unsafe { super::batch_avx512::is_prime_slice(n, out) }
        }
        Isa::Avx2 | Isa::Neon => batch_lanes::is_prime_slice(isa, n, out),
        _ => interleaved::is_prime_slice(n, out),
    }
}

/// See [`super::factor_slice`]; the slices are of one length.
pub(super) fn factor_slice(isa: Isa, n: &[u64], out: &mut [Factors]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            // SAFETY: `isa` is only ever what this CPU was found to have.
            unsafe { super::factor_avx512::factor_slice(n, out) }
        }
        _ => factor_batch::factor_slice(isa, n, out),
    }
}
