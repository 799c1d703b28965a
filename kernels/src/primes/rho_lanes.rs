//! Pollard's rho on [`GROUP`] numbers at once, as floats: for composites below 2^49.
//!
//! All lanes take the same steps. After each round, twice as long as the one before, numbers that have come
//! apart leave, and the groups close up. A round compares only in its second half: a shorter cycle
//! shows in a multiple of its length (Brent). What is left after the last round, or has all its
//! primes found at once, is for the other methods.

#![forbid(unsafe_code)]

use super::arithmetic::gcd;
use super::lanes::{GROUP, VECTORS, vectors};
use super::lanes_floats::Moduli;
use crate::simd::{LANES, Op, Simd, dispatch};

/// The steps of the first and the last round.
const FIRST_ROUND: u32 = 64;
const LAST_ROUND: u32 = 4096;

/// Writes a proper divisor of each odd composite below 2^49, or 0 where none was found.
pub(super) fn split_all(n: &[u64], out: &mut [u64]) {
    out.fill(0);
    let mut walks: Vec<Walk> = n.iter().enumerate().map(|(i, &n)| Walk::new(n, i)).collect();
    let mut length = FIRST_ROUND;
    while length <= LAST_ROUND && !walks.is_empty() {
        let mut left = 0;
        for at in (0..walks.len()).step_by(GROUP) {
            let count = GROUP.min(walks.len() - at);
            let (y, product) = round(&walks[at..at + count], length);
            for k in 0..count {
                let walk = Walk { y: y[k], ..walks[at + k] };
                match gcd(product[k].abs() as u64, walk.n) {
                    1 => {
                        walks[left] = walk;
                        left += 1;
                    }
                    p if p < walk.n => out[walk.place] = p,
                    _ => {}
                }
            }
        }
        walks.truncate(left);
        length *= 2;
    }
}

/// Where a number has come to.
#[derive(Debug, Clone, Copy)]
struct Walk {
    n: u64,
    y: f64,
    place: usize,
}

impl Walk {
    fn new(n: u64, place: usize) -> Walk {
        Walk { n, y: 2.0, place }
    }
}

/// One round of up to a group: where each has come to, and the product of its differences.
fn round(walks: &[Walk], length: u32) -> ([f64; GROUP], [f64; GROUP]) {
    let (mut n, mut y) = ([walks[0].n; GROUP], [walks[0].y; GROUP]);
    for (i, walk) in walks.iter().enumerate() {
        (n[i], y[i]) = (walk.n, walk.y);
    }
    dispatch(Round { n: vectors(&n), y, length })
}

#[derive(Debug)]
struct Round {
    n: [[u64; LANES]; VECTORS],
    y: [f64; GROUP],
    length: u32,
}

impl Op for Round {
    type Out = ([f64; GROUP], [f64; GROUP]);

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Out {
        let (minus_one, one) = (s.splat(-1.0), s.splat(1.0));
        let (mut y, mut product) = ([one; VECTORS], [one; VECTORS]);
        let mut m = [Moduli::new(s, &self.n[0]); VECTORS];
        let starts = self.y.as_chunks().0;
        for i in 0..VECTORS {
            m[i] = Moduli::new(s, &self.n[i]);
            y[i] = s.load(&starts[i]);
        }
        let x = y;
        for _ in 0..self.length / 2 {
            for i in 0..VECTORS {
                y[i] = m[i].product_less(s, y[i], y[i], minus_one);
            }
        }
        for _ in 0..self.length / 2 {
            for i in 0..VECTORS {
                y[i] = m[i].product_less(s, y[i], y[i], minus_one);
                product[i] = m[i].product(s, product[i], s.sub(x[i], y[i]));
            }
        }
        let (mut ys, mut products) = ([0.0; GROUP], [0.0; GROUP]);
        let places = ys.as_chunks_mut().0.iter_mut().zip(products.as_chunks_mut().0);
        for (i, (to_y, to_product)) in places.enumerate() {
            s.store(y[i], to_y);
            s.store(product[i], to_product);
        }
        (ys, products)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{next_prime, primes_in};
    use super::*;
    use crate::isa::{self, Isa};

    #[test]
    fn most_products_of_two_primes_come_apart_into_them() {
        if isa::current() == Isa::Scalar {
            return;
        }
        let small = primes_in(1009, 1_000_000).step_by(701);
        let numbers: Vec<u64> =
            small.filter_map(|p| Some(p * next_prime((1 << 48) / p / 2)?)).collect();
        let mut divisors = vec![7; numbers.len()];
        split_all(&numbers, &mut divisors);
        let split = divisors.iter().filter(|&&p| p != 0).count();
        assert!(split * 10 > numbers.len() * 9, "{split} of {}", numbers.len());
        for (n, p) in numbers.iter().zip(divisors) {
            assert!(p == 0 || (p > 1 && p < *n && n % p == 0), "{n}: {p}");
        }
    }
}
