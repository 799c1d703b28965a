//! The almost extra strong Lucas test on vectors of eight, several vectors in flight.
//!
//! The test of `lucas.rs`, for lanes of any size together: the number of steps is that of the
//! largest. Called by `batch_avx512.rs` on what has passed base 2.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::{OneLimb, set};
use super::ifma_barrett::{Barrett, Operand};
use super::ifma_parameters::{PARAMETER_BITS, Parameters, parameters};

/// The almost extra strong Lucas test for odd numbers without a divisor to 61, below
/// `ONE_LIMB_LIMIT`. `one` is the form of 1 in `[0, n]`.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn lucas_one<const V: usize>(n: &[__m512i; V], one: &[__m512i; V]) -> [u8; V] {
    let zero = _mm512_setzero_si512();
    let mut moduli = [OneLimb { n: zero, inverse: zero }; V];
    let (mut minus_p, mut minus_two) = ([zero; V], [zero; V]);
    let (mut v, mut w) = ([zero; V], [zero; V]);
    let mut found = [Parameters { p: zero, found: 0, prime: 0 }; V];
    let mut size = Size::new();
    for i in 0..V {
        let m = OneLimb::new(n[i]);
        let parameters = parameters(n[i]);
        let p = parameters.p;
        found[i] = parameters;
        size.cover(n[i]);
        let one = m.once_down(one[i]);
        let two = m.once_down(_mm512_add_epi64(one, one));
        let mut form = zero;
        for bit in (0..PARAMETER_BITS).rev() {
            form = m.once_down(_mm512_add_epi64(form, form));
            let mask = _mm512_test_epi64_mask(p, set(1 << bit));
            form = m.once_down(_mm512_mask_add_epi64(form, mask, form, one));
        }
        let twice_n = _mm512_add_epi64(n[i], n[i]);
        moduli[i] = m;
        minus_p[i] = _mm512_sub_epi64(twice_n, form);
        minus_two[i] = _mm512_sub_epi64(twice_n, two);
        (v[i], w[i]) = (two, form);
    }
    let mut checks = [Check::new(); V];
    let mut order = [zero; V];
    for i in 0..V {
        checks[i].s = trailing_ones(n[i]);
        order[i] = _mm512_add_epi64(n[i], set(1));
    }
    for step in (1..size.bits()).rev() {
        let bit = set(1 << step);
        for i in 0..V {
            let m = moduli[i];
            let mask = _mm512_test_epi64_mask(order[i], bit);
            let base = _mm512_mask_mov_epi64(v[i], mask, w[i]);
            let product = m.mul_add(v[i], w[i], minus_p[i]);
            let square = m.mul_add(base, base, minus_two[i]);
            v[i] = _mm512_mask_mov_epi64(square, mask, product);
            w[i] = _mm512_mask_mov_epi64(product, mask, square);
        }
        if step <= size.most_trailing() {
            for i in 0..V {
                checks[i].look(step, moduli[i].negative_plain(v[i]), n[i]);
            }
        }
    }
    let mut passed = [0; V];
    for i in 0..V {
        passed[i] = checks[i].passed & found[i].found | found[i].prime;
    }
    passed
}

/// As [`lucas_one`] for numbers from `ONE_LIMB_LIMIT` on that
/// [`fits`](super::ifma_barrett::fits) has.
///
/// The chain is that of -V, plain: -V(2k) = 2 - V(k)² and -V(2k+1) = P - V(k)·V(k+1), which
/// [`Barrett::minus_square`] and [`Barrett::minus_product`] give without a correction.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn lucas_word<const V: usize>(n: &[__m512i; V]) -> [u8; V] {
    let zero = _mm512_setzero_si512();
    let mut size = Size::new();
    for &n in n {
        size.cover(n);
    }
    // A number such as 3·2^62 - 1 is looked at from the first steps on: then nothing is skipped.
    let skip = START_BITS < size.bits().saturating_sub(size.most_trailing());
    let open = size.bits() - if skip { START_BITS } else { 0 };
    let mut moduli = [Barrett::new(n[0]); V];
    let (mut plus_p, mut plus_two) = ([zero; V], [zero; V]);
    let (mut product, mut square, mut turns) = ([zero; V], [zero; V], [zero; V]);
    let mut found = [Parameters { p: zero, found: 0, prime: 0 }; V];
    let mut checks = [Check::new(); V];
    for i in 0..V {
        let m = Barrett::new(n[i]);
        found[i] = parameters(n[i]);
        let order = _mm512_add_epi64(n[i], set(1));
        let (v, w) = start_of_chain(_mm512_srl_epi64(order, count(open)), found[i].p);
        let odd = _mm512_test_epi64_mask(_mm512_srl_epi64(order, count(open)), set(1));
        product[i] = _mm512_sub_epi64(m.modulus, _mm512_mask_mov_epi64(w, odd, v));
        square[i] = _mm512_sub_epi64(m.modulus, _mm512_mask_mov_epi64(v, odd, w));
        plus_p[i] = _mm512_add_epi64(m.modulus, found[i].p);
        plus_two[i] = _mm512_add_epi64(m.modulus, set(2));
        turns[i] = _mm512_xor_si512(order, _mm512_srli_epi64::<1>(order));
        checks[i].s = trailing_ones(n[i]);
        moduli[i] = m;
    }
    for step in (1..open).rev() {
        let bit = set(1 << step);
        for i in 0..V {
            let m = moduli[i];
            // Of V(k) and V(k+1) the product is that of odd index. This bit clear wants V(k), which
            // it is where the bit before was set; this bit set wants V(k+1).
            let turn = _mm512_test_epi64_mask(turns[i], bit);
            let (odd, even) = (Operand::new(product[i]), Operand::new(square[i]));
            let base = Operand::select(turn, even, odd);
            product[i] = m.minus_product(odd, even, plus_p[i]);
            square[i] = m.minus_square(base, plus_two[i]);
        }
        if step <= size.most_trailing() {
            for i in 0..V {
                let set = _mm512_test_epi64_mask(_mm512_add_epi64(n[i], set(1)), bit);
                let v = _mm512_mask_mov_epi64(square[i], set, product[i]);
                checks[i].look(step, moduli[i].remainder(v, n[i]), n[i]);
            }
        }
    }
    let mut passed = [0; V];
    for i in 0..V {
        passed[i] = checks[i].passed & found[i].found | found[i].prime;
    }
    passed
}

