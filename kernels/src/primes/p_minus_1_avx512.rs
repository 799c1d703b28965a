//! Pollard's p - 1 on 32 numbers at once, with AVX-512 IFMA: it finds the primes p for which p - 1
//! is smooth, which among small ones are most.
//!
//! With h = 2^-[`E`], p divides h^q - 1 when p - 1 divides E·q. The primes q up to 30·[`GIANTS`] are
//! `30·g - j` with eight values of j, so that one product of the terms `h^(30·g) - h^j` has the
//! divisor p. A squaring costs a tenth of a step on a curve: this is the cheapest way to begin.
//!
//! Source: J. M. Pollard, "Theorems on factorization and primality testing", Proc. Cambridge Philos.
//! Soc. 76 (1974); the second stage is P. L. Montgomery's, Math. Comp. 48 (1987).

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::{OneLimb, set};

/// Vectors in flight: four hide the latency of a product.
pub(super) const VECTORS: usize = 4;

/// The exponent of the first stage: the prime powers to 32, and the next power of 5.
const E: u64 = {
    let mut e = 32;
    let powers: [u64; 10] = [27, 25, 7, 11, 13, 17, 19, 23, 29, 31];
    let mut i = 0;
    while i < powers.len() {
        e *= powers[i];
        i += 1;
    }
    e
};

/// The first stage starts with the top six bits of E, rounded up: 2^-START has the Montgomery form
/// 2^(52 - START). What E then has too much is made good by doublings after the squarings.
const STEPS: u32 = 64 - E.leading_zeros() - 6;
const START: u64 = (E >> STEPS) + 1;
const REST: u64 = (START << STEPS) - E;

const _: () = assert!(START >= 32 && START <= 52, "so that the form is in [1, 2^20]");

/// Giant steps of the second stage, to 420.
const GIANTS: usize = 14;

/// The numbers below 30 without a common divisor with it.
const BABIES: [u64; 8] = [1, 7, 11, 13, 17, 19, 23, 29];

/// Bit k of place g - 1: `30·g - BABIES[k]` is a prime above 31.
const PAIRS: [u8; GIANTS] = {
    let mut pairs = [0; GIANTS];
    let mut g = 1;
    while g <= GIANTS {
        let mut k = 0;
        while k < 8 {
            let q = 30 * g as u64 - BABIES[k];
            let mut d = 7;
            while d * d <= q && !q.is_multiple_of(d) {
                d += 2;
            }
            if q > 31 && d * d > q {
                pairs[g - 1] |= 1 << k;
            }
            k += 1;
        }
        g += 1;
    }
    pairs
};

/// For odd numbers in `[2^20, 2^41)` values below 2n that often have a proper common divisor with n.
///
/// The products stay in bounds: factors are below 2n and 4n, and 8n² is below n·2^52.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn values(n: &[__m512i; VECTORS]) -> [__m512i; VECTORS] {
    let zero = [_mm512_setzero_si512(); VECTORS];
    let mut moduli = [OneLimb { n: zero[0], inverse: zero[0] }; VECTORS];
    let mut h = [set(1 << (52 - START)); VECTORS];
    for i in 0..VECTORS {
        moduli[i] = OneLimb::new(n[i]);
    }
    let product = |a: &[__m512i; VECTORS], b: &[__m512i; VECTORS]| {
        let mut c = zero;
        for i in 0..VECTORS {
            c[i] = moduli[i].mul_add(a[i], b[i], n[i]);
        }
        c
    };
    for step in (0..STEPS).rev() {
        let mut twice = h;
        if (REST >> step) & 1 == 1 {
            for (twice, h) in twice.iter_mut().zip(&h) {
                *twice = _mm512_add_epi64(*h, *h);
            }
        }
        h = product(&h, &twice);
    }
    let h2 = product(&h, &h);
    let h4 = product(&h2, &h2);
    let h6 = product(&h4, &h2);
    let h7 = product(&h6, &h);
    let h11 = product(&h7, &h4);
    let h13 = product(&h11, &h2);
    let h17 = product(&h13, &h4);
    let h19 = product(&h17, &h2);
    let h23 = product(&h19, &h4);
    let h29 = product(&h23, &h6);
    let h30 = product(&h29, &h);
    let babies = [h, h7, h11, h13, h17, h19, h23, h29];
    // 1 is the form of a power of two, and units do not matter.
    let mut all = [set(1); VECTORS];
    let mut giant = h30;
    for (g, pairs) in PAIRS.iter().enumerate() {
        if g > 0 {
            giant = product(&giant, &h30);
        }
        for (k, baby) in babies.iter().enumerate() {
            if (pairs >> k) & 1 == 1 {
                let mut term = zero;
                for i in 0..VECTORS {
                    let above = _mm512_add_epi64(giant[i], _mm512_add_epi64(n[i], n[i]));
                    term[i] = _mm512_sub_epi64(above, baby[i]);
                }
                all = product(&all, &term);
            }
        }
    }
    all
}
