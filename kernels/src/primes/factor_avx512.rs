//! `factor` over a slice with AVX-512 IFMA.
//!
//! ```text
//! numbers -> divided by 2 and the primes to 997 -> prime? -> Hart's method below 2^41
//!                                                     ^  \-> curves above       |
//!                                                     \-------------------------/
//! ```
//! What is left of each number goes round until it is prime: primality by the batch test, splitting
//! by the method for its size. Every factor is below 1009² after trial division, or proven.

use std::arch::x86_64::*;

use super::batch_avx512::is_prime_slice;
use super::ecm::SMALL_BELOW;
use super::ecm_avx512::{self, Curves, LANES, ONE_LIMB_BELOW, VECTORS};
use super::ecm_plan::{CURVES, plans};
use super::factor::Factors;
use super::hart_avx512;
use super::ifma::set;
use super::is_prime::Divisor;
use super::rho;

/// The odd primes below 1000 as divisors.
const DIVISORS: [(u64, Divisor); 167] = {
    let mut all = [(0, Divisor { inverse: 0, limit: 0 }); 167];
    let (mut p, mut count) = (3, 0);
    while p < 1000 {
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

/// What those leave is prime below the square of the next.
const PRIME_BELOW: u64 = 1009 * 1009;

/// Numbers that go through together: enough that few lanes of the last curves stay empty.
const CHUNK_LEN: usize = 8192;

/// See [`super::factor_slice`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn factor_slice(n: &[u64], out: &mut [Factors]) {
    let mut open = Vec::new();
    let mut rounds = Rounds::default();
    for (n, out) in n.chunks(CHUNK_LEN).zip(out.chunks_mut(CHUNK_LEN)) {
        out.fill(Factors::NONE);
        let (whole, tail) = n.as_chunks::<8>();
        for (i, n) in whole.iter().enumerate() {
            divide(n, &mut out[8 * i..], 8 * i, &mut open);
        }
        if !tail.is_empty() {
            let mut padded = [1; 8];
            padded[..tail.len()].copy_from_slice(tail);
            divide(&padded, &mut out[8 * whole.len()..], 8 * whole.len(), &mut open);
        }
        while !open.is_empty() {
            rounds.one(&mut open, out);
        }
    }
}

/// A number that is left of that at `owner`, and how many curves it has seen.
#[derive(Debug, Clone, Copy)]
struct Open {
    n: u64,
    owner: u32,
    curves: u32,
}

/// Divides eight numbers by two and by [`DIVISORS`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn divide(n: &[u64; 8], out: &mut [Factors], first: usize, open: &mut Vec<Open>) {
    let mut odd = [1; 8];
    let mut len = [0u8; 8];
    for lane in 0..8 {
        if n[lane] > 1 {
            let twos = n[lane].trailing_zeros();
            odd[lane] = n[lane] >> twos;
            if twos > 0 {
                out[lane].append(&mut len[lane], 2, twos);
            }
        }
    }
    // SAFETY: the array is the 64 bytes that are read; no alignment is asked for.
    let mut left = unsafe { _mm512_loadu_epi64(odd.as_ptr().cast()) };
    for &(p, divisor) in &DIVISORS {
        let inverse = set(divisor.inverse);
        let limit = set(divisor.limit);
        let quotient = _mm512_mullo_epi64(left, inverse);
        let mask = _mm512_cmple_epu64_mask(quotient, limit);
        if mask == 0 {
            continue;
        }
        left = _mm512_mask_mov_epi64(left, mask, quotient);
        let mut again = mask;
        let mut count = 1;
        let mut lanes = [0u8; 64];
        lanes[0] = mask;
        loop {
            let quotient = _mm512_mullo_epi64(left, inverse);
            again = _mm512_mask_cmple_epu64_mask(again, quotient, limit);
            if again == 0 {
                break;
            }
            left = _mm512_mask_mov_epi64(left, again, quotient);
            lanes[count] = again;
            count += 1;
        }
        let mut hit = mask;
        while hit != 0 {
            let lane = hit.trailing_zeros() as usize;
            hit &= hit - 1;
            let exponent = lanes[..count].iter().map(|l| u32::from((l >> lane) & 1)).sum();
            out[lane].append(&mut len[lane], p, exponent);
        }
    }
    // SAFETY: the array is the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_epi64(odd.as_mut_ptr().cast(), left) };
    for lane in 0..8 {
        let n = odd[lane];
        if n == 1 {
            continue;
        }
        if n < PRIME_BELOW {
            out[lane].append(&mut len[lane], n, 1);
        } else {
            open.push(Open { n, owner: (first + lane) as u32, curves: 0 });
        }
    }
}

/// The lists that a round works on, kept between rounds for their room.
#[derive(Debug, Default)]
struct Rounds {
    numbers: Vec<u64>,
    prime: Vec<u8>,
    hart: Vec<Open>,
    curves: [Vec<Open>; 3],
    divisors: Vec<u64>,
}

