//! Counting and listing the primes of a range.
//!
//! The range is cut into segments that fit the L2 cache and sieved (`segment.rs`). Where sieving
//! by every prime to the root of the end would cost more than the range is worth, it stops at a
//! lower bound and what is left is tested: a window of a million numbers near 2^64 takes
//! milliseconds.

#![forbid(unsafe_code)]

use super::is_prime_slice;
use super::prime_pi::prime_pi;
use super::segment::{FIRST, SMALLEST, Segments};
use crate::isa::{self, Isa};

/// The most that is sieved by: 54 million primes, 450 MB of entries.
pub(super) const MOST_BASE: u64 = 1 << 30;

/// The most where numbers are left to test: 15 million primes, 120 MB of entries.
const MOST_BASE_AND_TESTS: u64 = 1 << 28;

/// The least: below it primes cost nothing worth saving.
const LEAST_BASE: u64 = 1 << 16;

/// Beside tests of what survives, base primes pay up to the length of the range divided by this. A base
/// prime takes some 20 ns to begin with; a survivor takes some 90 ns to test with AVX-512, 220 with AVX2
/// and 340 without, and there are `range/ln²` fewer for each doubling of the bound.
fn range_per_base() -> u64 {
    match isa::current() {
        Isa::Avx512 => 8,
        Isa::Avx2 => 4,
        Isa::Scalar | Isa::Neon => 3,
    }
}

/// All base primes pay where the root is at most so many times the bound that pays beside tests: then
/// nothing has to be tested.
const ALL_PER_SOME: u64 = 40;

/// The primes of a range, in rising order. Made by [`primes_in`].
#[derive(Debug)]
pub struct PrimesIn {
    segments: Option<Segments>,
    found: Vec<u64>,
    next: usize,
    sure: bool,
}

/// The primes in `[low, high)`, in rising order, found segment by segment.
///
/// u64::MAX is not prime, so `primes_in(low, u64::MAX)` leaves none out. The sieve is set up for the whole
/// range: where only the first primes are wanted, a short range takes less time and memory (see
/// [`count_primes`]).
///
/// ```
/// let primes: Vec<u64> = pinpool_kernels::primes::primes_in(10, 30).collect();
/// assert_eq!(primes, [11, 13, 17, 19, 23, 29]);
/// ```
#[must_use]
pub fn primes_in(low: u64, high: u64) -> PrimesIn {
    let (segments, sure) = start(low, high);
    PrimesIn { segments, found: small(low, high).collect(), next: 0, sure }
}

impl PrimesIn {
    /// Those that are known.
    pub(super) fn known(found: Vec<u64>) -> PrimesIn {
        PrimesIn { segments: None, found, next: 0, sure: true }
    }

    /// Some that come next, in rising order; none at the end.
    pub(super) fn some(&mut self) -> &[u64] {
        while self.next == self.found.len() {
            self.found.clear();
            self.next = 0;
            let Some(segments) = &mut self.segments else { break };
            if !segments.advance() {
                self.segments = None;
                break;
            }
            segments.list(&mut self.found);
            if !self.sure {
                keep_primes(&mut self.found);
            }
        }
        &self.found[self.next..]
    }

    /// Leaves out the first `count` of them.
    pub(super) fn skip_some(&mut self, count: usize) {
        self.next += count;
    }
}

impl Iterator for PrimesIn {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        let &p = match self.found.get(self.next) {
            Some(p) => p,
            None => self.some().first()?,
        };
        self.next += 1;
        Some(p)
    }
}

/// How many primes are in `[low, high)`.
///
/// u64::MAX is not prime, so `count_primes(low, u64::MAX)` leaves none out. Chunks of a range
/// count independently; make them long (10^8 or more beyond 10^14), since each call finds the
/// base primes anew. A range longer than a fifth of its end's root takes 8 bytes for each prime to the root:
/// 16 MB at 10^15, and 450 MB at most, from 10^18 on.
#[must_use]
pub fn count_primes(low: u64, high: u64) -> u64 {
    let mut count = small(low, high).count() as u64;
    let (Some(mut segments), sure) = start(low, high) else { return count };
    let mut found = Vec::new();
    while segments.advance() {
        if sure {
            count += segments.count();
        } else {
            found.clear();
            segments.list(&mut found);
            keep_primes(&mut found);
            count += found.len() as u64;
        }
    }
    count
}

