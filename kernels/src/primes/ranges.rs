//! The multiplicative functions of all numbers of a range, by a sieve: no number is factored alone.
//!
//! Every prime to the root of the end divides itself out of its multiples; what is left of a number
//! after that is 1 or one more prime. Where that would be more primes than the range is worth, as
//! for a short range of large numbers, the numbers are factored as a slice.

#![forbid(unsafe_code)]

use super::arithmetic::{divisor_count_slice, divisor_sum_slice, moebius_slice, totient_slice};
use super::is_prime::Divisor;
use super::sieve::base_primes;

/// Numbers of a block: at least these, and more where there are more primes to go through.
const LEAST_BLOCK: u64 = 1 << 14;
const MOST_BLOCK: u64 = 1 << 20;

/// A prime costs some ten ns for the whole range, a number a microsecond or more when it is factored.
const ROOT_PER_NUMBER: u64 = 1 << 11;

/// Roots from here on have too many primes to keep.
const MOST_ROOT: u64 = 1 << 28;

/// A function with f(a·b) = f(a)·f(b) for a and b without a common divisor, f(1) = 1 and f(0) = 0.
trait Multiplicative {
    type Value: Copy + From<bool>;

    /// `value·f(p^exponent)`.
    fn times(value: Self::Value, p: u64, exponent: u32) -> Self::Value;

    /// The function of every number of a slice.
    fn slice(n: &[u64], out: &mut [Self::Value]);
}

struct Totient;
struct DivisorCount;
struct DivisorSum;
struct Moebius;

impl Multiplicative for Totient {
    type Value = u64;

    #[inline(always)]
    fn times(value: u64, p: u64, exponent: u32) -> u64 {
        (1..exponent).fold(value * (p - 1), |value, _| value * p)
    }

    fn slice(n: &[u64], out: &mut [u64]) {
        totient_slice(n, out);
    }
}

impl Multiplicative for DivisorCount {
    type Value = u64;

    #[inline(always)]
    fn times(value: u64, _p: u64, exponent: u32) -> u64 {
        value * (u64::from(exponent) + 1)
    }

    fn slice(n: &[u64], out: &mut [u64]) {
        divisor_count_slice(n, out);
    }
}

impl Multiplicative for DivisorSum {
    type Value = u128;

    #[inline(always)]
    fn times(value: u128, p: u64, exponent: u32) -> u128 {
        value * (0..exponent).fold(1, |sum, _| sum * u128::from(p) + 1)
    }

    fn slice(n: &[u64], out: &mut [u128]) {
        divisor_sum_slice(n, out);
    }
}

impl Multiplicative for Moebius {
    type Value = i8;

    #[inline(always)]
    fn times(value: i8, _p: u64, exponent: u32) -> i8 {
        if exponent == 1 { -value } else { 0 }
    }

    fn slice(n: &[u64], out: &mut [i8]) {
        moebius_slice(n, out);
    }
}

/// [`totient`](super::totient) of `low`, `low + 1`, ...: `out[i] = totient(low + i)`.
///
/// # Panics
/// When the range goes beyond u64.
pub fn totient_range(low: u64, out: &mut [u64]) {
    by_range::<Totient>(low, out);
}

/// [`divisor_count`](super::divisor_count) of `low`, `low + 1`, ...
///
/// # Panics
/// When the range goes beyond u64.
pub fn divisor_count_range(low: u64, out: &mut [u64]) {
    by_range::<DivisorCount>(low, out);
}

/// [`divisor_sum`](super::divisor_sum) of `low`, `low + 1`, ...
///
/// # Panics
/// When the range goes beyond u64.
pub fn divisor_sum_range(low: u64, out: &mut [u128]) {
    by_range::<DivisorSum>(low, out);
}

/// [`moebius`](super::moebius) of `low`, `low + 1`, ...
///
/// ```
/// let mut signs = [0; 10];
/// pinpool_kernels::primes::moebius_range(1, &mut signs);
/// assert_eq!(signs, [1, -1, -1, 0, -1, 1, -1, 0, 0, 1]);
/// ```
///
/// # Panics
/// When the range goes beyond u64.
pub fn moebius_range(low: u64, out: &mut [i8]) {
    by_range::<Moebius>(low, out);
}

