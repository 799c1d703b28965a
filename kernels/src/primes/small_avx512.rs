//! Factors of parts below 2^41 without small divisors, with AVX-512 IFMA.
//!
//! ```text
//! parts -> base 2, Lucas -> composites -> p - 1 -> Hart's method -> what is hard, for curves
//!   ^ \-> primes                            \         /
//!    \---------------------------- divisors of both, checked
//! ```
//! Every arrow packs vectors, and every number of a list goes through the same instructions.

use std::arch::x86_64::*;

use super::divide_avx512::PRIME_BELOW;
use super::factor::Factors;
use super::ifma::set;
use super::packed_avx512::Parts;
use super::proof_avx512::Proof;
use super::{hart_avx512, p_minus_1_avx512};

/// The methods are for numbers below this.
pub(super) const BELOW: u64 = 1 << 41;

const _: () = assert!(PRIME_BELOW >= 1 << 20, "the least number that p - 1 takes");

/// Vectors that go together through p - 1 and through common divisors.
const VECTORS: usize = p_minus_1_avx512::VECTORS;
const LANES: usize = 8 * VECTORS;

/// The lists between the stages, kept for their room.
#[derive(Debug, Default)]
pub(super) struct Small {
    /// Odd parts from [`PRIME_BELOW`] on and below [`BELOW`], without a divisor that trial division
    /// finds, and the numbers that they are of.
    pub(super) open: Parts,
    proof: Proof,
    composites: Parts,
    unsplit: Parts,
    candidates: Values,
    split: Values,
}

/// Numbers, each with a value that has something to do with it.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) n: Parts,
    /// As many, with the same owners.
    pub(super) value: Parts,
}

impl Values {
    fn clear(&mut self) {
        self.n.clear();
        self.value.clear();
    }

    /// Makes room for `more` entries.
    pub(super) fn reserve(&mut self, more: usize) {
        self.n.reserve(more);
        self.value.reserve(more);
    }

    /// Appends the lanes of `mask`; there is room.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn push(&mut self, mask: u8, n: __m512i, value: __m512i, owner: __m256i) {
        self.n.push_lanes(mask, n, owner);
        self.value.push_lanes(mask, value, owner);
    }
}

impl Small {
    /// Puts the primes of all parts in `open` into the records of their owners, except for the
    /// composites that are left to others: `hard(n, owner)` gets these.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn factor(&mut self, out: &mut [Factors], mut hard: impl FnMut(u64, u32)) {
        while self.open.len() > 0 {
            self.composites.clear();
            self.proof.sort(&mut self.open, &mut self.composites, out);
            self.open.clear();
            self.split_composites();
            self.unsplit.iter().for_each(|(n, owner)| hard(n, owner));
            self.open.reserve(2 * self.split.n.len());
            for ((n, owner), (p, _)) in self.split.n.iter().zip(self.split.value.iter()) {
                for part in [p, n / p] {
                    if part < PRIME_BELOW {
                        out[owner as usize].push(part, 1);
                    } else {
                        self.open.push(part, owner);
                    }
                }
            }
        }
    }

    /// Divides `composites` into those of `split`, with a proper divisor each, and those of
    /// `unsplit`.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn split_composites(&mut self) {
        let count = self.composites.len();
        self.split.clear();
        self.split.reserve(count);
        self.unsplit.clear();
        self.unsplit.reserve(count);
        self.candidates.clear();
        self.candidates.reserve(count);
        self.composites.pad(VECTORS);
        for at in (0..count).step_by(LANES) {
            let n = vectors(&self.composites, at);
            let values = p_minus_1_avx512::values(&n);
            sort_out(&self.composites, at, &values, &mut self.split, &mut self.unsplit);
        }
        hart_avx512::search(&mut self.unsplit, &mut self.candidates);
        let Values { n, value } = &mut self.candidates;
        n.pad(VECTORS);
        value.pad(VECTORS);
        for at in (0..n.len()).step_by(LANES) {
            let values = vectors(value, at);
            sort_out(n, at, &values, &mut self.split, &mut self.unsplit);
        }
    }
}

/// The numbers from `at` on; the list is padded.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn vectors(parts: &Parts, at: usize) -> [__m512i; VECTORS] {
    let mut n = [_mm512_setzero_si512(); VECTORS];
    for (i, n) in n.iter_mut().enumerate() {
        *n = parts.get(at + 8 * i).0;
    }
    n
}

/// Moves the numbers from `at` on to `split` where the values give a proper divisor, and to
/// `unsplit` where not.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn sort_out(
    parts: &Parts,
    at: usize,
    values: &[__m512i; VECTORS],
    split: &mut Values,
    unsplit: &mut Parts,
) {
    let divisors = common_divisors(values, &vectors(parts, at));
    for (i, &divisor) in divisors.iter().enumerate() {
        let (n, owner, valid) = parts.get(at + 8 * i);
        let proper =
            _mm512_cmpneq_epi64_mask(divisor, n) & _mm512_cmpneq_epi64_mask(divisor, set(1));
        split.push(proper & valid, n, divisor, owner);
        unsplit.push_lanes(!proper & valid, n, owner);
    }
}

