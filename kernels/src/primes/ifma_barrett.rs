//! Products modulo eight numbers of 64 bits, one word a lane, by Barrett's method: the 52-bit
//! multiply-add of AVX-512 IFMA gives the quotient, and the remainder is a difference of low words.
//!
//! ```text
//! N = n·2^z in [2^63, 2^64)      w = 2^167/N < 2^104, in two limbs      T = floor(ab/2^24)·w/2^104
//! q = T/2^39 ~ ab/N              ab mod N ~ lo64(ab) - lo64(q·N)
//! ```
//! Residues are plain numbers, any word is a legal operand, and all is modulo N until
//! [`Barrett::remainder`]. A squaring takes nine operations of the multiplier, a product ten. Nothing
//! branches, so a caller that keeps several vectors in flight hides the latency.
//!
//! # Bounds
//! In units of T, in which one more in q is 2^39, what is computed is below the true T by less than
//! [`LOSS`]: 3 because ab/2^24 is cut off twice where its limbs cross and once at the end, 3 for the
//! three parts of its product with w that are cut off, and 12 for w itself (see [`Barrett::new`]). So
//! q is `floor(ab/N - d)` with 0 <= d < 18/2^39, and the remainder lies in [0, N + N·d), N·d < 2^30.
//! With the product shifted up by e < 16 bits d is 2^e times as much, and N·d < 2^45: hence
//! [`LARGEST_MODULUS`].
//!
//! P. Barrett, "Implementing the Rivest Shamir and Adleman public key encryption algorithm on a
//! standard digital signal processor", CRYPTO '86.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::set;

/// Up to this N all remainders are words. Of all n one in 2^20 has a larger one: those closer
/// below a power of two than one part in 2^19.
pub(super) const LARGEST_MODULUS: u64 = u64::MAX - (1 << 45) + 1;

/// The most by which the computed T is too low.
const LOSS: u64 = 18;

/// Bits that [`Barrett::square_shifted`] takes.
pub(super) const SHIFT_BITS: u32 = 4;

/// Eight moduli in [2^48, 2^64), with N and the limbs of 2^167/N.
#[derive(Debug, Clone, Copy)]
pub(super) struct Barrett {
    /// N, the multiple of n that all is modulo.
    pub(super) modulus: __m512i,
    high: __m512i,
    low: __m512i,
}

/// A word as the multiplier reads it: the upper 52 bits, and the lower 12 at the top of 52.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    word: __m512i,
    upper: __m512i,
    lower: __m512i,
}

impl Operand {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new(word: __m512i) -> Operand {
        // The multiplier reads 52 bits, so nothing need be masked off.
        let (upper, lower) = (_mm512_srli_epi64::<12>(word), _mm512_slli_epi64::<40>(word));
        Operand { word, upper, lower }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn select(mask: __mmask8, clear: Operand, set: Operand) -> Operand {
        Operand {
            word: _mm512_mask_mov_epi64(clear.word, mask, set.word),
            upper: _mm512_mask_mov_epi64(clear.upper, mask, set.upper),
            lower: _mm512_mask_mov_epi64(clear.lower, mask, set.lower),
        }
    }
}

/// What makes up the quotient: `high·2^52 + low` is T.
type Scaled = (__m512i, __m512i);

/// The leading zeros of each lane, for lanes from 2^11 on.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn leading_zeros(n: __m512i) -> __m512i {
    // What is left of 64 bits without the last 11 is exact as a double.
    let double = _mm512_cvtepu64_pd(_mm512_srli_epi64::<11>(n));
    _mm512_sub_epi64(set(1023 + 52), _mm512_srli_epi64::<52>(_mm512_castpd_si512(double)))
}

/// The lanes whose N is at most [`LARGEST_MODULUS`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn fits(n: __m512i) -> __mmask8 {
    _mm512_cmple_epu64_mask(_mm512_sllv_epi64(n, leading_zeros(n)), set(LARGEST_MODULUS))
}

