//! Trial division of a slice with AVX-512: the records begin, and what is left of each number.
//!
//! Vectors say which primes divide which numbers, by one product and one comparison for a prime and
//! eight numbers: a bit for each of 64 primes is a word for each number. Its primes are then divided
//! out one by one, in rising order.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::factor::Factors;
use super::ifma::set;
use super::is_prime::Divisor;
use super::packed_avx512::{load, store};

/// Words of 64 odd primes that divide; how many pay was measured.
const WORDS: usize = 3;

/// The odd primes from 3 on as divisors.
static DIVISORS: [[(u64, Divisor); 64]; WORDS] = {
    let mut all = [[(0, Divisor { inverse: 0, limit: 0 }); 64]; WORDS];
    let (mut p, mut count) = (3, 0);
    while count < 64 * WORDS {
        if is_odd_prime(p) {
            all[count / 64][count % 64] = (p, Divisor::new(p));
            count += 1;
        }
        p += 2;
    }
    all
};

/// What those leave is prime below the square of the next prime.
pub(super) const PRIME_BELOW: u64 = {
    let mut p = DIVISORS[WORDS - 1][63].0 + 2;
    while !is_odd_prime(p) {
        p += 2;
    }
    p * p
};

const fn is_odd_prime(p: u64) -> bool {
    let mut d = 3;
    while d * d <= p && !p.is_multiple_of(d) {
        d += 2;
    }
    d * d > p
}

/// Vectors in flight.
const VECTORS: usize = 4;

/// Numbers that [`divide`] takes.
pub(super) const GROUP: usize = 8 * VECTORS;

/// Writes the records of up to [`GROUP`] numbers, without what is left of each when that is
/// neither 1 nor below [`PRIME_BELOW`]; `left(i, n)` gets these.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn divide(n: &[u64], out: &mut [Factors], mut left: impl FnMut(usize, u64)) {
    let mut group = [1; GROUP];
    group[..n.len()].copy_from_slice(n);
    let words = divisors(&group);
    for (i, (&n, out)) in n.iter().zip(out).enumerate() {
        *out = Factors::NONE;
        if n < 2 {
            continue;
        }
        let twos = n.trailing_zeros();
        let mut n = n >> twos;
        let mut len = 0;
        // Without a branch: without twos, the next prime takes the place.
        out.append(&mut len, 2, twos);
        len = u8::from(twos > 0);
        for (words, divisors) in words.iter().zip(&DIVISORS) {
            let mut word = words[i];
            while word != 0 {
                let (p, divisor) = divisors[word.trailing_zeros() as usize];
                word &= word - 1;
                n = n.wrapping_mul(divisor.inverse);
                let mut exponent = 1;
                loop {
                    let quotient = n.wrapping_mul(divisor.inverse);
                    if quotient > divisor.limit {
                        break;
                    }
                    n = quotient;
                    exponent += 1;
                }
                out.append(&mut len, p, exponent);
            }
        }
        if n >= PRIME_BELOW {
            left(i, n);
        } else if n > 1 {
            out.append(&mut len, n, 1);
        }
    }
}

/// Bit b of word `[w][i]`: prime b of word w divides number i.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn divisors(n: &[u64; GROUP]) -> [[u64; GROUP]; WORDS] {
    let mut vectors = [_mm512_setzero_si512(); VECTORS];
    for (vector, n) in vectors.iter_mut().zip(n.as_chunks::<8>().0) {
        *vector = load(n);
    }
    let mut words = [[0; GROUP]; WORDS];
    for (words, divisors) in words.iter_mut().zip(&DIVISORS) {
        let mut bit = set(1);
        let mut bits = [_mm512_setzero_si512(); VECTORS];
        for (_, divisor) in divisors {
            let (inverse, limit) = (set(divisor.inverse), set(divisor.limit));
            for (bits, &n) in bits.iter_mut().zip(&vectors) {
                let mask = _mm512_cmple_epu64_mask(_mm512_mullo_epi64(n, inverse), limit);
                *bits = _mm512_mask_or_epi64(*bits, mask, *bits, bit);
            }
            bit = _mm512_add_epi64(bit, bit);
        }
        for (words, &bits) in words.as_chunks_mut::<8>().0.iter_mut().zip(&bits) {
            store(words, bits);
        }
    }
    words
}
