//! Counting and listing the primes of a range by a segmented sieve.

#![forbid(unsafe_code)]

use super::is_prime;

/// Odd numbers in one segment.
const SEGMENT_LEN: u64 = 1 << 18;

/// Base primes above this are not sieved with; what they would strike out is tested instead.
const BASE_LIMIT: u64 = 1 << 20;

/// The primes in `[low, high)`, in rising order.
#[derive(Debug, Clone)]
pub struct PrimesIn {
    low: u64,
    high: u64,
    base: Vec<u32>,
    found: std::vec::IntoIter<u64>,
}

/// The primes in `[low, high)`, in rising order, found segment by segment.
///
/// u64::MAX is not prime, so `primes_in(low, u64::MAX)` leaves none out.
///
/// ```
/// let primes: Vec<u64> = pinpool_kernels::primes::primes_in(10, 30).collect();
/// assert_eq!(primes, [11, 13, 17, 19, 23, 29]);
/// ```
#[must_use]
pub fn primes_in(low: u64, high: u64) -> PrimesIn {
    let root = high.isqrt().min(BASE_LIMIT);
    PrimesIn { low, high, base: base_primes(root), found: Vec::new().into_iter() }
}

impl Iterator for PrimesIn {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(p) = self.found.next() {
                return Some(p);
            }
            if self.low >= self.high {
                return None;
            }
            let end = self.low.saturating_add(2 * SEGMENT_LEN).min(self.high);
            self.found = segment(self.low, end, &self.base).into_iter();
            self.low = end;
        }
    }
}

fn base_primes(limit: u64) -> Vec<u32> {
    let limit = limit as usize;
    let mut composite = vec![false; limit + 1];
    let mut primes = Vec::new();
    for n in 2..=limit {
        if !composite[n] {
            primes.push(n as u32);
            for m in (n * n..=limit).step_by(n) {
                composite[m] = true;
            }
        }
    }
    primes
}

fn segment(low: u64, high: u64, base: &[u32]) -> Vec<u64> {
    let mut primes = Vec::new();
    if low <= 2 && high > 2 {
        primes.push(2);
    }
    let first = low.max(3) | 1;
    if first >= high {
        return primes;
    }
    let len = ((high - first).div_ceil(2)) as usize;
    let mut composite = vec![false; len];
    for &p in base.iter().skip(1) {
        let p = u64::from(p);
        if p * p >= high {
            break;
        }
        let mut multiple = first.div_ceil(p).max(p);
        multiple |= 1;
        let Some(start) = multiple.checked_mul(p) else { continue };
        let mut i = (start - first) / 2;
        while i < len as u64 {
            composite[i as usize] = true;
            i += p;
        }
    }
    let sure = high <= BASE_LIMIT * BASE_LIMIT;
    let numbers = composite.iter().enumerate().filter(|(_, c)| !**c);
    primes.extend(numbers.map(|(i, _)| first + 2 * i as u64).filter(|&n| sure || is_prime(n)));
    primes
}

/// How many primes are in `[low, high)`.
///
/// u64::MAX is not prime, so `count_primes(low, u64::MAX)` leaves none out.
#[must_use]
pub fn count_primes(low: u64, high: u64) -> u64 {
    primes_in(low, high).count() as u64
}

/// The n-th prime, from `nth_prime(1) = 2` on; `None` for 0 and past the last prime of u64.
#[must_use]
pub fn nth_prime(n: u64) -> Option<u64> {
    let n = usize::try_from(n).ok()?;
    primes_in(2, u64::MAX).nth(n.checked_sub(1)?)
}
