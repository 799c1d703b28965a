//! Montgomery products on eight lanes at once with the 52-bit multiply-add of AVX-512 IFMA, for
//! moduli of one limb (R = 2^52) below [`ONE_LIMB_LIMIT`]; larger ones are for `ifma_barrett.rs`.
//!
//! Values are not reduced to `[0, n)`; each function states the range it needs and gives. Nothing
//! here branches, so a caller that keeps several vectors in flight hides the latency.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

/// Below this (2^52 / 9) products of values up to 3n stay below n·2^52.
pub(super) const ONE_LIMB_LIMIT: u64 = (1 << 52) / 9;

/// Eight odd one-limb moduli with their inverses modulo 2^52.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneLimb {
    pub(super) n: __m512i,
    pub(super) inverse: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn set(x: u64) -> __m512i {
    _mm512_set1_epi64(x as i64)
}

/// The inverse of eight odd numbers modulo 2^52; bits above may be set.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn inverse52(n: __m512i) -> __m512i {
    let zero = _mm512_setzero_si512();
    let two = set(2);
    let mut x = _mm512_xor_si512(_mm512_add_epi64(n, _mm512_add_epi64(n, n)), two);
    for _ in 0..4 {
        let product = _mm512_madd52lo_epu64(zero, n, x);
        x = _mm512_madd52lo_epu64(zero, x, _mm512_sub_epi64(two, product));
    }
    x
}

impl OneLimb {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new(n: __m512i) -> OneLimb {
        OneLimb { n, inverse: inverse52(n) }
    }

    /// `plus + a·b/R - q` with q below n, so modulo n it is `a·b/R + plus`. With a·b below n·R the
    /// result is above `plus - n` and below `plus + n`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn mul_add(self, a: __m512i, b: __m512i, plus: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let low = _mm512_madd52lo_epu64(zero, a, b);
        let high = _mm512_madd52hi_epu64(plus, a, b);
        let q = _mm512_madd52lo_epu64(zero, low, self.inverse);
        _mm512_sub_epi64(high, _mm512_madd52hi_epu64(zero, q, self.n))
    }

    /// `-a/R mod n` in `[0, n)` for a below 2^52: the negative of the plain number of `a`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negative_plain(self, a: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let q = _mm512_madd52lo_epu64(zero, a, self.inverse);
        _mm512_madd52hi_epu64(zero, q, self.n)
    }

    /// `[0, 2n)` to `[0, n)`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn once_down(self, a: __m512i) -> __m512i {
        _mm512_min_epu64(a, _mm512_sub_epi64(a, self.n))
    }

    /// `x mod n` for x below 2^52 by one division of doubles.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn remainder(self, x: __m512i) -> __m512i {
        let quotient = _mm512_div_pd(_mm512_cvtepu64_pd(x), _mm512_cvtepu64_pd(self.n));
        // Rounding can only take the quotient up to the next integer: then x - q·n is negative.
        let q = _mm512_cvttpd_epu64(quotient);
        let r = _mm512_sub_epi64(x, _mm512_mullo_epi64(q, self.n));
        _mm512_min_epu64(r, _mm512_add_epi64(r, self.n))
    }
}
