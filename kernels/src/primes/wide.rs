//! Primality and factors of u128: probable primes only, and factoring with a limit.
//!
//! No list of pseudoprimes reaches here, so "prime" means: passes the strong test to base 2 and
//! the almost extra strong Lucas test (Baillie-PSW). No composite that passes is known.

#![forbid(unsafe_code)]

use std::fmt;

use super::wide_ecm;
use super::wide_montgomery::Wide;
use super::{factor, is_prime};

/// Whether `n` is a Baillie-PSW probable prime. Proven below 2^64; above it no composite that
/// passes is known, and none is known not to exist.
///
/// ```
/// assert!(pinpool_kernels::primes::is_prime_u128((1 << 127) - 1));
/// ```
#[must_use]
pub fn is_prime_u128(n: u128) -> bool {
    if let Ok(n) = u64::try_from(n) {
        return is_prime(n);
    }
    if n.is_multiple_of(2) || (3..212).step_by(2).any(|d| n.is_multiple_of(d)) {
        return false;
    }
    let m = Wide::new(n);
    is_strong_base_2(&m) && is_almost_extra_strong(&m)
}

fn is_strong_base_2(m: &Wide) -> bool {
    let n = m.modulus();
    let shift = (n - 1).trailing_zeros();
    let one = m.one();
    let minus_one = n - one;
    let mut x = m.pow(m.add(one, one), (n - 1) >> shift);
    if x == one || x == minus_one {
        return true;
    }
    for _ in 1..shift {
        x = m.mul(x, x);
        if x == minus_one {
            return true;
        }
    }
    false
}

fn is_almost_extra_strong(m: &Wide) -> bool {
    let n = m.modulus();
    let mut p = 3u64;
    loop {
        match jacobi(u128::from(p * p - 4), n) {
            -1 => break,
            0 => return false,
            _ => {}
        }
        if p == 20 && n.isqrt().pow(2) == n {
            return false;
        }
        p += 1;
    }
    let one = m.one();
    let two = m.add(one, one);
    let p = (2..p).fold(two, |form, _| m.add(form, one));
    // n + 1 cannot overflow: 2^128 - 1 is divisible by 3.
    let shift = (n + 1).trailing_zeros();
    let d = (n + 1) >> shift;
    let (mut v, mut w) = (p, m.sub(m.mul(p, p), two));
    for bit in (0..127 - d.leading_zeros()).rev() {
        let product = m.sub(m.mul(v, w), p);
        if (d >> bit) & 1 == 1 {
            w = m.sub(m.mul(w, w), two);
            v = product;
        } else {
            v = m.sub(m.mul(v, v), two);
            w = product;
        }
    }
    if v == two || v == n - two {
        return true;
    }
    for _ in 0..shift - 1 {
        if v == 0 {
            return true;
        }
        v = m.sub(m.mul(v, v), two);
    }
    false
}

/// The Jacobi symbol (a / n) for odd n.
fn jacobi(mut a: u128, mut n: u128) -> i32 {
    let mut sign = 1;
    a %= n;
    while a != 0 {
        let twos = a.trailing_zeros();
        a >>= twos;
        if twos & 1 == 1 && matches!(n & 7, 3 | 5) {
            sign = -sign;
        }
        if a & n & 3 == 3 {
            sign = -sign;
        }
        (a, n) = (n % a, a);
    }
    if n == 1 { sign } else { 0 }
}

/// How far [`factor_u128`] has come: handed to its callback before every curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The composite being split.
    pub composite: u128,
    /// Curves tried on it so far.
    pub curves: u64,
    /// The bound B1 of the next curve.
    pub bound: u64,
}

/// [`factor_u128`] was told to give up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FactorU128Error {
    /// The callback returned false; `found · Π composites = n`.
    GivenUp {
        /// The probable primes found, in rising order, each as often as it divides.
        found: Vec<u128>,
        /// What is composite and not split.
        composites: Vec<u128>,
    },
}

