//! Primes and factors of u64, one number at a time and over slices.
//!
//! # What is proven
//! [`is_prime`] and its batch forms are exact for every u64. Numbers below 67² are decided by
//! trial division; the rest by a probable-prime test to base 2 and an almost extra strong Lucas
//! test, a form of the test of Baillie, Pomerance, Selfridge and Wagstaff. That no composite
//! below 2^64 passes both is a computation, by others and not repeated here:
//! - J. Feitsma and W. Galway listed all 118,968,378 Fermat pseudoprimes to base 2 below 2^64 (2009
//!   to 2013). D. Jacobsen found the same ones to 10^12 by testing every odd composite.
//! - D. Jacobsen ("Pseudoprime statistics, tables, and data", 20 November 2013) states that none of
//!   that list is a pseudoprime of the standard or strong Lucas test with Selfridge's parameters, nor
//!   of the extra strong or almost extra strong one with Baillie's, which is the one here (P = 3, 4,
//!   5, ... until (P² - 4 / n) = -1, Q = 1).
//! - The paths here use the strong or the Euler form to base 2; what passes either is on the list.
//!
//! [`factor`] reports a factor only after this test, or when it is below the square of a bound
//! that trial division has passed.
//!
//! For [`u128`] nothing of the kind is known: [`is_prime_u128`] is a probable-prime test and says so.
//!
//! # How it is dispatched
//! Slices go by [`crate::isa::current`]: AVX-512 IFMA where it is there. AVX2 takes numbers below
//! 2^49 as floats, whose fused multiply-add gives a product and its remainder in seven operations, and
//! larger ones as two halves of 32 bits. NEON does the first; for the rest, as everywhere else, four
//! numbers are interleaved in scalar registers. All answers are exact, so they are the same on every
//! instruction set.
//!
//! # What it costs
//! ns a number on one core of a 2-core virtual machine (AMD Zen 4, which takes AVX-512 in two halves;
//! Rust 1.95), by the time that the thread had, best of several turns with the best crate in one run of
//! `cargo bench --bench primes`. The README has the same figures:
//!
//! | | AVX-512 | AVX2 | scalar | crate |
//! |---|---|---|---|---|
//! | `is_prime_slice`, [1e14, 5e14) | 3.2 | 6.1 | 19 | machine-prime 35 |
//! | `is_prime_slice`, any u64 | 5.3 | 14.9 | 22 | machine-prime 41 |
//! | `is_prime_slice`, primes of 64 bits | 87 | 218 | 338 | machine-prime 585 |
//! | `factor_slice`, [1e10, 1e12) | 96 | 490 | 1,170 | machine-factor 1,165 |
//! | `factor_slice`, [1e17, 1e19) | 1,080 | 4,500 | 5,700 | machine-factor 11,500 |
//! | `factor_slice`, products of two primes of 32 bits | 11,200 | 55,500 | 57,300 | machine-factor 381,000 |
//!
//! [`count_primes`] to 10^10 takes 0.86 s there (primesieve 11.0 1.02), 10^9 numbers from 10^15 on 0.29 s
//! (primesieve 0.33), from 10^18 on 1.0 s (1.2); [`prime_pi`] of 10^10 takes 6 ms, of 10^14 1.3 s. One
//! number at a time, [`is_prime`] takes what machine-prime takes.
//!
//! # Where things are
//! `is_prime` and `lucas` are the reference, one number at a time; `interleaved`, `batch_lanes` and
//! `batch_avx512` the batch forms; `lanes*` and `ifma*` the arithmetic and tests on vectors. `factor`,
//! `rho` and `ecm` are portable, `rho_lanes` for AVX2 and NEON; `factor_avx512` leads to
//! `divide_avx512`, `small_avx512` (with `proof_avx512`, `p_minus_1_avx512` and `hart_avx512`) and
//! `ecm_avx512`; both kinds of curve take their steps from `ecm_plan`. `segment` (with `segment_avx2`) and
//! `segment_large` (with `segment_large_avx512`) sieve for `sieve`, `ranges` for the multiplicative
//! functions. `wide*` is for [`u128`].

