//! The prime factors of one u64, and the fixed-size record that holds them.
//!
//! Trial division by the primes below 256, then the proven test, then Pollard's rho (`rho.rs`) or
//! elliptic curves (`ecm.rs`) on what is composite. The batch path (`factor_batch.rs`) gives the same records.

#![forbid(unsafe_code)]

use super::is_prime::{Divisor, is_rough_prime};
use super::{ecm, rho};

/// A u64 has at most 15 distinct primes: the product of the first 16 is above 2^64.
const MAX_DISTINCT: usize = 15;

/// The prime factors of a u64: plain old data of 136 bytes, without padding, that fits a slot.
///
/// Primes rise. Exponents are a byte each, from the lowest byte of the first word on; the first
/// zero exponent ends the list. Every method is memory-safe on any bit pattern; only the records
/// written by [`factor`] and its kin mean something.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Factors {
    primes: [u64; MAX_DISTINCT],
    exponents: [u64; 2],
}

impl Factors {
    /// The record without factors: that of 1, and by convention of 0.
    pub const NONE: Factors = Factors { primes: [0; MAX_DISTINCT], exponents: [0; 2] };

    /// How many u64 a record is made of.
    pub const WORDS: usize = MAX_DISTINCT + 2;

    /// The record as plain words, for those who store it: primes, then exponents.
    #[must_use]
    pub fn to_words(self) -> [u64; Factors::WORDS] {
        let mut words = [0; Factors::WORDS];
        words[..MAX_DISTINCT].copy_from_slice(&self.primes);
        words[MAX_DISTINCT..].copy_from_slice(&self.exponents);
        words
    }

    /// The record that [`to_words`](Factors::to_words) gave.
    #[must_use]
    pub fn from_words(words: [u64; Factors::WORDS]) -> Factors {
        let mut factors = Factors::NONE;
        factors.primes.copy_from_slice(&words[..MAX_DISTINCT]);
        factors.exponents.copy_from_slice(&words[MAX_DISTINCT..]);
        factors
    }

    /// The distinct primes in rising order, each with its exponent.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        (0..MAX_DISTINCT)
            .map(|i| (self.primes[i], self.exponent(i)))
            .take_while(|&(_, exponent)| exponent != 0)
    }

    /// The primes in rising order, each as often as it divides.
    pub fn prime_factors(&self) -> impl Iterator<Item = u64> + '_ {
        self.iter().flat_map(|(p, e)| std::iter::repeat_n(p, e as usize))
    }

    /// How many distinct primes there are.
    #[must_use]
    pub fn count_distinct(&self) -> u32 {
        self.iter().count() as u32
    }

    /// How many prime factors there are, each counted as often as it divides.
    #[must_use]
    pub fn count_with_multiplicity(&self) -> u32 {
        self.iter().map(|(_, e)| e).sum()
    }

    /// The number that was factored (1 for that of 0), modulo 2^64.
    #[must_use]
    pub fn product(&self) -> u64 {
        self.iter().fold(1, |n, (p, e)| n.wrapping_mul(p.wrapping_pow(e)))
    }

    #[inline]
    fn exponent(&self, i: usize) -> u32 {
        ((self.exponents[i / 8] >> (8 * (i % 8))) & 0xff) as u32
    }

    /// Adds `p^exponent` at the end; p is above all that are there, and `len` counts them.
    #[inline]
    pub(super) fn append(&mut self, len: &mut u8, p: u64, exponent: u32) {
        let i = usize::from(*len);
        self.primes[i] = p;
        self.exponents[i / 8] |= u64::from(exponent) << (8 * (i % 8));
        *len += 1;
    }

    /// Adds `p^exponent`, keeping the primes in order. Its callers divide what they add out of a
    /// u64, so that neither the 15 places nor an exponent's byte can overflow.
    #[inline]
    pub(super) fn push(&mut self, p: u64, exponent: u32) {
        let all = u128::from(self.exponents[1]) << 64 | u128::from(self.exponents[0]);
        let mut len = (16 - all.leading_zeros() / 8) as u8;
        if len == 0 || (usize::from(len) < MAX_DISTINCT && self.primes[usize::from(len) - 1] < p) {
            self.append(&mut len, p, exponent);
        } else {
            self.insert(p, exponent);
        }
    }

    /// As [`push`](Factors::push), for primes that are not above all that are there.
    #[cold]
    fn insert(&mut self, p: u64, exponent: u32) {
        let mut i = 0;
        while i < MAX_DISTINCT && self.exponent(i) != 0 && self.primes[i] < p {
            i += 1;
        }
        if i < MAX_DISTINCT && self.exponent(i) != 0 && self.primes[i] == p {
            self.exponents[i / 8] += u64::from(exponent) << (8 * (i % 8));
            return;
        }
        // The record is small: what is above p moves up one by one.
        let mut carried = (p, exponent);
        while carried.1 != 0 && i < MAX_DISTINCT {
            let here = (self.primes[i], self.exponent(i));
            let shift = 8 * (i % 8);
            self.primes[i] = carried.0;
            self.exponents[i / 8] &= !(0xff << shift);
            self.exponents[i / 8] |= u64::from(carried.1) << shift;
            carried = here;
            i += 1;
        }
    }
}

