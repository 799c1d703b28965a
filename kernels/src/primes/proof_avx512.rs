//! Which of the parts that trial division and splitting leave are prime, with AVX-512 IFMA: the
//! base-2 test, then the Lucas test on what passes (see `mod.rs` for why both are a proof).
//!
//! Unlike `batch_avx512.rs` it knows that there are no small divisors, and leaves the composites packed.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::factor::Factors;
use super::ifma_base_2::base_2_one;
use super::ifma_lucas::lucas_one;
use super::packed_avx512::Parts;

/// Vectors in flight in each test.
const BASE_2_VECTORS: usize = 8;
const LUCAS_VECTORS: usize = 6;

/// What has passed base 2, with the Montgomery form of 1.
#[derive(Debug, Default)]
pub(super) struct Proof {
    passed: Parts,
    /// As many as `passed`, with owners that nobody reads.
    one: Parts,
}

impl Proof {
    /// Adds the primes of `parts` to the records of their owners, and the others to `composites`.
    ///
    /// The parts are odd, without a divisor to 61, and below `ONE_LIMB_LIMIT`.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn sort(&mut self, parts: &mut Parts, composites: &mut Parts, out: &mut [Factors]) {
        self.passed.clear();
        self.one.clear();
        if parts.len() == 0 {
            return;
        }
        parts.pad(BASE_2_VECTORS);
        self.passed.reserve(parts.len());
        self.one.reserve(parts.len());
        composites.reserve(parts.len());
        let mut at = 0;
        while at < parts.len() {
            at += match (parts.len() - at).div_ceil(8) {
                1 => self.base_2::<1>(parts, at, composites),
                2..4 => self.base_2::<2>(parts, at, composites),
                4..BASE_2_VECTORS => self.base_2::<4>(parts, at, composites),
                _ => self.base_2::<BASE_2_VECTORS>(parts, at, composites),
            };
        }
        if self.passed.len() == 0 {
            return;
        }
        self.passed.pad(LUCAS_VECTORS);
        self.one.pad(LUCAS_VECTORS);
        let mut at = 0;
        while at < self.passed.len() {
            at += match (self.passed.len() - at).div_ceil(8) {
                1 => self.lucas::<1>(at, composites, out),
                2..LUCAS_VECTORS => self.lucas::<2>(at, composites, out),
                _ => self.lucas::<LUCAS_VECTORS>(at, composites, out),
            };
        }
    }

    /// Takes V vectors through base 2, and says how many numbers that are.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn base_2<const V: usize>(
        &mut self,
        parts: &Parts,
        at: usize,
        composites: &mut Parts,
    ) -> usize {
        let mut n = [_mm512_setzero_si512(); V];
        for (i, n) in n.iter_mut().enumerate() {
            *n = parts.get(at + 8 * i).0;
        }
        let passed = base_2_one(&n);
        for (i, passed) in passed.iter().enumerate() {
            let (n, owner, valid) = parts.get(at + 8 * i);
            self.passed.push_lanes(passed.mask & valid, n, owner);
            self.one.push_lanes(passed.mask & valid, passed.one, owner);
            composites.push_lanes(!passed.mask & valid, n, owner);
        }
        8 * V
    }

    /// As [`Proof::base_2`], for the Lucas test of what has passed.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn lucas<const V: usize>(
        &mut self,
        at: usize,
        composites: &mut Parts,
        out: &mut [Factors],
    ) -> usize {
        let zero = _mm512_setzero_si512();
        let (mut n, mut one) = ([zero; V], [zero; V]);
        for i in 0..V {
            n[i] = self.passed.get(at + 8 * i).0;
            one[i] = self.one.get(at + 8 * i).0;
        }
        let passed = lucas_one(&n, &one);
        for (i, passed) in passed.iter().enumerate() {
            let (n, owner, valid) = self.passed.get(at + 8 * i);
            composites.push_lanes(!passed & valid, n, owner);
            for (lane, (n, owner)) in self.passed.iter().skip(at + 8 * i).take(8).enumerate() {
                if (passed >> lane) & 1 == 1 {
                    out[owner as usize].push(n, 1);
                }
            }
        }
        8 * V
    }
}
