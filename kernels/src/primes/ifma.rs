//! Montgomery products on eight lanes at once with the 52-bit multiply-add of AVX-512 IFMA.
//!
//! Two sizes of modulus: one limb (R = 2^52) below [`ONE_LIMB_LIMIT`], two limbs (R = 2^104) for
//! every odd u64. Values are not reduced to `[0, n)`; each function states the range it needs and
//! gives. Nothing here branches, so a caller that keeps several vectors in flight hides the latency.
//!
//! The multiplier reads the low 52 bits of each lane. Two-limb values use that: their low limb may
//! carry rubbish above bit 52 that has already been added to the high limb.

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

/// Eight odd moduli of 64 bits in limbs of 52, with their inverses modulo 2^52.
#[derive(Debug, Clone, Copy)]
pub(super) struct TwoLimbs {
    pub(super) low: __m512i,
    pub(super) high: __m512i,
    pub(super) inverse: __m512i,
}

/// A two-limb value in each lane.
pub(super) type Pair = (__m512i, __m512i);

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

impl TwoLimbs {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new(n: __m512i) -> TwoLimbs {
        let low = _mm512_and_si512(n, set((1 << 52) - 1));
        TwoLimbs { low, high: _mm512_srli_epi64::<52>(n), inverse: inverse52(n) }
    }

    /// `plus + a·b/R - q` with q below n, limbs not carried. For a, b below 2^78 and plus at least
    /// n it is above 0, and below plus + 1 + a·b/R.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn mul_add_raw(self, a: Pair, b: Pair, plus: Pair) -> Pair {
        let zero = _mm512_setzero_si512();
        let t0 = _mm512_madd52lo_epu64(zero, a.0, b.0);
        let t1 = _mm512_madd52hi_epu64(zero, a.0, b.0);
        let t1 = _mm512_madd52lo_epu64(t1, a.0, b.1);
        let t1 = _mm512_madd52lo_epu64(t1, a.1, b.0);
        let t2 = _mm512_madd52hi_epu64(plus.0, a.0, b.1);
        let t2 = _mm512_madd52hi_epu64(t2, a.1, b.0);
        let t2 = _mm512_madd52lo_epu64(t2, a.1, b.1);
        self.reduce(t0, t1, (t2, plus.1))
    }

    /// As `mul_add_raw` for a = b, in five products in place of seven.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn square_add_raw(self, a: Pair, plus: Pair) -> Pair {
        let zero = _mm512_setzero_si512();
        let twice = _mm512_add_epi64(a.1, a.1);
        let t0 = _mm512_madd52lo_epu64(zero, a.0, a.0);
        let t1 = _mm512_madd52hi_epu64(zero, a.0, a.0);
        let t1 = _mm512_madd52lo_epu64(t1, a.0, twice);
        let t2 = _mm512_madd52hi_epu64(plus.0, a.0, twice);
        let t2 = _mm512_madd52lo_epu64(t2, a.1, a.1);
        self.reduce(t0, t1, (t2, plus.1))
    }

    /// Takes off two limbs by multiples of n. The multiples agree with what they take off in the
    /// low 52 bits exactly, so no carry comes out of those.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn reduce(self, t0: __m512i, t1: __m512i, high: Pair) -> Pair {
        let zero = _mm512_setzero_si512();
        let q0 = _mm512_madd52lo_epu64(zero, t0, self.inverse);
        let u1 = _mm512_madd52hi_epu64(zero, q0, self.low);
        let u1 = _mm512_madd52lo_epu64(u1, q0, self.high);
        let u2 = _mm512_madd52hi_epu64(zero, q0, self.high);
        let s1 = _mm512_sub_epi64(t1, u1);
        let q1 = _mm512_madd52lo_epu64(zero, s1, self.inverse);
        let u2 = _mm512_madd52hi_epu64(u2, q1, self.low);
        let u2 = _mm512_madd52lo_epu64(u2, q1, self.high);
        let u3 = _mm512_madd52hi_epu64(zero, q1, self.high);
        let carried = _mm512_add_epi64(high.0, _mm512_srai_epi64::<52>(s1));
        (_mm512_sub_epi64(carried, u2), _mm512_sub_epi64(high.1, u3))
    }

    /// `-a/R mod n` in `[0, n)`: the negative of the plain number of `a`, as 64 bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negative_plain(self, a: Pair) -> __m512i {
        let zero = _mm512_setzero_si512();
        let (low, high) = self.reduce(a.0, a.1, (zero, zero));
        _mm512_sub_epi64(zero, join((low, high)))
    }
}

/// Adds what the low limb holds above 52 bits to the high limb; the low limb keeps it as rubbish.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn carry((low, high): Pair) -> Pair {
    (low, _mm512_add_epi64(high, _mm512_srai_epi64::<52>(low)))
}

/// The value of uncarried limbs modulo 2^64.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn join((low, high): Pair) -> __m512i {
    _mm512_add_epi64(low, _mm512_slli_epi64::<52>(high))
}
