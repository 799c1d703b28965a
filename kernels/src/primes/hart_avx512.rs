//! Hart's one-line method on 32 numbers at once, with AVX-512.
//!
//! For i = 1, 2, ...: s = ⌈√(480·n·i)⌉ and m = s² - 480·n·i; where m is a square t², n divides
//! (s - t)(s + t). Lanes that are done take the next number at once.
//!
//! Source: W. B. Hart, "A one line factoring algorithm", J. Aust. Math. Soc. 92 (2012).

use std::arch::x86_64::*;

use super::arithmetic::gcd;
use super::ifma::set;
use super::rho;

/// Above this 480·n·i could leave 63 bits before [`STEPS`].
pub(super) const BELOW: u64 = 1 << 26;

/// Steps before a number goes to the rho method: few do.
const STEPS: u64 = 4096;

/// Highly composite, as Hart advises.
const MULTIPLIER: u64 = 480;

/// Vectors in flight.
const VECTORS: usize = 4;

/// The lanes' state: the number, 480·n, 480·n·i.
#[derive(Debug)]
struct Lanes {
    number: [u64; 8],
    owner: [usize; 8],
    step: __m512i,
    value: __m512i,
}

/// For every odd composite in `n`, below [`BELOW`], a proper divisor in the same place of `out`.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn split_all(n: &[u64], out: &mut [u64]) {
    let zero = _mm512_setzero_si512();
    let empty = || Lanes { number: [0; 8], owner: [usize::MAX; 8], step: zero, value: zero };
    let mut lanes: [Lanes; VECTORS] = std::array::from_fn(|_| empty());
    let mut next = 0;
    for group in &mut lanes {
        for lane in 0..8 {
            next = refill(group, lane, n, next);
        }
    }
    let mut open = n.len();
    while open > 0 {
        for group in &mut lanes {
            group.value = _mm512_add_epi64(group.value, group.step);
            let x = _mm512_cvtepu64_pd(group.value);
            let root = _mm512_cvttpd_epu64(_mm512_sqrt_pd(x));
            // The root may be exact or one off after rounding: s is one above, so that m is not
            // negative but for an error of the conversion, which the check below passes over.
            let s = _mm512_add_epi64(root, set(1));
            let m = _mm512_sub_epi64(_mm512_mullo_epi64(s, s), group.value);
            let t = _mm512_cvtpd_epu64(_mm512_sqrt_pd(_mm512_cvtepu64_pd(m)));
            let square = _mm512_mullo_epi64(t, t);
            let late = _mm512_cmpgt_epu64_mask(group.value, limits(group));
            let found = _mm512_cmpeq_epi64_mask(square, m) | late;
            if found != 0 {
                let (s, t) = (spread(s), spread(t));
                for lane in (0..8).filter(|lane| (found >> lane) & 1 == 1) {
                    let number = group.number[lane];
                    if number == 0 {
                        continue;
                    }
                    let divisor = gcd(s[lane].wrapping_sub(t[lane]), number);
                    let proper = divisor != 1 && divisor != number;
                    if !proper && (late >> lane) & 1 == 0 {
                        continue;
                    }
                    out[group.owner[lane]] = if proper { divisor } else { rho::split(number) };
                    open -= 1;
                    next = refill(group, lane, n, next);
                }
            }
        }
    }
}

/// The value after which a lane gives up.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn limits(group: &Lanes) -> __m512i {
    _mm512_slli_epi64::<{ STEPS.trailing_zeros() }>(group.step)
}

/// Puts the next number, or none, into a lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn refill(group: &mut Lanes, lane: usize, n: &[u64], next: usize) -> usize {
    let number = n.get(next).copied().unwrap_or(0);
    group.number[lane] = number;
    group.owner[lane] = next;
    let this = 1u8 << lane;
    let step = set(MULTIPLIER * number);
    group.step = _mm512_mask_mov_epi64(group.step, this, step);
    group.value = _mm512_mask_mov_epi64(group.value, this, _mm512_setzero_si512());
    next + 1
}

#[inline]
#[target_feature(enable = "avx512f")]
fn spread(v: __m512i) -> [u64; 8] {
    let mut all = [0u64; 8];
    // SAFETY: the array is the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_epi64(all.as_mut_ptr().cast(), v) };
    all
}