/// The odd primes below 256, by which every number is divided first.
pub(super) const TRIAL_PRIMES: [u64; 53] = {
    let mut primes = [0; 53];
    let (mut p, mut count) = (3, 0);
    while p < 256 {
        let mut d = 3;
        while d * d <= p && p % d != 0 {
            d += 2;
        }
        if d * d > p {
            primes[count] = p;
            count += 1;
        }
        p += 2;
    }
    primes
};

/// The divisors for [`TRIAL_PRIMES`].
pub(super) const TRIAL_DIVISORS: [Divisor; 53] = {
    let mut all = [Divisor::new(3); 53];
    let mut i = 0;
    while i < 53 {
        all[i] = Divisor::new(TRIAL_PRIMES[i]);
        i += 1;
    }
    all
};

/// What the primes below 256 leave is prime below the square of the next one.
pub(super) const PRIME_BELOW: u64 = 257 * 257;

/// Below this the rho method is quicker than a curve.
const CURVES_FROM: u64 = 1 << 40;

/// The prime factors of `n`, each proven prime. 0 and 1 have none.
///
/// ```
/// let f = pinpool_kernels::primes::factor(360);
/// assert_eq!(f.iter().collect::<Vec<_>>(), [(2, 3), (3, 2), (5, 1)]);
/// assert_eq!(f.product(), 360);
/// ```
#[must_use]
pub fn factor(n: u64) -> Factors {
    let mut factors = Factors::NONE;
    let left = divide(n, &mut factors);
    finish(left, &mut factors);
    factors
}

/// Divides by 2 and the primes below 256, and returns what is left: 1, or a number without such
/// a prime, or a prime below [`PRIME_BELOW`]. Of 0 it leaves 1.
pub(super) fn divide(n: u64, factors: &mut Factors) -> u64 {
    if n < 2 {
        return 1;
    }
    let twos = n.trailing_zeros();
    if twos > 0 {
        factors.push(2, twos);
    }
    let mut n = n >> twos;
    for (&p, d) in TRIAL_PRIMES.iter().zip(&TRIAL_DIVISORS) {
        if p * p > n {
            break;
        }
        let mut exponent = 0;
        while d.divides(n) {
            n = n.wrapping_mul(d.inverse);
            exponent += 1;
        }
        if exponent > 0 {
            factors.push(p, exponent);
        }
    }
    n
}

/// Factors what [`divide`] has left.
fn finish(n: u64, factors: &mut Factors) {
    if n == 1 {
        return;
    }
    if n < PRIME_BELOW || is_rough_prime(n) {
        factors.push(n, 1);
        return;
    }
    let p = split(n);
    finish(p, factors);
    finish(n / p, factors);
}

/// A proper divisor of a composite without a prime below 256.
pub(super) fn split(n: u64) -> u64 {
    let by_curve = if n < CURVES_FROM { None } else { ecm::split(n) };
    by_curve.unwrap_or_else(|| rho::split(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_its_primes_in_order_whatever_the_order_of_arrival() {
        let mut f = Factors::NONE;
        for p in [47, 2, 43, 3, 41, 5, 37, 7, 31, 11, 29, 13, 23, 17, 19] {
            f.push(p, 1);
        }
        assert_eq!(f.count_distinct(), 15);
        assert!(f.prime_factors().is_sorted());
        assert_eq!(f.product(), 614_889_782_588_491_410);
        let mut f = Factors::NONE;
        f.push(3, 2);
        f.push(2, 1);
        f.push(3, 1);
        assert_eq!(f.iter().collect::<Vec<_>>(), [(2, 1), (3, 3)]);
    }

    #[test]
    fn every_bit_pattern_can_be_read() {
        let f = Factors { primes: [u64::MAX; 15], exponents: [u64::MAX; 2] };
        assert_eq!(f.iter().count(), 15);
        assert_eq!(f.count_with_multiplicity(), 15 * 255);
        assert_eq!(f.prime_factors().count(), 15 * 255);
        let _ = f.product();
        assert_eq!(Factors::from_words(f.to_words()), f);
        assert_eq!(Factors::from_words(factor(360).to_words()), factor(360));
        assert_eq!(size_of::<Factors>(), 136);
    }
}