fn by_range<F: Multiplicative>(low: u64, out: &mut [F::Value]) {
    let Some(more) = (out.len() as u64).checked_sub(1) else { return };
    let Some(last) = low.checked_add(more) else {
        panic!("a range of {} numbers from {low} on goes beyond u64; take fewer", out.len());
    };
    let root = last.isqrt();
    if root >= MOST_ROOT || root / ROOT_PER_NUMBER > more {
        return by_slices::<F>(low, out);
    }
    let primes = base_primes(root);
    let block_len = root.clamp(LEAST_BLOCK, MOST_BLOCK);
    let mut left = Vec::with_capacity(block_len.min(more + 1) as usize);
    let mut first = low;
    for out in out.chunks_mut(block_len as usize) {
        left.clear();
        left.extend((0..out.len() as u64).map(|i| first + i));
        sieve::<F>(first, &mut left, &primes, out);
        // The next block may begin at 2^64, but then there is none.
        first = first.wrapping_add(block_len);
    }
}

/// The function of the numbers from `first` on, which `left` holds.
fn sieve<F: Multiplicative>(first: u64, left: &mut [u64], primes: &[u32], out: &mut [F::Value]) {
    for (out, &n) in out.iter_mut().zip(&*left) {
        *out = F::Value::from(n != 0);
    }
    let last = first + (left.len() as u64 - 1);
    for &p in primes {
        let p = u64::from(p);
        if p * p > last {
            break;
        }
        let at = first.next_multiple_of(p) - first;
        for i in (at as usize..left.len()).step_by(p as usize) {
            if left[i] != 0 {
                let exponent = divide_out(&mut left[i], p);
                out[i] = F::times(out[i], p, exponent);
            }
        }
    }
    for (out, &mut p) in out.iter_mut().zip(left) {
        if p > 1 {
            *out = F::times(*out, p, 1);
        }
    }
}

/// Divides `n`, a multiple of the prime `p`, by it as often as that goes.
#[inline]
fn divide_out(n: &mut u64, p: u64) -> u32 {
    if p == 2 {
        let twos = n.trailing_zeros();
        *n >>= twos;
        return twos;
    }
    let divisor = Divisor::new(p);
    let mut exponent = 0;
    while divisor.divides(*n) {
        *n = n.wrapping_mul(divisor.inverse);
        exponent += 1;
    }
    exponent
}

/// The function of the numbers from `low` on, each by its factors.
fn by_slices<F: Multiplicative>(low: u64, out: &mut [F::Value]) {
    let mut n = [0; 256];
    let mut next = low;
    for out in out.chunks_mut(n.len()) {
        for n in &mut n[..out.len()] {
            *n = next;
            next = next.wrapping_add(1);
        }
        F::slice(&n[..out.len()], out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{divisor_count, divisor_sum, moebius, totient};
    use super::*;

    fn agrees(low: u64, len: usize) {
        let (mut totients, mut counts) = (vec![7; len], vec![7; len]);
        let (mut sums, mut signs) = (vec![7; len], vec![7; len]);
        totient_range(low, &mut totients);
        divisor_count_range(low, &mut counts);
        divisor_sum_range(low, &mut sums);
        moebius_range(low, &mut signs);
        for i in (0..len).step_by(1 + len / 1500) {
            let n = low + i as u64;
            assert_eq!(totients[i], totient(n), "{n}");
            assert_eq!(counts[i], divisor_count(n), "{n}");
            assert_eq!(sums[i], divisor_sum(n), "{n}");
            assert_eq!(signs[i], moebius(n), "{n}");
        }
    }

    #[test]
    fn ranges_agree_with_one_number_at_a_time() {
        agrees(0, 0);
        for low in [0, 1, 2, 3, 47, 1 << 20] {
            agrees(low, 1);
            agrees(low, 1000);
        }
        agrees(0, 3 * LEAST_BLOCK as usize + 17);
        agrees(1_000_000_000_000, 2000);
        // Factored, as there are too few of them for a sieve.
        agrees(1_000_000_000_000, 3);
        agrees(u64::MAX - 600, 601);
    }

    #[test]
    fn sums_to_a_million_are_the_published_ones() {
        let len = 1_000_001;
        let (mut words, mut sums, mut signs) = (vec![0; len], vec![0; len], vec![0; len]);
        totient_range(0, &mut words);
        assert_eq!(words.iter().sum::<u64>(), 303_963_552_392);
        divisor_count_range(0, &mut words);
        assert_eq!(words.iter().sum::<u64>(), 13_970_034);
        divisor_sum_range(0, &mut sums);
        assert_eq!(sums.iter().sum::<u128>(), 822_468_118_437);
        moebius_range(0, &mut signs);
        assert_eq!(signs.iter().map(|&m| i64::from(m)).sum::<i64>(), 212);
    }

    #[test]
    #[should_panic(expected = "goes beyond u64")]
    fn a_range_beyond_u64_is_refused() {
        moebius_range(u64::MAX, &mut [0; 2]);
    }
}