impl Barrett {
    /// For n from 2^48 on that are no powers of two.
    ///
    /// w is found below the truth by less than 12 and never above it. `1/N` as a double is off by
    /// one part in 2^52, so the rounded 2^115/N is by at most 1.5, and the remainder of that is
    /// below 1.5·N in absolute value. N is split so that the first of two fused steps is a multiple
    /// of 2^12 below 2^66, off by 2^12 at most, and the second one rounds by 2^11 at most: 3 units of
    /// w. Division by N costs 1.5 (a part in 2^52 of a number below 1.5·2^52) and roundings 1: less
    /// than 6, which are taken off. As N is above 2^63, w is below 2^104.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new(n: __m512i) -> Barrett {
        let modulus = _mm512_sllv_epi64(n, leading_zeros(n));
        let last = _mm512_and_si512(modulus, set((1 << 12) - 1));
        let first = _mm512_cvtepu64_pd(_mm512_sub_epi64(modulus, last));
        let last = _mm512_cvtepu64_pd(last);
        let power = _mm512_set1_pd((1u128 << 115) as f64);
        let inverse = _mm512_div_pd(_mm512_set1_pd(1.0), _mm512_cvtepu64_pd(modulus));
        let high = _mm512_cvtpd_epu64(_mm512_mul_pd(power, inverse));
        let quotient = _mm512_cvtepu64_pd(high);
        let rest = _mm512_fnmadd_pd(quotient, first, power);
        let rest = _mm512_fnmadd_pd(quotient, last, rest);
        let limb = _mm512_set1_pd((1u64 << 52) as f64);
        let low = _mm512_cvtpd_epi64(_mm512_mul_pd(rest, _mm512_mul_pd(inverse, limb)));
        let low = _mm512_sub_epi64(low, set(6));
        Barrett {
            modulus,
            high: _mm512_add_epi64(high, _mm512_srai_epi64::<52>(low)),
            low: _mm512_and_si512(low, set((1 << 52) - 1)),
        }
    }

    /// `2^t mod N`, in [0, N + 2^30), for t up to 127.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn power_of_two(self, t: __m512i) -> __m512i {
        // Shifts by 64 or more give 0: below 2^64 the quotient is, above it the word of 2^t.
        let quotient =
            _mm512_or_si512(_mm512_slli_epi64::<12>(self.high), _mm512_srli_epi64::<40>(self.low));
        let quotient = _mm512_srlv_epi64(quotient, _mm512_sub_epi64(set(127), t));
        let power = _mm512_sllv_epi64(set(1), t);
        _mm512_sub_epi64(power, _mm512_mullo_epi64(quotient, self.modulus))
    }

    /// `ab mod N`, in [0, N + 2^30).
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn mul(self, a: Operand, b: Operand) -> __m512i {
        let q = quotient(self.scaled_product(a, b, _mm512_setzero_si512()));
        let product = _mm512_mullo_epi64(a.word, b.word);
        _mm512_sub_epi64(product, _mm512_mullo_epi64(q, self.modulus))
    }

    /// `a² mod N`, in [0, N + 2^30).
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn square(self, a: Operand) -> __m512i {
        let q = quotient(self.scaled_square(a, _mm512_setzero_si512()));
        let square = _mm512_mullo_epi64(a.word, a.word);
        _mm512_sub_epi64(square, _mm512_mullo_epi64(q, self.modulus))
    }

    /// `2^e·a² mod N`, in [0, N + 2^45), for e below 16.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn square_shifted(self, a: Operand, e: __m512i) -> __m512i {
        let (high, low) = self.scaled_square(a, _mm512_setzero_si512());
        let q = _mm512_add_epi64(
            _mm512_sllv_epi64(high, _mm512_add_epi64(e, set(13))),
            _mm512_srlv_epi64(low, _mm512_sub_epi64(set(39), e)),
        );
        let square = _mm512_sllv_epi64(_mm512_mullo_epi64(a.word, a.word), e);
        _mm512_sub_epi64(square, _mm512_mullo_epi64(q, self.modulus))
    }

    /// `c - ab mod N`, in (c, c + N + 2^30), given `c + N` modulo 2^64.
    ///
    /// T is made too high in place of too low, so that `q + 1` is above ab/N.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus_product(self, a: Operand, b: Operand, plus: __m512i) -> __m512i {
        let q = quotient(self.scaled_product(a, b, set(LOSS)));
        let rest = _mm512_sub_epi64(plus, _mm512_mullo_epi64(a.word, b.word));
        _mm512_add_epi64(rest, _mm512_mullo_epi64(q, self.modulus))
    }

    /// As `minus_product` for a = b.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus_square(self, a: Operand, plus: __m512i) -> __m512i {
        let q = quotient(self.scaled_square(a, set(LOSS)));
        let rest = _mm512_sub_epi64(plus, _mm512_mullo_epi64(a.word, a.word));
        _mm512_add_epi64(rest, _mm512_mullo_epi64(q, self.modulus))
    }

    /// `a mod n`, in [0, n), for any word; n is that of `new`.
    ///
    /// `floor(a/2^12)·high/2^103` is below a/N by less than 3/2^51, so `2^z` times it, z at most 15,
    /// is a/n cut off or one less.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn remainder(self, a: __m512i, n: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let scaled = _mm512_madd52hi_epu64(zero, _mm512_srli_epi64::<12>(a), self.high);
        let q = _mm512_srlv_epi64(scaled, _mm512_sub_epi64(set(51), leading_zeros(n)));
        let r = _mm512_sub_epi64(a, _mm512_mullo_epi64(q, n));
        _mm512_min_epu64(r, _mm512_sub_epi64(r, n))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn scaled_product(self, a: Operand, b: Operand, start: __m512i) -> Scaled {
        let zero = _mm512_setzero_si512();
        let cross = _mm512_madd52hi_epu64(zero, a.upper, b.lower);
        let cross = _mm512_madd52hi_epu64(cross, b.upper, a.lower);
        let middle = _mm512_madd52lo_epu64(cross, a.upper, b.upper);
        let carried = _mm512_srli_epi64::<52>(middle);
        self.scaled(_mm512_madd52hi_epu64(carried, a.upper, b.upper), middle, start)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn scaled_square(self, a: Operand, start: __m512i) -> Scaled {
        let cross = _mm512_madd52hi_epu64(_mm512_setzero_si512(), a.upper, a.lower);
        let cross = _mm512_add_epi64(cross, cross);
        let middle = _mm512_madd52lo_epu64(cross, a.upper, a.upper);
        let carried = _mm512_srli_epi64::<52>(middle);
        self.scaled(_mm512_madd52hi_epu64(carried, a.upper, a.upper), middle, start)
    }

    /// Multiplies ab/2^24, of which `middle` is the lower limb with rubbish above it, by w.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn scaled(self, upper: __m512i, middle: __m512i, start: __m512i) -> Scaled {
        let high = _mm512_madd52hi_epu64(_mm512_setzero_si512(), upper, self.high);
        let low = _mm512_madd52hi_epu64(start, middle, self.high);
        let low = _mm512_madd52lo_epu64(low, upper, self.high);
        (high, _mm512_madd52hi_epu64(low, upper, self.low))
    }
}

/// `T / 2^39` modulo 2^64.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn quotient((high, low): Scaled) -> __m512i {
    _mm512_add_epi64(_mm512_slli_epi64::<13>(high), _mm512_srli_epi64::<39>(low))
}
