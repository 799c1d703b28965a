//! Hart's one-line method on vectors of 16, with AVX-512.
//!
//! For one multiplier k after the other: s = ⌈√(k·n)⌉ and m = s² - k·n; where m is a square t²,
//! n divides (s - t)(s + t). That happens when k = u·v and the factors are nearly as u to v, so
//! multipliers with many divisors come first, each times 4, which makes m a square for pairs
//! u, v of any parity.
//!
//! All numbers see the same multipliers: √k is a constant, and √(k·n) one product of doubles. After
//! some multipliers the numbers that are found are taken out and the others packed again. No
//! answer hangs on the roundings: what is found is checked by a greatest common divisor.
//!
//! Source: W. B. Hart, "A one line factoring algorithm", J. Aust. Math. Soc. 92 (2012).

#![forbid(unsafe_code)]

use std::arch::x86_64::*;
use std::cmp::Reverse;
use std::sync::LazyLock;

use super::packed_avx512::Parts;
use super::small_avx512::{BELOW, Values};

/// Bound of the multipliers before they are taken times 4.
const LIMIT: u32 = 1 << 17;

const _: () = assert!(4 * LIMIT as u64 * BELOW <= 1 << 60, "s is below 2^31, and m below 2^32");

/// How many multipliers there are. Few numbers are left then, and curves find their divisors sooner.
const COUNT: usize = 512;

/// Multipliers between two packings.
const PASS: usize = 32;

/// A multiplier and its root.
#[derive(Debug, Clone, Copy)]
struct Multiplier {
    k: i32,
    root: f64,
}

static MULTIPLIERS: LazyLock<Vec<Multiplier>> = LazyLock::new(|| {
    // Nearly all numbers with so many divisors are multiples of 12: the others are left out, which
    // spares each process that comes here a millisecond.
    let mut all: Vec<(u32, u32)> =
        (12..LIMIT).step_by(12).map(|k| (divisors_by_small_primes(k), k)).collect();
    all.sort_unstable_by_key(|&(divisors, k)| (Reverse(divisors), k));
    all.truncate(COUNT);
    let times_4 =
        |&(_, k): &(u32, u32)| Multiplier { k: 4 * k as i32, root: f64::from(4 * k).sqrt() };
    all.iter().map(times_4).collect()
});

/// How many divisors `k` has, as if what the primes below 24 leave were a prime or 1.
fn divisors_by_small_primes(mut k: u32) -> u32 {
    let mut divisors = 1;
    for p in [2, 3, 5, 7, 11, 13, 17, 19, 23] {
        let mut exponent = 0;
        while k.is_multiple_of(p) {
            k /= p;
            exponent += 1;
        }
        divisors *= exponent + 1;
    }
    if k == 1 { divisors } else { 2 * divisors }
}

/// Moves numbers that the method splits to `candidates`; the others stay.
///
/// The numbers are odd composites below [`BELOW`]; `candidates` has room for all of them.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn search(numbers: &mut Parts, candidates: &mut Values) {
    for multipliers in MULTIPLIERS.chunks(PASS) {
        if numbers.len() == 0 {
            return;
        }
        numbers.pad(2);
        let mut kept = 0;
        for at in (0..numbers.len()).step_by(16) {
            let low = numbers.get(at);
            let high = numbers.get(at + 8);
            let (found, values) = pass(low.0, high.0, multipliers);
            let values = (
                _mm512_cvtepu32_epi64(_mm512_castsi512_si256(values)),
                _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64::<1>(values)),
            );
            for ((n, owner, valid), value, found) in
                [(low, values.0, found as u8), (high, values.1, (found >> 8) as u8)]
            {
                candidates.push(found & valid, n, value, owner);
                kept = numbers.write_lanes(kept, !found & valid, n, owner);
            }
        }
        numbers.truncate(kept);
    }
}

/// The lanes where some multiplier gives a square, and s - t there.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn pass(low: __m512i, high: __m512i, multipliers: &[Multiplier]) -> (u16, __m512i) {
    const UP: i32 = _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC;
    let join =
        |low: __m256i, high: __m256i| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    let root_low = _mm512_sqrt_pd(_mm512_cvtepu64_pd(low));
    let root_high = _mm512_sqrt_pd(_mm512_cvtepu64_pd(high));
    let n = join(_mm512_cvtepi64_epi32(low), _mm512_cvtepi64_epi32(high));
    let mut found = 0;
    let mut values = _mm512_setzero_si512();
    for multiplier in multipliers {
        let root = _mm512_set1_pd(multiplier.root);
        let s = join(
            _mm512_cvt_roundpd_epu32::<UP>(_mm512_mul_pd(root_low, root)),
            _mm512_cvt_roundpd_epu32::<UP>(_mm512_mul_pd(root_high, root)),
        );
        let product = _mm512_mullo_epi32(n, _mm512_set1_epi32(multiplier.k));
        let m = _mm512_sub_epi32(_mm512_mullo_epi32(s, s), product);
        let t = _mm512_cvtps_epi32(_mm512_sqrt_ps(_mm512_cvtepu32_ps(m)));
        let square = _mm512_cmpeq_epi32_mask(_mm512_mullo_epi32(t, t), m);
        values = _mm512_mask_sub_epi32(values, square, s, t);
        found |= square;
    }
    (found, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_multipliers_are_the_multiples_of_12_with_the_most_divisors() {
        let mut divisors = vec![0u32; LIMIT as usize];
        for d in 1..LIMIT as usize {
            divisors.iter_mut().step_by(d).for_each(|count| *count += 1);
        }
        let mut all: Vec<u32> = (12..LIMIT).step_by(12).collect();
        all.sort_by_key(|&k| (Reverse(divisors[k as usize]), k));
        let ours: Vec<u32> = MULTIPLIERS.iter().map(|m| m.k as u32 / 4).collect();
        assert_eq!(ours, all[..COUNT]);
        // A square among them finds the root of a square.
        assert!(ours.iter().any(|k| k.isqrt().pow(2) == *k));
    }
}
