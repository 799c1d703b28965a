//! `factor` over a slice without AVX-512: as one number at a time, but trial division goes on to 1300,
//! the primality of what it leaves is tested in batches, and where there are vectors, composites below
//! 2^49 are split in groups.

#![forbid(unsafe_code)]

use super::factor::{Factors, PRIME_BELOW, divide, split};
use super::is_prime::Divisor;
use super::{batch, lanes_floats, rho_lanes};
use crate::isa::Isa;

/// Numbers that go through together.
const CHUNK_LEN: usize = 1024;

/// The primes from 257 to 1300: two hundred nanoseconds that spare many a curve of some microseconds.
const MORE_PRIMES: usize = 157;
static MORE: [(u64, Divisor); MORE_PRIMES] = {
    let mut all = [(0, Divisor { inverse: 0, limit: 0 }); MORE_PRIMES];
    let (mut p, mut count) = (257, 0);
    while count < MORE_PRIMES {
        let mut d = 3;
        while d * d <= p && p % d != 0 {
            d += 2;
        }
        if d * d > p {
            all[count] = (p, Divisor::new(p));
            count += 1;
        }
        p += 2;
    }
    all
};

/// See [`super::factor_slice`]; the slices are of one length.
pub(super) fn factor_slice(isa: Isa, n: &[u64], out: &mut [Factors]) {
    let (mut open, mut next) = (Vec::new(), Vec::new());
    let mut lists = Lists::default();
    for (n, out) in n.chunks(CHUNK_LEN).zip(out.chunks_mut(CHUNK_LEN)) {
        for (owner, (&n, out)) in n.iter().zip(&mut *out).enumerate() {
            *out = Factors::NONE;
            let left = divide_more(divide(n, out), out);
            put(left, owner, &mut open, out);
        }
        while !open.is_empty() {
            lists.take_out_primes(isa, &mut open, out);
            lists.split(isa, &open);
            for (&(n, owner), &p) in open.iter().zip(&lists.divisors) {
                put(p, owner, &mut next, &mut out[owner]);
                put(n / p, owner, &mut next, &mut out[owner]);
            }
            open.clear();
            std::mem::swap(&mut open, &mut next);
        }
    }
}

/// What a round works on, kept between rounds for its room.
#[derive(Debug, Default)]
struct Lists {
    numbers: Vec<u64>,
    prime: Vec<u8>,
    divisors: Vec<u64>,
    found: Vec<u64>,
}

impl Lists {
    /// Leaves the composites in `open`.
    fn take_out_primes(&mut self, isa: Isa, open: &mut Vec<(u64, usize)>, out: &mut [Factors]) {
        self.numbers.clear();
        self.numbers.extend(open.iter().map(|&(n, _)| n));
        self.prime.clear();
        self.prime.resize(open.len(), 0);
        batch::is_prime_slice(isa, &self.numbers, &mut self.prime);
        let mut flags = self.prime.iter();
        open.retain(|&(n, owner)| {
            let prime = flags.next() == Some(&1);
            if prime {
                out[owner].push(n, 1);
            }
            !prime
        });
    }

    /// A proper divisor of each of the composites.
    fn split(&mut self, isa: Isa, open: &[(u64, usize)]) {
        self.numbers.clear();
        if isa != Isa::Scalar {
            let fits = |&(n, _): &(u64, usize)| (n < lanes_floats::BELOW).then_some(n);
            self.numbers.extend(open.iter().filter_map(fits));
        }
        self.found.resize(self.numbers.len(), 0);
        rho_lanes::split_all(&self.numbers, &mut self.found);
        let (mut tried, mut found) = (self.numbers.iter().peekable(), self.found.iter());
        self.divisors.clear();
        self.divisors.extend(open.iter().map(|&(n, _)| {
            let by_rho = tried.next_if_eq(&&n).and_then(|_| found.next());
            by_rho.copied().filter(|&p| p != 0).unwrap_or_else(|| split(n))
        }));
    }
}

/// Divides what [`divide`] has left by [`MORE`].
fn divide_more(mut n: u64, factors: &mut Factors) -> u64 {
    for &(p, divisor) in &MORE {
        if p * p > n {
            break;
        }
        let mut exponent = 0;
        while divisor.divides(n) {
            n = n.wrapping_mul(divisor.inverse);
            exponent += 1;
        }
        if exponent > 0 {
            factors.push(p, exponent);
        }
    }
    n
}

/// Notes a part of a number: nothing for 1, a prime when it is small, else an open part.
fn put(n: u64, owner: usize, open: &mut Vec<(u64, usize)>, out: &mut Factors) {
    if n >= PRIME_BELOW {
        open.push((n, owner));
    } else if n > 1 {
        out.push(n, 1);
    }
}
