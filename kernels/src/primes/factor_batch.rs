//! `factor` over a slice in portable code: as one number at a time, but with the primality of what
//! trial division leaves tested in batches.

#![forbid(unsafe_code)]

use super::factor::{Factors, PRIME_BELOW, divide, split};
use super::interleaved;

/// Numbers that go through together.
const CHUNK_LEN: usize = 256;

/// See [`super::factor_slice`]; the slices are of one length.
pub(super) fn factor_slice(n: &[u64], out: &mut [Factors]) {
    let (mut open, mut next) = (Vec::new(), Vec::new());
    let (mut numbers, mut prime) = (Vec::new(), Vec::new());
    for (n, out) in n.chunks(CHUNK_LEN).zip(out.chunks_mut(CHUNK_LEN)) {
        for (owner, (&n, out)) in n.iter().zip(&mut *out).enumerate() {
            *out = Factors::NONE;
            let left = divide(n, out);
            put(left, owner, &mut open, out);
        }
        while !open.is_empty() {
            numbers.clear();
            numbers.extend(open.iter().map(|&(n, _)| n));
            prime.clear();
            prime.resize(open.len(), 0);
            interleaved::is_prime_slice(&numbers, &mut prime);
            for (&(n, owner), &prime) in open.iter().zip(&prime) {
                if prime == 1 {
                    out[owner].push(n, 1);
                } else {
                    let p = split(n);
                    put(p, owner, &mut next, &mut out[owner]);
                    put(n / p, owner, &mut next, &mut out[owner]);
                }
            }
            open.clear();
            std::mem::swap(&mut open, &mut next);
        }
    }
}

/// Notes a part of a number: nothing for 1, a prime when it is small, else an open part.
fn put(n: u64, owner: usize, open: &mut Vec<(u64, usize)>, out: &mut Factors) {
    if n >= PRIME_BELOW {
        open.push((n, owner));
    } else if n > 1 {
        out.push(n, 1);
    }
}
