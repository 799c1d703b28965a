//! Pollard's rho in Brent's form: the portable way to split a composite u64.
//!
//! Source: R. P. Brent, "An improved Monte Carlo factorization algorithm", BIT 20 (1980).

#![forbid(unsafe_code)]

use super::arithmetic::gcd;
use super::montgomery::Montgomery;

/// Differences multiplied together before one gcd is taken.
const BATCH: u32 = 64;

/// A proper divisor of an odd composite `n` above 256². Always ends: a walk that closes without
/// one is taken again with the next constant, and squares are split by their root.
pub(super) fn split(n: u64) -> u64 {
    let root = n.isqrt();
    if root * root == n {
        return root;
    }
    let m = Montgomery::new(n);
    let mut c = 1;
    loop {
        if let Some(p) = walk(&m, c) {
            return p;
        }
        c += 1;
    }
}

/// One walk of x -> x² + c. The start and c are taken to be in Montgomery form already.
fn walk(m: &Montgomery, c: u64) -> Option<u64> {
    let n = m.modulus();
    let step = |x: u64| m.add(m.square(x), c);
    let (mut y, mut length) = (2, 1u32);
    loop {
        let x = y;
        for _ in 0..length {
            y = step(y);
        }
        let mut done = 0;
        while done < length {
            let start = y;
            let count = BATCH.min(length - done);
            let mut product = m.one();
            for _ in 0..count {
                y = step(y);
                product = m.mul(product, x.abs_diff(y));
            }
            let g = gcd(product, n);
            if g != 1 {
                return single_steps(m, x, start, c, count);
            }
            done += count;
        }
        length *= 2;
    }
}

/// Goes over the last batch one by one; `None` where all primes of n closed at one step.
fn single_steps(m: &Montgomery, x: u64, start: u64, c: u64, count: u32) -> Option<u64> {
    let n = m.modulus();
    let mut y = start;
    for _ in 0..count {
        y = m.add(m.square(y), c);
        let g = gcd(x.abs_diff(y), n);
        if g != 1 {
            return (g != n).then_some(g);
        }
    }
    None
}
