//! Arithmetic functions of one u64 and over slices: neighbours among the primes, the
//! multiplicative functions by way of [`factor`], gcd, powers and inverses modulo n.
//!
//! The slice forms of the multiplicative functions factor by the batch path.

#![forbid(unsafe_code)]

use super::factor::{Factors, factor};
use super::montgomery::Montgomery;
use super::{factor_slice, is_prime};

/// The largest prime below 2^64.
const LARGEST_PRIME: u64 = 18_446_744_073_709_551_557;

/// Numbers that the slice forms factor at a time, so that the records stay in the cache.
const BLOCK_LEN: usize = 256;

/// The smallest prime above `n`; `None` when it is not a u64.
#[must_use]
pub fn next_prime(n: u64) -> Option<u64> {
    if n >= LARGEST_PRIME {
        return None;
    }
    if n < 2 {
        return Some(2);
    }
    let mut candidate = (n + 1) | 1;
    while !is_prime(candidate) {
        candidate += 2;
    }
    Some(candidate)
}

/// The largest prime below `n`; `None` for n up to 2.
#[must_use]
pub fn previous_prime(n: u64) -> Option<u64> {
    if n <= 3 {
        return (n == 3).then_some(2);
    }
    let mut candidate = (n - 2) | 1;
    while !is_prime(candidate) {
        candidate -= 2;
    }
    Some(candidate)
}

/// The greatest common divisor; `gcd(0, 0) = 0`.
#[must_use]
pub fn gcd(a: u64, b: u64) -> u64 {
    if a == 0 || b == 0 {
        return a | b;
    }
    let shift = (a | b).trailing_zeros();
    let mut b = b >> b.trailing_zeros();
    let mut a = a >> a.trailing_zeros();
    while a != b {
        let difference = a.abs_diff(b);
        b = a.min(b);
        a = difference >> difference.trailing_zeros();
    }
    a << shift
}

/// `base^exponent mod modulus`; 0 for the modulus 1.
///
/// # Panics
/// When the modulus is 0.
#[must_use]
pub fn mod_pow(base: u64, exponent: u64, modulus: u64) -> u64 {
    assert_ne!(modulus, 0, "mod_pow needs a modulus above 0");
    if modulus == 1 {
        return 0;
    }
    if modulus % 2 == 1 {
        let m = Montgomery::new(modulus);
        let base = m.mul(base % modulus, m.r_squared());
        return m.plain(m.pow(base, exponent));
    }
    let wide = u128::from(modulus);
    let (mut square, mut power, mut exponent) = (u128::from(base) % wide, 1, exponent);
    while exponent != 0 {
        if exponent & 1 == 1 {
            power = power * square % wide;
        }
        square = square * square % wide;
        exponent >>= 1;
    }
    power as u64
}

/// The inverse of `a` modulo `modulus`, in `[0, modulus)`; `None` where there is none (a common
/// divisor, or the modulus 0). Modulo 1 every number has the inverse 0.
#[must_use]
pub fn mod_inverse(a: u64, modulus: u64) -> Option<u64> {
    if modulus <= 1 {
        return (modulus == 1).then_some(0);
    }
    let (mut r0, mut r1) = (modulus, a % modulus);
    let (mut t0, mut t1) = (0i128, 1i128);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - i128::from(q) * t1);
    }
    (r0 == 1).then(|| t0.rem_euclid(i128::from(modulus)) as u64)
}

/// Euler's totient: how many of 1..=n have no common divisor with n. `totient(0) = 0`.
#[must_use]
pub fn totient(n: u64) -> u64 {
    totient_of(n, &factor(n))
}

/// How many divisors n has. `divisor_count(0) = 0`.
#[must_use]
pub fn divisor_count(n: u64) -> u64 {
    divisor_count_of(n, &factor(n))
}

/// The sum of the divisors of n. `divisor_sum(0) = 0`.
#[must_use]
pub fn divisor_sum(n: u64) -> u128 {
    divisor_sum_of(n, &factor(n))
}

/// The Möbius function: 0 where a square above 1 divides n, else -1 to the number of primes of n.
/// `moebius(0) = 0`.
#[must_use]
pub fn moebius(n: u64) -> i8 {
    moebius_of(n, &factor(n))
}

fn totient_of(n: u64, factors: &Factors) -> u64 {
    factors.iter().fold(n, |t, (p, _)| t / p * (p - 1))
}

fn divisor_count_of(n: u64, factors: &Factors) -> u64 {
    factors.iter().fold(n.min(1), |t, (_, e)| t * (u64::from(e) + 1))
}

fn divisor_sum_of(n: u64, factors: &Factors) -> u128 {
    factors.iter().fold(u128::from(n.min(1)), |sum, (p, e)| {
        let p = u128::from(p);
        sum * (0..e).fold(1, |s, _| s * p + 1)
    })
}

fn moebius_of(n: u64, factors: &Factors) -> i8 {
    factors.iter().fold(i8::from(n != 0), |m, (_, e)| if e > 1 { 0 } else { -m })
}

/// Applies a function of the factors to a slice, block by block.
fn by_factors<T>(n: &[u64], out: &mut [T], of: impl Fn(u64, &Factors) -> T) {
    assert_eq!(n.len(), out.len(), "a slice of results needs one place for each number");
    let mut records = [Factors::NONE; BLOCK_LEN];
    for (n, out) in n.chunks(BLOCK_LEN).zip(out.chunks_mut(BLOCK_LEN)) {
        let records = &mut records[..n.len()];
        factor_slice(n, records);
        for ((&n, record), out) in n.iter().zip(&*records).zip(out) {
            *out = of(n, record);
        }
    }
}

