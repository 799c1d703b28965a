//! The strikes of the sieve's small and medium primes with AVX2: which of the eight positions have one
//! more strike is settled for all of them at once.
//!
//! A scalar unit spends more on that than on the strikes.

use std::arch::x86_64::*;
use std::hint::{assert_unchecked, black_box};

use super::segment::{KEEP, Medium};

/// Bytes at the start of a sieve over which the strikes that do not happen are spread: each would wait
/// for the one before it at the same byte.
const NOWHERE: usize = 64;

/// The last strikes of a prime, which may not happen: where, and in the first byte which bits stay.
#[repr(align(32))]
struct Toss {
    at: [u32; 8],
    keep: [[u8; 4]; 8],
}

/// Strikes by primes of all residues, each group in rising order, as `Segments` has them.
#[target_feature(enable = "avx2")]
pub(super) fn strike_all(sieve: &mut [u8], primes: &mut [Vec<Medium>; 8]) {
    strike::<0>(sieve, &mut primes[0]);
    strike::<1>(sieve, &mut primes[1]);
    strike::<2>(sieve, &mut primes[2]);
    strike::<3>(sieve, &mut primes[3]);
    strike::<4>(sieve, &mut primes[4]);
    strike::<5>(sieve, &mut primes[5]);
    strike::<6>(sieve, &mut primes[6]);
    strike::<7>(sieve, &mut primes[7]);
}

/// Strikes by the primes of residue `RESIDUES[CLASS]`. A function of its own, so that the loop has all
/// registers for its eight positions.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn strike<const CLASS: usize>(sieve: &mut [u8], primes: &mut [Medium]) {
    let len = sieve.len();
    let Some(first) = primes.first() else { return };
    assert!((NOWHERE..1 << 30).contains(&len), "a sieve of {len} bytes");
    // As many strikes every position has; one more is a toss.
    let mut rounds = len / first.p() as usize;
    let set = |x: usize| _mm256_set1_epi32(x as i32);
    let keep = KEEP[CLASS].map(i32::from);
    let keep =
        _mm256_setr_epi32(keep[0], keep[1], keep[2], keep[3], keep[4], keep[5], keep[6], keep[7]);
    let mut toss = Toss { at: [0; 8], keep: [[0; 4]; 8] };
    for prime in primes {
        let p = prime.p() as usize;
        // SAFETY: it is a prime. Without this, the loop below is there a second time for strides of 1.
        unsafe { assert_unchecked(p > 1) };
        while rounds * p > len {
            rounds -= 1;
        }
        // As the primes rise, it is the most that fit.
        debug_assert!(len - rounds * p < p);
        let at = prime.at().map(|at| at as usize);
        let positions = load(prime.at());
        let mut moved = 0;
        for _ in 0..rounds {
            for k in 0..8 {
                // SAFETY: at[k] is below p, so in each round at[k] + moved is below rounds·p, which is
                // the length at most.
                let byte = unsafe { sieve.get_unchecked_mut(moved + at[k]) };
                *byte &= KEEP[CLASS][k];
            }
            moved += p;
        }
        let at = _mm256_add_epi32(positions, set(moved));
        let outside = _mm256_cmpgt_epi32(at, set(len - 1));
        let next =
            _mm256_add_epi32(_mm256_sub_epi32(at, set(len)), _mm256_andnot_si256(outside, set(p)));
        // SAFETY: positions below p plus rounds·p, which is the length less at most p - 1, are below the
        // length plus p. Those outside have the length taken off; the others, which are p off the
        // length at most, also get p.
        store(unsafe { prime.at_mut() }, next);
        let past = _mm256_andnot_si256(set(NOWHERE - 1), outside);
        store(&mut toss.at, _mm256_andnot_si256(past, at));
        store(&mut toss.keep, _mm256_or_si256(outside, keep));
        // Through memory: taking the vectors apart costs more.
        let toss = black_box(&toss);
        for (&at, keep) in toss.at.iter().zip(&toss.keep) {
            // SAFETY: it is at[k] + moved where that is below the length, and where not it has been
            // brought below `NOWHERE`.
            let byte = unsafe { sieve.get_unchecked_mut(at as usize) };
            *byte &= keep[0];
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(from: &[u32; 8]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read; no alignment is asked for.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

/// To eight numbers or so many times four bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn store<T: Copy>(to: &mut [T; 8], value: __m256i) {
    const { assert!(size_of::<T>() == 4) };
    // SAFETY: the reference covers the 32 bytes that are written; no alignment is asked for.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), value) }
}
