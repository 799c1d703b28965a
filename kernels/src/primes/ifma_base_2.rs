//! The probable-prime test to base 2 on vectors of eight, several vectors in flight.
//!
//! It takes the power (n-1)/2 of 1/2 and asks for ±1, a test that passes a subset of the Fermat
//! pseudoprimes, which is all that the proof needs (see `mod.rs`). Its last value is then ±R mod n,
//! which spares the Lucas test (`ifma_lucas.rs`) a division. Called by `batch_avx512.rs`.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::{OneLimb, Pair, TwoLimbs, carry, set};

/// Lanes that passed base 2, and the Montgomery form of 1 (some form of it, below 2n) there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passed {
    pub(super) mask: u8,
    pub(super) one: Pair,
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
        let (start, low) = start_of_ladder(n[i], steps, 52);
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
    let mut passed = [Passed { mask: 0, one: (zero, zero) }; V];
    for i in 0..V {
        let m = moduli[i];
        let (plus, minus) = signs(m.negative_plain(x[i]), n[i]);
        let form = m.once_down(x[i]);
        let one = _mm512_mask_sub_epi64(form, minus, n[i], form);
        passed[i] = Passed { mask: plus | minus, one: (one, zero) };
    }
    passed
}

/// Base 2 for odd numbers from `ONE_LIMB_LIMIT` on, all of one class with its steps: [`CLASS`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn base_2_two<const V: usize>(n: &[__m512i; V], steps: u32) -> [Passed; V] {
    let zero = _mm512_setzero_si512();
    let mut moduli = [TwoLimbs { low: zero, high: zero, inverse: zero }; V];
    let mut x = [(zero, zero); V];
    let mut rest = [zero; V];
    for i in 0..V {
        moduli[i] = TwoLimbs::new(n[i]);
        let (q, low) = exponent_of_start(n[i], steps);
        rest[i] = low;
        // 2^(104-q) in two limbs; a shift by 64 or more gives 0.
        let one = set(1);
        let low = _mm512_sllv_epi64(one, _mm512_sub_epi64(set(104), q));
        let high = _mm512_sllv_epi64(one, _mm512_sub_epi64(set(52), q));
        let mask = _mm512_cmpgt_epu64_mask(q, set(52));
        x[i] = (_mm512_maskz_mov_epi64(mask, low), _mm512_mask_mov_epi64(high, mask, zero));
    }
    for step in (0..steps).rev() {
        let bit = set(1 << step);
        for i in 0..V {
            let mask = _mm512_test_epi64_mask(rest[i], bit);
            x[i] = moduli[i].square_and_double(x[i], mask);
        }
    }
    let mut passed = [Passed { mask: 0, one: (zero, zero) }; V];
    for i in 0..V {
        let m = moduli[i];
        let (plus, minus) = signs(m.negative_plain(x[i]), n[i]);
        // x is below 4n: 4n - x is its negative.
        let low = _mm512_and_si512(x[i].0, set((1 << 52) - 1));
        let four_low = _mm512_slli_epi64::<2>(m.low);
        let four_high = _mm512_slli_epi64::<2>(m.high);
        let one = carry((
            _mm512_mask_sub_epi64(low, minus, four_low, low),
            _mm512_mask_sub_epi64(x[i].1, minus, four_high, x[i].1),
        ));
        passed[i] = Passed { mask: plus | minus, one };
    }
    passed
}

/// How many size classes the two-limb numbers fall into.
pub(super) const CLASSES: usize = 8;

/// The steps of the ladder for the numbers of each class, and a bound that they lie above.
///
/// With q = ceil(n / 2^(steps + 1)) the ladder starts at 2^(104-q). So q is at most 104; it is at
/// least 27, so that the high limb is below 2^26 and its square one word; and at least
/// 52 - log2(n)/2, so that the square is below n·2^104. A factor of 4 for each class does it,
/// since an odd n above 26·2^k + 1 has q at least 27. A test checks the ends of each class.
pub(super) const CLASS: [(u32, u64); CLASSES] = {
    let mut class = [(43, 0); CLASSES];
    let mut i = 0;
    while i < CLASSES - 1 {
        class[i] = (57 - 2 * i as u32, (26 << (58 - 2 * i)) + 2);
        i += 1;
    }
    class
};

/// `q = ceil(e / 2^steps)` and `q·2^steps - e` for e = (n-1)/2.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn exponent_of_start(n: __m512i, steps: u32) -> Pair {
    let one = set(1);
    let count = _mm_cvtsi64_si128(i64::from(steps));
    let e = _mm512_srli_epi64::<1>(n);
    let q = _mm512_add_epi64(_mm512_srl_epi64(_mm512_sub_epi64(e, one), count), one);
    (q, _mm512_sub_epi64(_mm512_sll_epi64(q, count), e))
}

/// The start 2^(r_bits - q) and the bits of the ladder.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn start_of_ladder(n: __m512i, steps: u32, r_bits: u64) -> Pair {
    let (q, rest) = exponent_of_start(n, steps);
    (_mm512_sllv_epi64(set(1), _mm512_sub_epi64(set(r_bits), q)), rest)
}

/// The lanes whose negated plain value says +1, and those where it says -1.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn signs(negative: __m512i, n: __m512i) -> (u8, u8) {
    let one = set(1);
    (
        _mm512_cmpeq_epi64_mask(negative, _mm512_sub_epi64(n, one)),
        _mm512_cmpeq_epi64_mask(negative, one),
    )
}

#[cfg(test)]
mod tests {
    use super::super::ifma::ONE_LIMB_LIMIT;
    use super::*;

    #[test]
    fn the_ladder_of_each_class_starts_within_its_bounds() {
        let mut above = u64::MAX;
        for (steps, low) in CLASS {
            for n in [low.max(ONE_LIMB_LIMIT) | 1, above] {
                let q = ((n / 2 - 1) >> steps) + 1;
                assert!((27..=104).contains(&q), "{n}: {q}");
                // 2^(208 - 2q) < n·2^104
                assert!(2 * q >= 104 || 1u128 << (104 - 2 * q) < u128::from(n), "{n}: {q}");
            }
            above = low.wrapping_sub(1);
        }
    }
}