impl fmt::Display for FactorU128Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FactorU128Error::GivenUp { found, composites } = self;
        write!(
            f,
            "gave up with {} prime factors found and the composites {composites:?} left; \
             allow more curves",
            found.len()
        )
    }
}

impl std::error::Error for FactorU128Error {}

/// The prime factors of `n` in rising order, each as often as it divides; none for 0 and 1.
///
/// Factors below 2^64 are proven prime, larger ones are Baillie-PSW probable primes. Before each
/// elliptic curve `go_on` is asked; when it returns false, what was found comes back as the error.
/// A factor of 60 bits takes some tenths of a second; the worst case, two primes of 64 bits, a few
/// tenths more.
///
/// # Errors
/// [`FactorU128Error::GivenUp`] when `go_on` returned false.
///
/// ```
/// use pinpool_kernels::primes::factor_u128;
/// assert_eq!(factor_u128(1 << 100 | 1, |_| true)?, [17, 401, 61_681, 340_801, 2_787_601, 3_173_389_601]);
/// # Ok::<(), pinpool_kernels::primes::FactorU128Error>(())
/// ```
pub fn factor_u128(
    n: u128,
    mut go_on: impl FnMut(&Progress) -> bool,
) -> Result<Vec<u128>, FactorU128Error> {
    let mut found = Vec::new();
    let mut left = Vec::new();
    let mut rest = n;
    if n == 0 {
        return Ok(found);
    }
    for d in (2..1000).filter(|d| *d == 2 || d % 2 == 1) {
        while rest.is_multiple_of(d) {
            found.push(d);
            rest /= d;
        }
    }
    let mut open = vec![rest];
    while let Some(m) = open.pop() {
        if let Ok(small) = u64::try_from(m) {
            found.extend(factor(small).prime_factors().map(u128::from));
        } else if is_prime_u128(m) {
            found.push(m);
        } else {
            match wide_ecm::split(m, &mut go_on) {
                Some(p) => open.extend([p, m / p]),
                None => left.push(m),
            }
        }
    }
    found.sort_unstable();
    if left.is_empty() {
        Ok(found)
    } else {
        Err(FactorU128Error::GivenUp { found, composites: left })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mersenne_numbers_are_told_apart() {
        for k in 65..=127u32 {
            assert_eq!(is_prime_u128((1 << k) - 1), matches!(k, 89 | 107 | 127), "2^{k} - 1");
        }
        assert!(!is_prime_u128(u128::MAX));
        assert!(is_prime_u128(u128::MAX - 158));
    }

    #[test]
    fn products_of_primes_come_apart_again() {
        let primes = [1_000_000_007u128, 998_244_353, 4_294_967_291, 1_000_003];
        let n: u128 = primes.iter().product();
        let mut sorted = primes;
        sorted.sort_unstable();
        assert_eq!(factor_u128(n, |_| true), Ok(sorted.to_vec()));
        let p = 18_446_744_073_709_551_557u128;
        assert_eq!(factor_u128(p * 6, |_| true), Ok(vec![2, 3, p]));
        assert_eq!(factor_u128(0, |_| true), Ok(vec![]));
        assert_eq!(factor_u128(1, |_| true), Ok(vec![]));
        let square = 1_000_000_000_039u128.pow(2);
        assert_eq!(factor_u128(square, |_| true), Ok(vec![1_000_000_000_039; 2]));
    }

    #[test]
    fn giving_up_returns_what_is_left() {
        let (p, q) = (18_446_744_073_709_551_557u128, 18_446_744_073_709_551_533u128);
        let error = factor_u128(p * q, |progress| progress.curves < 1).unwrap_err();
        assert_eq!(error, FactorU128Error::GivenUp { found: vec![], composites: vec![p * q] });
        assert!(error.to_string().contains("allow more curves"));
    }
}