/// [`totient`] of every number of a slice.
///
/// # Panics
/// When the slices differ in length.
pub fn totient_slice(n: &[u64], out: &mut [u64]) {
    by_factors(n, out, totient_of);
}

/// [`divisor_count`] of every number of a slice.
///
/// # Panics
/// When the slices differ in length.
pub fn divisor_count_slice(n: &[u64], out: &mut [u64]) {
    by_factors(n, out, divisor_count_of);
}

/// [`divisor_sum`] of every number of a slice.
///
/// # Panics
/// When the slices differ in length.
pub fn divisor_sum_slice(n: &[u64], out: &mut [u128]) {
    by_factors(n, out, divisor_sum_of);
}

/// [`moebius`] of every number of a slice.
///
/// # Panics
/// When the slices differ in length.
pub fn moebius_slice(n: &[u64], out: &mut [i8]) {
    by_factors(n, out, moebius_of);
}

/// Applies a function to each element of a slice.
fn each<T: Copy, R>(input: &[T], out: &mut [R], f: impl Fn(T) -> R) {
    assert_eq!(input.len(), out.len(), "a slice of results needs one place for each number");
    for (&x, out) in input.iter().zip(out) {
        *out = f(x);
    }
}

/// [`next_prime`] of every number of a slice; 0 where there is none.
///
/// # Panics
/// When the slices differ in length.
pub fn next_prime_slice(n: &[u64], out: &mut [u64]) {
    each(n, out, |n| next_prime(n).unwrap_or(0));
}

/// [`previous_prime`] of every number of a slice; 0 where there is none.
///
/// # Panics
/// When the slices differ in length.
pub fn previous_prime_slice(n: &[u64], out: &mut [u64]) {
    each(n, out, |n| previous_prime(n).unwrap_or(0));
}

/// [`gcd`] of the pairs `a[i], b[i]`.
///
/// # Panics
/// When the slices differ in length.
pub fn gcd_slice(a: &[u64], b: &[u64], out: &mut [u64]) {
    assert_eq!(a.len(), b.len(), "gcd_slice needs pairs");
    assert_eq!(a.len(), out.len(), "gcd_slice needs one result for each pair");
    for ((&a, &b), out) in a.iter().zip(b).zip(out) {
        *out = gcd(a, b);
    }
}

/// [`mod_pow`] of every base of a slice, with one exponent and one modulus.
///
/// # Panics
/// When the slices differ in length or the modulus is 0.
pub fn mod_pow_slice(base: &[u64], exponent: u64, modulus: u64, out: &mut [u64]) {
    assert_ne!(modulus, 0, "mod_pow_slice needs a modulus above 0");
    if modulus.is_multiple_of(2) || modulus == 1 {
        return each(base, out, |a| mod_pow(a, exponent, modulus));
    }
    let m = Montgomery::new(modulus);
    let r2 = m.r_squared();
    each(base, out, |a| m.plain(m.pow(m.mul(a % modulus, r2), exponent)));
}

/// [`mod_inverse`] of every number of a slice modulo one modulus; 0 where there is none.
///
/// # Panics
/// When the slices differ in length.
pub fn mod_inverse_slice(a: &[u64], modulus: u64, out: &mut [u64]) {
    each(a, out, |a| mod_inverse(a, modulus).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_agree_with_counting() {
        for n in 1..400u64 {
            let divisors: Vec<u64> = (1..=n).filter(|d| n % d == 0).collect();
            assert_eq!(divisor_count(n), divisors.len() as u64);
            assert_eq!(divisor_sum(n), u128::from(divisors.iter().sum::<u64>()));
            assert_eq!(totient(n), (1..=n).filter(|&k| gcd(k, n) == 1).count() as u64);
            let sum: i64 = divisors.iter().map(|&d| i64::from(moebius(d))).sum();
            assert_eq!(sum, i64::from(n == 1));
            for a in 0..30 {
                let inverse = (0..n).find(|&b| (a * b) % n == 1 % n);
                assert_eq!(mod_inverse(a, n), inverse, "{a} mod {n}");
                let power = (0..7).fold(1 % n, |p, _| p * a % n);
                assert_eq!(mod_pow(a, 7, n), power);
            }
        }
    }

    #[test]
    fn neighbours_end_where_u64_ends() {
        assert_eq!(next_prime(0), Some(2));
        assert_eq!(next_prime(2), Some(3));
        assert_eq!(next_prime(LARGEST_PRIME - 1), Some(LARGEST_PRIME));
        assert_eq!(next_prime(LARGEST_PRIME), None);
        assert_eq!(previous_prime(u64::MAX), Some(LARGEST_PRIME));
        assert_eq!(previous_prime(4), Some(3));
        assert_eq!(previous_prime(3), Some(2));
        assert_eq!(previous_prime(2), None);
    }

    #[test]
    fn zero_and_one_are_as_documented() {
        assert_eq!((totient(0), totient(1)), (0, 1));
        assert_eq!((divisor_count(0), divisor_count(1)), (0, 1));
        assert_eq!((divisor_sum(0), divisor_sum(1)), (0, 1));
        assert_eq!((moebius(0), moebius(1)), (0, 1));
        assert_eq!((gcd(0, 0), gcd(0, 6), gcd(6, 0)), (0, 6, 6));
        assert_eq!(divisor_sum(1 << 63), u128::from(u64::MAX));
    }
}