/// The greatest common divisors of values below 2^62 and odd numbers, by the binary method.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn common_divisors(values: &[__m512i; VECTORS], n: &[__m512i; VECTORS]) -> [__m512i; VECTORS] {
    let zero = _mm512_setzero_si512();
    let (mut a, mut b) = (*values, *n);
    loop {
        let mut open = 0;
        for i in 0..VECTORS {
            let there = _mm512_test_epi64_mask(a[i], a[i]);
            open |= there;
            // a ^ -a is -2^(t+1) for t trailing zeros. The upper 12 bits of that as a double are
            // 2048 + 1023 + t + 1, which is t modulo 64; of 0 they are 0.
            let power = _mm512_xor_si512(a[i], _mm512_sub_epi64(zero, a[i]));
            let upper = _mm512_castpd_si512(_mm512_cvtepi64_pd(power));
            let odd = _mm512_rorv_epi64(a[i], _mm512_srli_epi64::<52>(upper));
            let difference = _mm512_sub_epi64(odd, b[i]);
            b[i] = _mm512_mask_min_epu64(b[i], there, odd, b[i]);
            a[i] = _mm512_maskz_abs_epi64(there, difference);
        }
        if open == 0 {
            return b;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arithmetic::gcd;
    use super::super::is_prime::is_prime;
    use super::super::packed_avx512::{load, store};
    use super::*;
    use crate::isa::Isa;

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn divisors_of(values: &[u64; LANES], n: &[u64; LANES]) -> [u64; LANES] {
        let vectors = |from: &[u64; LANES]| {
            let mut to = [_mm512_setzero_si512(); VECTORS];
            for (to, from) in to.iter_mut().zip(from.as_chunks::<8>().0) {
                *to = load(from);
            }
            to
        };
        let mut divisors = [0; LANES];
        let found = common_divisors(&vectors(values), &vectors(n));
        for (to, &from) in divisors.as_chunks_mut::<8>().0.iter_mut().zip(&found) {
            store(to, from);
        }
        divisors
    }

    #[test]
    fn common_divisors_are_those_of_the_reference() {
        if !Isa::Avx512.is_available() {
            return eprintln!("skipped: no AVX-512");
        }
        let mut draw = 1u64;
        for round in 0..2000 {
            let mut next = || {
                draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (draw >> 2) >> (round % 62)
            };
            let mut values: [u64; LANES] = std::array::from_fn(|_| next());
            let mut n: [u64; LANES] = std::array::from_fn(|_| next() | 1);
            (values[0], values[1], values[2]) = (0, 1, 1 << 61);
            (n[3], n[4], values[5]) = (1, values[4] | 1, n[5]);
            // SAFETY: the CPU has what the function asks for, as was checked.
            let divisors = unsafe { divisors_of(&values, &n) };
            for lane in 0..LANES {
                assert_eq!(
                    divisors[lane],
                    gcd(values[lane], n[lane]),
                    "{} {}",
                    values[lane],
                    n[lane]
                );
            }
        }
    }

    /// Factors the numbers in one go, and says what was left.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn factored(n: &[u64]) -> (Vec<Factors>, Vec<u64>) {
        let mut out = vec![Factors::NONE; n.len()];
        let mut small = Small::default();
        small.open.reserve(n.len());
        for (i, &n) in n.iter().enumerate() {
            small.open.push(n, i as u32);
        }
        let mut left = vec![1; n.len()];
        small.factor(&mut out, |n, owner| left[owner as usize] *= n);
        (out, left)
    }

    #[test]
    fn parts_at_both_ends_of_the_range_are_factored() {
        if !Isa::Avx512.is_available() {
            return eprintln!("skipped: no AVX-512");
        }
        let root = PRIME_BELOW.isqrt();
        let rough = |n: &u64| n % 2 == 1 && (3..root).step_by(2).all(|d| !n.is_multiple_of(d));
        let mut numbers: Vec<u64> = (PRIME_BELOW..PRIME_BELOW + 20_000).filter(rough).collect();
        numbers.extend((BELOW - 20_000..BELOW).filter(rough));
        let primes: Vec<u64> = (root..1 << 20).filter(|&p| is_prime(p)).collect();
        for (i, &p) in primes.iter().enumerate().step_by(7) {
            numbers.push(p * p);
            numbers.push(p * primes[i / 2]);
            let q = primes[primes.len() - 1 - i / 3];
            numbers.push(p * q);
        }
        numbers.extend(primes.windows(3).map(|p| p[0] * p[1] * p[2]));
        numbers.retain(|&n| n < BELOW);
        let composites = numbers.iter().filter(|&&n| !is_prime(n)).count();
        // SAFETY: the CPU has what the function asks for, as was checked.
        let (out, left) = unsafe { factored(&numbers) };
        for ((&n, out), &left) in numbers.iter().zip(&out).zip(&left) {
            assert_eq!(out.product() * left, n);
            assert!(out.iter().all(|(p, _)| is_prime(p)), "{n}");
            assert!(out.prime_factors().is_sorted(), "{n}");
        }
        let hard = left.iter().filter(|&&n| n != 1).count();
        assert!(hard < composites / 4, "{hard} of {composites} are left");
    }
}
