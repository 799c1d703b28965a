//! The probable-prime test to base 2 on vectors of eight, several vectors in flight.
//!
//! It takes the power (n-1)/2 of 2 and asks for ±1, a test that passes a subset of the Fermat
//! pseudoprimes, which is all that the proof needs (see `mod.rs`). For one limb the power is that of
//! 1/2 in Montgomery form: its last value is then ±R mod n, which spares the Lucas test
//! (`ifma_lucas.rs`) a division. Called by `batch_avx512.rs`.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::{OneLimb, set};
use super::ifma_barrett::{Barrett, Operand, SHIFT_BITS};

/// Lanes that passed base 2, and the Montgomery form of 1 in [0, n] there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) mask: u8,
    pub(super) one: __m512i,
}

/// Base 2 for odd numbers in `[4489, ONE_LIMB_LIMIT)`.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn base_2_one<const V: usize>(n: &[__m512i; V]) -> [Passed; V] {
    let zero = _mm512_setzero_si512();
    let mut all = zero;
    let mut moduli = [OneLimb { n: zero, inverse: zero }; V];
    for i in 0..V {
        moduli[i] = OneLimb::new(n[i]);
        all = _mm512_or_si512(all, n[i]);
    }
    let bits = 63 - _mm512_reduce_or_epi64(all).leading_zeros();
    // The first q is at most 32: five squarings are skipped.
    let steps = bits.saturating_sub(5);
    let mut x = [zero; V];
    let mut rest = [zero; V];
    for i in 0..V {
        let (start, low) = start_of_ladder(n[i], steps);
        x[i] = start;
        rest[i] = low;
        if _mm512_cmpge_epu64_mask(start, n[i]) != 0 {
            x[i] = moduli[i].remainder(start);
        }
    }
    for step in (0..steps).rev() {
        let bit = set(1 << step);
        for i in 0..V {
            let mask = _mm512_test_epi64_mask(rest[i], bit);
            let twice = _mm512_mask_add_epi64(x[i], mask, x[i], x[i]);
            x[i] = moduli[i].mul_add(x[i], twice, n[i]);
        }
    }
    let mut passed = [Passed { mask: 0, one: zero }; V];
    for i in 0..V {
        let m = moduli[i];
        let (plus, minus) = signs(m.negative_plain(x[i]), n[i]);
        let form = m.once_down(x[i]);
        let one = _mm512_mask_sub_epi64(form, minus, n[i], form);
        passed[i] = Passed { mask: plus | minus, one };
    }
    passed
}

/// Base 2 for odd numbers from `ONE_LIMB_LIMIT` on that [`fits`](super::ifma_barrett::fits) has: the
/// lanes that pass.
///
/// The first seven bits of the exponent are a shift, the others are taken four at a time.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn base_2_word<const V: usize>(n: &[__m512i; V]) -> [u8; V] {
    let mut all = n[0];
    let mut moduli = [Barrett::new(n[0]); V];
    for i in 1..V {
        moduli[i] = Barrett::new(n[i]);
        all = _mm512_or_si512(all, n[i]);
    }
    // The exponent (n-1)/2 is one bit shorter than n.
    let bits = 63 - _mm512_reduce_or_epi64(all).leading_zeros();
    let steps = (bits - 7).div_ceil(SHIFT_BITS);
    let digit = |n: __m512i, step: u32| {
        let count = _mm_cvtsi64_si128(i64::from(SHIFT_BITS * step + 1));
        _mm512_srl_epi64(n, count)
    };
    let mut x = *n;
    for i in 0..V {
        x[i] = moduli[i].power_of_two(digit(n[i], steps));
    }
    for step in (0..steps).rev() {
        for _ in 1..SHIFT_BITS {
            for i in 0..V {
                x[i] = moduli[i].square(Operand::new(x[i]));
            }
        }
        for i in 0..V {
            let digit = _mm512_and_si512(digit(n[i], step), set((1 << SHIFT_BITS) - 1));
            x[i] = moduli[i].square_shifted(Operand::new(x[i]), digit);
        }
    }
    let mut passed = [0; V];
    for i in 0..V {
        let (plus, minus) = signs(moduli[i].remainder(x[i], n[i]), n[i]);
        passed[i] = plus | minus;
    }
    passed
}

/// With q = ceil(e / 2^steps) for e = (n-1)/2: the start 2^(52-q), and the bits of the ladder,
/// q·2^steps - e.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn start_of_ladder(n: __m512i, steps: u32) -> (__m512i, __m512i) {
    let one = set(1);
    let count = _mm_cvtsi64_si128(i64::from(steps));
    let e = _mm512_srli_epi64::<1>(n);
    let q = _mm512_add_epi64(_mm512_srl_epi64(_mm512_sub_epi64(e, one), count), one);
    let rest = _mm512_sub_epi64(_mm512_sll_epi64(q, count), e);
    (_mm512_sllv_epi64(one, _mm512_sub_epi64(set(52), q)), rest)
}

/// The lanes whose value in [0, n) has the negative 1, and those where it is 1.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn signs(negative: __m512i, n: __m512i) -> (u8, u8) {
    let one = set(1);
    (
        _mm512_cmpeq_epi64_mask(negative, _mm512_sub_epi64(n, one)),
        _mm512_cmpeq_epi64_mask(negative, one),
    )
}
