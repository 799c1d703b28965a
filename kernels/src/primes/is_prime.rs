//! The proven primality test of one u64, portable; the reference for the batch paths.
//!
//! Trial division by the primes to 251, then the strong test to base 2, then the almost extra
//! strong Lucas test (`lucas.rs`). For why that is a proof for every u64 see the head of `mod.rs`.

#![forbid(unsafe_code)]

use super::factor::TRIAL_DIVISORS;
use super::lucas;
use super::montgomery::{Montgomery, inverse64};

/// The odd primes that every path divides by before it takes powers.
pub(super) const SMALL_PRIMES: [u64; 17] =
    [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61];

/// Below the square of the next prime, trial division alone decides.
pub(super) const DECIDED_BELOW: u64 = 67 * 67;

/// `p | n` exactly when `n·inverse mod 2^64 <= limit` (n = p·m gives m, and only those do).
#[derive(Debug, Clone, Copy)]
pub(super) struct Divisor {
    pub(super) inverse: u64,
    pub(super) limit: u64,
}

impl Divisor {
    pub(super) const fn new(p: u64) -> Divisor {
        Divisor { inverse: inverse64(p), limit: u64::MAX / p }
    }

    #[inline(always)]
    pub(super) fn divides(self, n: u64) -> bool {
        n.wrapping_mul(self.inverse) <= self.limit
    }
}

/// The divisors for [`SMALL_PRIMES`].
pub(super) const SMALL_DIVISORS: [Divisor; 17] = {
    let mut all = [Divisor { inverse: 0, limit: 0 }; 17];
    let mut i = 0;
    while i < 17 {
        all[i] = Divisor::new(SMALL_PRIMES[i]);
        i += 1;
    }
    all
};

/// Whether `n` is prime.
pub(super) fn is_prime(n: u64) -> bool {
    if n.is_multiple_of(2) {
        return n == 2;
    }
    if n < DECIDED_BELOW {
        return is_small_prime(n);
    }
    let (first, second) = SMALL_DIVISORS.split_at(4);
    let composite =
        any_divides(first, n) || any_divides(second, n) || any_divides(LARGE_DIVISORS, n);
    !composite && is_rough_prime(n)
}

/// Tries all of them, so that there is one branch, and not one a divisor that nobody can foresee.
#[inline(always)]
fn any_divides(divisors: &[Divisor], n: u64) -> bool {
    divisors.iter().fold(false, |any, d| any | d.divides(n))
}

/// The divisors from 67 to 251: they pay where the base-2 test costs much, for one number at a time and
/// for batches of large ones.
pub(super) const LARGE_DIVISORS: &[Divisor] = TRIAL_DIVISORS.split_at(SMALL_DIVISORS.len()).1;

/// Whether an odd `n` without a divisor to 61 (and so above 61^2) is prime.
#[inline]
pub(super) fn is_rough_prime(n: u64) -> bool {
    let m = Montgomery::new(n);
    is_strong_base_2(&m) && lucas::is_almost_extra_strong(&m)
}

/// Trial division for `n` below [`DECIDED_BELOW`].
pub(super) fn is_small_prime(n: u64) -> bool {
    if n < 4 {
        return n >= 2;
    }
    n % 2 == 1 && SMALL_PRIMES.iter().all(|&p| n == p || !n.is_multiple_of(p))
}

/// The strong probable-prime test to base 2.
///
/// It takes powers of 1/2, which are ±1 exactly where those of 2 are: the plain number 2^(64-q)
/// is the Montgomery form of 2^-q, so the ladder starts six squarings up with no division.
pub(super) fn is_strong_base_2(m: &Montgomery) -> bool {
    let n = m.modulus();
    let shift = (n - 1).trailing_zeros();
    let d = (n - 1) >> shift;
    let steps = (64 - d.leading_zeros()).saturating_sub(6);
    let q = ((d - 1) >> steps) + 1;
    let rest = (q << steps).wrapping_sub(d);
    let mut x = 1u64 << (64 - q);
    if x >= n {
        x %= n;
    }
    for step in (0..steps).rev() {
        x = m.square(x);
        if (rest >> step) & 1 == 1 {
            x = m.add(x, x);
        }
    }
    let first = m.plain(x);
    if first == 1 || first == n - 1 {
        return true;
    }
    for _ in 1..shift {
        x = m.square(x);
        if m.plain(x) == n - 1 {
            return true;
        }
    }
    false
}