/// The n-th prime, from `nth_prime(1) = 2` on; `None` for 0 and past the last prime of u64.
///
/// By [`prime_pi`] near where it must lie, and a sieve from there.
#[must_use]
pub fn nth_prime(n: u64) -> Option<u64> {
    /// π(2^64), as published by many (OEIS A007053).
    const ALL: u64 = 425_656_284_035_217_743;
    if n == 0 || n > ALL {
        return None;
    }
    if n < 10_000 {
        return primes_in(2, 105_000).nth(n as usize - 1);
    }
    let mut guess = estimate(n);
    let mut count = prime_pi(guess);
    // Each round the guess is off by what the density of primes has changed, a tiny part of the
    // last error; the rest is counted.
    let density = (n as f64).ln();
    while count.abs_diff(n) > 1_000_000 {
        let step = (count.abs_diff(n) as f64 * density) as u64;
        guess = if count < n { guess.saturating_add(step) } else { guess - step };
        count = prime_pi(guess);
    }
    const WINDOW: u64 = 1 << 22;
    while count >= n {
        let low = guess.saturating_sub(WINDOW) + 1;
        let here: Vec<u64> = primes_in(low, guess.saturating_add(1)).collect();
        let before = count - here.len() as u64;
        if before < n {
            return Some(here[(n - before - 1) as usize]);
        }
        (count, guess) = (before, low - 1);
    }
    primes_in(guess.saturating_add(1), u64::MAX).nth((n - count - 1) as usize)
}

/// Cipolla's expansion of the n-th prime, off by less than a thousandth beyond 10^4.
fn estimate(n: u64) -> u64 {
    let x = n as f64;
    let (l, ll) = (x.ln(), x.ln().ln());
    (x * (l + ll - 1.0 + (ll - 2.0) / l - (ll * ll - 6.0 * ll + 11.0) / (2.0 * l * l))) as u64
}

/// The segments of `[low, high)` above the smallest primes, and whether what they leave is prime.
fn start(low: u64, high: u64) -> (Option<Segments>, bool) {
    let low = low.max(FIRST);
    if low >= high {
        return (None, true);
    }
    let root = (high - 1).isqrt();
    let worth = (high - low) / range_per_base();
    let some = worth.clamp(LEAST_BASE, MOST_BASE_AND_TESTS);
    // In short ranges the primes just above the least bound cost more than tests.
    let all = worth >= 2 * LEAST_BASE && root <= MOST_BASE && root / ALL_PER_SOME <= worth;
    let limit = if all { root } else { some.min(root) };
    (Some(Segments::new(low, high, limit)), limit == root)
}

/// The smallest primes in `[low, high)`, which the segments leave out.
fn small(low: u64, high: u64) -> impl Iterator<Item = u64> {
    SMALLEST.into_iter().filter(move |p| (low..high).contains(p))
}

fn keep_primes(numbers: &mut Vec<u64>) {
    let mut prime = vec![0; numbers.len()];
    is_prime_slice(numbers, &mut prime);
    let mut flags = prime.into_iter();
    numbers.retain(|_| flags.next() == Some(1));
}

/// The primes to `limit` in rising order, for `limit` below 2^32.
pub(super) fn base_primes(limit: u64) -> Vec<u32> {
    primes_in(2, limit + 1).map(|p| p as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::super::is_prime;
    use super::*;

    #[test]
    fn every_start_and_end_near_a_segment_s_edge_counts_right() {
        let edge = Segments::LEN_NUMBERS;
        for low in (0..130).chain([edge - 40, edge - 1, edge, edge + 1, 2 * edge - 7]) {
            for len in [0, 1, 2, 3, 29, 30, 31, 61, 100, 240, 241, 1000] {
                let expected: Vec<u64> = (low..low + len).filter(|&n| is_prime(n)).collect();
                assert_eq!(primes_in(low, low + len).collect::<Vec<_>>(), expected);
                assert_eq!(count_primes(low, low + len), expected.len() as u64);
            }
        }
        assert_eq!(count_primes(30, 20), 0);
    }

    #[test]
    fn windows_of_all_sizes_agree_with_testing_each_number() {
        for start in [1u64 << 20, 1 << 32, 1 << 44, 10u64.pow(15), 1 << 63, u64::MAX - 40_000] {
            let window: Vec<u64> = (start..start + 40_000).collect();
            let mut prime = vec![0; window.len()];
            is_prime_slice(&window, &mut prime);
            let count = prime.iter().map(|&p| u64::from(p)).sum();
            assert_eq!(count_primes(start, start + 40_000), count, "from {start}");
        }
        // Long enough that base primes beyond a segment strike too.
        let low = 10u64.pow(13);
        assert_eq!(count_primes(low, low + 30_000_000), 1_003_337);
    }

    #[test]
    fn the_nth_prime_is_where_it_should_be() {
        assert_eq!(nth_prime(0), None);
        assert_eq!(nth_prime(u64::MAX), None);
        for (n, p) in [
            (1, 2),
            (25, 97),
            (9_999, 104_723),
            (10_000, 104_729),
            (1_000_000, 15_485_863),
            (10_000_000, 179_424_673),
        ] {
            assert_eq!(nth_prime(n), Some(p), "{n}");
        }
    }
}