/// Bits of n + 1 with which the chain of [`lucas_word`] begins.
const START_BITS: u32 = 3;

/// V(k) and V(k+1) for k below `2^START_BITS`, as they are: V(8) is below P^8 < 2^56.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn start_of_chain(k: __m512i, p: __m512i) -> (__m512i, __m512i) {
    const { assert!(PARAMETER_BITS << START_BITS <= 56) };
    let (mut v, mut w) = (set(2), p);
    for bit in (0..START_BITS).rev() {
        let set_here = _mm512_test_epi64_mask(k, set(1 << bit));
        let base = _mm512_mask_mov_epi64(v, set_here, w);
        let product = _mm512_sub_epi64(_mm512_mullo_epi64(v, w), p);
        let square = _mm512_sub_epi64(_mm512_mullo_epi64(base, base), set(2));
        v = _mm512_mask_mov_epi64(square, set_here, product);
        w = _mm512_mask_mov_epi64(product, set_here, square);
    }
    (v, w)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn count(bits: u32) -> __m128i {
    _mm_cvtsi64_si128(i64::from(bits))
}

/// How long n + 1 is, and by what power of two it is divisible, over all lanes seen.
#[derive(Debug, Clone, Copy)]
struct Size {
    all: u64,
    trailing: u64,
}

impl Size {
    #[inline]
    fn new() -> Size {
        Size { all: 0, trailing: 0 }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn cover(&mut self, n: __m512i) {
        let above = _mm512_add_epi64(n, set(1));
        self.all |= _mm512_reduce_or_epi64(above) as u64;
        // The trailing ones of n are the trailing zeros of n + 1.
        self.trailing |= _mm512_reduce_or_epi64(_mm512_andnot_si512(above, n)) as u64;
    }

    #[inline]
    fn bits(&self) -> u32 {
        64 - self.all.leading_zeros()
    }

    #[inline]
    fn most_trailing(&self) -> u32 {
        64 - self.trailing.leading_zeros()
    }
}

/// The trailing zeros of n + 1 in each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn trailing_ones(n: __m512i) -> __m512i {
    let above = _mm512_add_epi64(n, set(1));
    let lowest = _mm512_and_si512(above, _mm512_sub_epi64(_mm512_setzero_si512(), above));
    // A power of two is exact as a double, and its exponent is the count.
    let exponent = _mm512_srli_epi64::<52>(_mm512_castpd_si512(_mm512_cvtepu64_pd(lowest)));
    _mm512_sub_epi64(exponent, set(1023))
}

/// The end of the Lucas test: V at the odd part of n + 1 is ±2, or a later V but the last is 0.
#[derive(Debug, Clone, Copy)]
struct Check {
    s: __m512i,
    passed: u8,
}

impl Check {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn new() -> Check {
        Check { s: _mm512_setzero_si512(), passed: 0 }
    }

    /// Looks at V of (n+1) >> step, given as the negative of its plain number.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn look(&mut self, step: u32, negative: __m512i, n: __m512i) {
        let here = set(u64::from(step));
        let at_odd_part = _mm512_cmpeq_epi64_mask(self.s, here);
        let two = _mm512_cmpeq_epi64_mask(negative, set(2))
            | _mm512_cmpeq_epi64_mask(negative, _mm512_sub_epi64(n, set(2)));
        self.passed |= at_odd_part & two;
        if step >= 2 {
            let behind = _mm512_cmpge_epu64_mask(self.s, here);
            self.passed |= behind & _mm512_testn_epi64_mask(negative, negative);
        }
    }
}