mod arithmetic;
mod batch;
#[cfg(target_arch = "x86_64")]
mod batch_avx512;
mod batch_lanes;
#[cfg(target_arch = "x86_64")]
mod divide_avx512;
mod ecm;
#[cfg(target_arch = "x86_64")]
mod ecm_avx512;
mod ecm_plan;
#[cfg(target_arch = "x86_64")]
mod ecm_products_avx512;
mod factor;
#[cfg(target_arch = "x86_64")]
mod factor_avx512;
mod factor_batch;
#[cfg(target_arch = "x86_64")]
mod hart_avx512;
#[cfg(target_arch = "x86_64")]
mod ifma;
#[cfg(target_arch = "x86_64")]
mod ifma_barrett;
#[cfg(target_arch = "x86_64")]
mod ifma_base_2;
#[cfg(target_arch = "x86_64")]
mod ifma_lucas;
#[cfg(target_arch = "x86_64")]
mod ifma_parameters;
#[cfg(all(test, target_arch = "x86_64"))]
mod ifma_tests;
mod interleaved;
mod is_prime;
mod lanes;
mod lanes_floats;
mod lanes_halves;
mod lucas;
mod montgomery;
#[cfg(target_arch = "x86_64")]
mod p_minus_1_avx512;
#[cfg(target_arch = "x86_64")]
mod packed_avx512;
mod prime_pi;
#[cfg(target_arch = "x86_64")]
mod proof_avx512;
mod ranges;
mod rho;
mod rho_lanes;
mod segment;
#[cfg(target_arch = "x86_64")]
mod segment_avx2;
mod segment_large;
#[cfg(target_arch = "x86_64")]
mod segment_large_avx512;
mod sieve;
#[cfg(target_arch = "x86_64")]
mod small_avx512;
mod wide;
mod wide_ecm;
mod wide_montgomery;

pub use arithmetic::{
    divisor_count, divisor_count_slice, divisor_sum, divisor_sum_slice, gcd, gcd_slice,
    mod_inverse, mod_inverse_slice, mod_pow, mod_pow_slice, moebius, moebius_slice, next_prime,
    next_prime_slice, previous_prime, previous_prime_slice, totient, totient_slice,
};
pub use factor::{Factors, factor};
pub use prime_pi::prime_pi;
pub use ranges::{divisor_count_range, divisor_sum_range, moebius_range, totient_range};
pub use sieve::{PrimesIn, count_primes, nth_prime, primes_in};
pub use wide::{FactorU128Error, Progress, factor_u128, is_prime_u128};

/// Numbers that [`count_primes`] sieves at once: chunks of a range that are so many, or a multiple
/// of it, begin no further segment for a small rest.
pub const SEGMENT_NUMBERS: u64 = segment::SEGMENT_BYTES as u64 * 30;

/// Whether `n` is prime. Proven for every u64 (see the [module](self)).
///
/// ```
/// assert!(pinpool_kernels::primes::is_prime(18_446_744_073_709_551_557));
/// assert!(!pinpool_kernels::primes::is_prime(3_215_031_751)); // a strong pseudoprime to 2, 3, 5, 7
/// ```
#[must_use]
pub fn is_prime(n: u64) -> bool {
    is_prime::is_prime(n)
}

/// Writes 1 to `out[i]` where `n[i]` is prime, else 0.
///
/// # Panics
/// When the slices differ in length.
pub fn is_prime_slice(n: &[u64], out: &mut [u8]) {
    assert_eq!(n.len(), out.len(), "is_prime_slice needs one output byte for each number");
    batch::is_prime_slice(crate::isa::current(), n, out);
}

/// Sets bit `i % 64` of `out[i / 64]` where `n[i]` is prime and clears it where not; the bits of
/// the last word past the end are cleared.
///
/// # Panics
/// When `out` has not exactly one word for each 64 numbers or part of 64.
pub fn is_prime_bitmap(n: &[u64], out: &mut [u64]) {
    assert_eq!(
        n.len().div_ceil(64),
        out.len(),
        "is_prime_bitmap needs one output word for each 64 numbers"
    );
    let mut bytes = [0u8; 4096];
    for (n, out) in n.chunks(4096).zip(out.chunks_mut(64)) {
        let bytes = &mut bytes[..n.len()];
        is_prime_slice(n, bytes);
        for (bytes, word) in bytes.chunks(64).zip(out) {
            *word = bytes.iter().enumerate().fold(0, |w, (i, &b)| w | u64::from(b) << i);
        }
    }
}

/// Factors every number of a slice: `out[i] = factor(n[i])`.
///
/// # Panics
/// When the slices differ in length.
pub fn factor_slice(n: &[u64], out: &mut [Factors]) {
    assert_eq!(n.len(), out.len(), "factor_slice needs one result for each number");
    batch::factor_slice(crate::isa::current(), n, out);
}