impl Rounds {
    /// Takes out the primes, and splits every composite once, or has it see one more curve.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn one(&mut self, open: &mut Vec<Open>, out: &mut [Factors]) {
        self.numbers.clear();
        self.numbers.extend(open.iter().map(|o| o.n));
        self.prime.clear();
        self.prime.resize(open.len(), 0);
        // What has seen a curve is known to be composite.
        is_prime_slice(&self.numbers, &mut self.prime);
        self.hart.clear();
        self.curves.iter_mut().for_each(Vec::clear);
        for (entry, &prime) in open.iter().zip(&self.prime) {
            if prime == 1 {
                out[entry.owner as usize].push(entry.n, 1);
            } else if entry.n < hart_avx512::BELOW {
                self.hart.push(*entry);
            } else {
                let size = u8::from(entry.n >= SMALL_BELOW) + u8::from(entry.n >= ONE_LIMB_BELOW);
                self.curves[usize::from(size)].push(*entry);
            }
        }
        open.clear();
        self.split_by_hart(open, out);
        for group in &mut self.curves {
            split_by_curves(group, open, out);
        }
    }

    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn split_by_hart(&mut self, open: &mut Vec<Open>, out: &mut [Factors]) {
        self.numbers.clear();
        self.numbers.extend(self.hart.iter().map(|o| o.n));
        self.divisors.clear();
        self.divisors.resize(self.numbers.len(), 0);
        hart_avx512::split_all(&self.numbers, &mut self.divisors);
        for (entry, &p) in self.hart.iter().zip(&self.divisors) {
            put(entry, p, open, out);
        }
    }
}

/// Notes the two parts of a number: a small one is prime, others stay open.
#[inline]
fn put(entry: &Open, p: u64, open: &mut Vec<Open>, out: &mut [Factors]) {
    for n in [p, entry.n / p] {
        if n < PRIME_BELOW {
            out[entry.owner as usize].push(n, 1);
        } else {
            open.push(Open { n, owner: entry.owner, curves: 0 });
        }
    }
}

/// Runs curves on composites, all of one limb or all of two, until each is split.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn split_by_curves(work: &mut [Open], open: &mut Vec<Open>, out: &mut [Factors]) {
    let mut len = work.len();
    while len > 0 {
        let mut left = 0;
        let mut at = 0;
        while at < len {
            let count = LANES.min(len - at);
            let group: &[Open] = &work[at..at + count];
            let divisors = one_curve(group);
            for k in 0..count {
                let entry = work[at + k];
                match divisors[k] {
                    Some(p) => put(&entry, p, open, out),
                    None if entry.curves as usize + 1 >= CURVES.len() => {
                        put(&entry, rho::split(entry.n), open, out);
                    }
                    None => {
                        work[left] = Open { curves: entry.curves + 1, ..entry };
                        left += 1;
                    }
                }
            }
            at += count;
        }
        len = left;
    }
}

/// One curve on each of up to [`LANES`] numbers; lanes left over run further curves on the same.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn one_curve(group: &[Open]) -> [Option<u64>; LANES] {
    let mut n = [0; LANES];
    let mut curves = [CURVES[0]; LANES];
    for lane in 0..LANES {
        let entry = group[lane % group.len()];
        n[lane] = entry.n;
        // Spare lanes take curves from the end of the list.
        let curve = match lane / group.len() {
            0 => entry.curves as usize,
            spare => CURVES.len() - 1 - (spare - 1) % CURVES.len(),
        };
        curves[lane] = CURVES[curve];
    }
    let mut vectors = [_mm512_setzero_si512(); VECTORS];
    for (vector, n) in vectors.iter_mut().zip(n.as_chunks::<8>().0) {
        // SAFETY: the array is the 64 bytes that are read; no alignment is asked for.
        *vector = unsafe { _mm512_loadu_epi64(n.as_ptr().cast()) };
    }
    let curves = Curves::new(&curves);
    let plan = plan_for(group);
    let values = if n[0] < ONE_LIMB_BELOW {
        ecm_avx512::curve_one::run(&vectors, &curves, plan)
    } else {
        ecm_avx512::curve_two::run(&vectors, &curves, plan)
    };
    let divisors = common_divisors(&values.stage_2, &vectors);
    let mut found = [None; LANES];
    let mut all_found = false;
    for lane in 0..LANES {
        if divisors[lane] == n[lane] {
            all_found = true;
        } else if divisors[lane] != 1 {
            found[lane % group.len()] = Some(divisors[lane]);
        }
    }
    if all_found {
        let divisors = common_divisors(&values.stage_1, &vectors);
        for lane in 0..LANES {
            if divisors[lane] != 1 && divisors[lane] != n[lane] {
                found[lane % group.len()] = Some(divisors[lane]);
            }
        }
    }
    found
}

/// The common divisors with n, lane by lane.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn common_divisors(values: &[__m512i; VECTORS], n: &[__m512i; VECTORS]) -> [u64; LANES] {
    let mut divisors = [0u64; LANES];
    let gcds = ecm_avx512::gcd_odd(values, n);
    for (gcds, to) in gcds.iter().zip(divisors.as_chunks_mut::<8>().0) {
        // SAFETY: the array is the 64 bytes that are written; no alignment is asked for.
        unsafe { _mm512_storeu_epi64(to.as_mut_ptr().cast(), *gcds) };
    }
    divisors
}

/// The first curve is short and finds small factors; those after it are for what is left.
fn plan_for(group: &[Open]) -> &'static super::ecm_plan::Plan {
    let plans = plans();
    if group[0].n < SMALL_BELOW {
        return if group[0].curves < 4 { &plans[0] } else { &plans[1] };
    }
    match group[0].curves {
        0 => &plans[0],
        1 => &plans[1],
        2 => &plans[2],
        _ => &plans[3],
    }
}
