//! The two probable-prime tests on vectors of eight, several vectors in flight.
//!
//! The base-2 test takes the power (n-1)/2 of 1/2 and asks for ±1, a test that passes a subset of
//! the Fermat pseudoprimes, which is all that the proof needs (see `mod.rs`). Its last value is
//! then ±R mod n, which spares the Lucas test a division. Lanes of any size go together, but the
//! number of steps is that of the largest.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::{OneLimb, Pair, TwoLimbs, carry, set};
use super::is_prime::is_rough_prime;
use super::lucas;

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

/// As [`lucas_one`] for any odd u64 without a divisor to 61. `one` is below 4n.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn lucas_two<const V: usize>(n: &[__m512i; V], one: &[Pair; V]) -> [u8; V] {
    let zero = _mm512_setzero_si512();
    let mut moduli = [TwoLimbs { low: zero, high: zero, inverse: zero }; V];
    let (mut minus_p, mut minus_two) = ([(zero, zero); V], [(zero, zero); V]);
    let (mut v, mut w) = ([(zero, zero); V], [(zero, zero); V]);
    let mut found = [Parameters { p: zero, found: 0, prime: 0 }; V];
    let mut size = Size::new();
    for i in 0..V {
        let m = TwoLimbs::new(n[i]);
        let parameters = parameters(n[i]);
        let p = parameters.p;
        found[i] = parameters;
        size.cover(n[i]);
        let one = (_mm512_and_si512(one[i].0, set((1 << 52) - 1)), one[i].1);
        let two = (_mm512_add_epi64(one.0, one.0), _mm512_add_epi64(one.1, one.1));
        // P is below 2^PARAMETER_BITS, so P·one is below 2^(PARAMETER_BITS + 2)·n.
        let form = (_mm512_mullo_epi64(one.0, p), _mm512_mullo_epi64(one.1, p));
        let above = |k: u32, a: Pair| {
            let count = _mm_cvtsi64_si128(i64::from(k));
            let low = _mm512_sub_epi64(_mm512_sll_epi64(m.low, count), a.0);
            let high = _mm512_sub_epi64(_mm512_sll_epi64(m.high, count), a.1);
            let (low, high) = carry((low, high));
            (_mm512_and_si512(low, set((1 << 52) - 1)), high)
        };
        moduli[i] = m;
        // One n more than is needed to stay positive: the product may take n off.
        minus_p[i] = above(PARAMETER_BITS + 3, form);
        minus_two[i] = above(4, two);
        (v[i], w[i]) = (carry(two), carry(form));
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
            let base = select(mask, v[i], w[i]);
            let product = m.mul_add(v[i], w[i], minus_p[i]);
            let square = m.square_add(base, minus_two[i]);
            v[i] = select(mask, square, product);
            w[i] = select(mask, product, square);
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

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn select(mask: __mmask8, clear: Pair, set: Pair) -> Pair {
    (_mm512_mask_mov_epi64(clear.0, mask, set.0), _mm512_mask_mov_epi64(clear.1, mask, set.1))
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

/// The vector test takes parameters of this many bits; a number whose first P is larger (one in
/// 2^30 or so) goes to the portable test.
const PARAMETER_BITS: u32 = 7;

/// The Lucas parameters of eight lanes.
#[derive(Debug, Clone, Copy)]
struct Parameters {
    p: __m512i,
    /// Lanes that have one; the others are decided.
    found: u8,
    /// Lanes decided to be prime by the portable test.
    prime: u8,
}

/// A prime whose character decides one step of the search for P.
#[derive(Debug, Clone, Copy)]
struct Character {
    /// The P that is taken when (D/n) = -1 here.
    parameter: u64,
    prime: u64,
    inverse: u64,
    /// 2^48 modulo the prime.
    fold: u64,
    /// Bit j: a number that leaves class j (see [`parameters`]) is no square modulo the prime.
    non_squares: u64,
}

/// The characters of [`lucas::PARAMETER_PRIMES`]; between the third and the fourth comes 2.
const CHARACTERS: [Character; 8] = {
    let mut all = [Character::new(3, 5); 8];
    let mut i = 0;
    while i < 8 {
        let (parameter, prime) = lucas::PARAMETER_PRIMES[i];
        all[i] = Character::new(parameter, prime);
        i += 1;
    }
    all
};

impl Character {
    const fn new(parameter: u64, prime: u64) -> Character {
        let mut squares = 0u64;
        let mut r = 0;
        while r < prime {
            squares |= 1 << (r * r % prime);
            r += 1;
        }
        let fold52 = (1u64 << 52) % prime;
        let mut non_squares = 0;
        let mut j = 0;
        while j < prime {
            // Class j holds the numbers that are -j·2^52 modulo the prime.
            let residue = (prime - j * fold52 % prime) % prime;
            if (squares >> residue) & 1 == 0 {
                non_squares |= 1 << j;
            }
            j += 1;
        }
        let inverse = super::montgomery::inverse64(prime) & ((1 << 52) - 1);
        Character { parameter, prime, inverse, fold: (1u64 << 48) % prime, non_squares }
    }
}

/// The Lucas parameter of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn parameters(n: __m512i) -> Parameters {
    let zero = _mm512_setzero_si512();
    let low = _mm512_and_si512(n, set((1 << 48) - 1));
    let high = _mm512_srli_epi64::<48>(n);
    let three_mod_four = _mm512_test_epi64_mask(n, set(2));
    let mut open: u8 = 0xff;
    let mut p = zero;
    for (i, c) in CHARACTERS.iter().enumerate() {
        if i == 3 {
            // P = 6: (32/n) = (2/n) is -1 for n = 3, 5 modulo 8, where bits 1 and 2 differ.
            let shifted = _mm512_xor_si512(n, _mm512_srli_epi64::<1>(n));
            let here = open & _mm512_test_epi64_mask(shifted, set(2));
            p = _mm512_mask_mov_epi64(p, here, set(6));
            open &= !here;
        }
        let folded = _mm512_madd52lo_epu64(low, high, set(c.fold));
        let quotient = _mm512_madd52lo_epu64(zero, folded, set(c.inverse));
        let class = _mm512_madd52hi_epu64(zero, quotient, set(c.prime));
        let bit = _mm512_srlv_epi64(set(c.non_squares), class);
        let mut minus = _mm512_test_epi64_mask(bit, set(1));
        if c.prime % 4 == 3 {
            minus ^= three_mod_four;
        }
        let here = open & minus;
        p = _mm512_mask_mov_epi64(p, here, set(c.parameter));
        open &= !here;
    }
    let decided = Parameters { p, found: 0xff, prime: 0 };
    if open == 0 { decided } else { search(n, decided, open) }
}

/// The search for the lanes in `open`, one in 512, one by one.
#[cold]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn search(n: __m512i, mut parameters: Parameters, open: u8) -> Parameters {
    for lane in (0..8).filter(|lane| (open >> lane) & 1 == 1) {
        let this = 1u8 << lane;
        let number = _mm512_mask_reduce_or_epi64(this, n) as u64;
        match lucas::parameter(number) {
            Some(value) if value < 1 << PARAMETER_BITS => {
                parameters.p = _mm512_mask_mov_epi64(parameters.p, this, set(value));
            }
            parameter => {
                parameters.found &= !this;
                let prime = parameter.is_some() && is_rough_prime(number);
                parameters.prime |= if prime { this } else { 0 };
            }
        }
    }
    parameters
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
