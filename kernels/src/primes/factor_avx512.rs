//! `factor` over a slice with AVX-512 IFMA.
//!
//! ```text
//! numbers -> divided by 2 and the primes to 1171 -> below 2^41: proof, p - 1, Hart's method
//!                                                \                          | the hardest
//!                                                 above: prime? -> curves <-/
//! ```
//! What is left of each number goes round until it is prime. Every factor is below 1181² after trial
//! division, or proven. Parts move from above to below as curves split them.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::batch_avx512::is_prime_slice;
use super::divide_avx512::{GROUP, PRIME_BELOW, divide};
use super::ecm::SMALL_BELOW;
use super::ecm_avx512::{self, Curves, LANES, ONE_LIMB_BELOW, VECTORS};
use super::ecm_plan::{CURVES, plans};
use super::factor::Factors;
use super::packed_avx512::{Parts, load, store};
use super::rho;
use super::small_avx512::{self, Small};

/// Numbers that go through trial division and the stages of [`Small`] together: their records stay
/// in the L2 cache.
const CHUNK_LEN: usize = 4096;

/// Numbers whose large or hard parts go through together: enough that few lanes of the last curves
/// stay empty.
const CURVES_LEN: usize = 1 << 14;

/// See [`super::factor_slice`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn factor_slice(n: &[u64], out: &mut [Factors]) {
    let mut open = Vec::new();
    let mut rounds = Rounds::default();
    let mut small = Small::default();
    for (n, out) in n.chunks(CURVES_LEN).zip(out.chunks_mut(CURVES_LEN)) {
        for (c, n) in n.chunks(CHUNK_LEN).enumerate() {
            small.open.reserve(n.len());
            for (g, n) in n.chunks(GROUP).enumerate() {
                let first = CHUNK_LEN * c + GROUP * g;
                divide(n, &mut out[first..], |i, n| {
                    let owner = (first + i) as u32;
                    if n < small_avx512::BELOW {
                        small.open.push(n, owner);
                    } else {
                        open.push(Open { n, owner, curves: 0 });
                    }
                });
            }
            small.factor(out, |n, owner| rounds.hard(n, owner));
        }
        while !open.is_empty() || !rounds.curves[0].is_empty() {
            rounds.one(&mut open, &mut small.open, out);
            small.factor(out, |n, owner| rounds.hard(n, owner));
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

/// The lists that a round works on, kept between rounds for their room.
#[derive(Debug, Default)]
struct Rounds {
    numbers: Vec<u64>,
    prime: Vec<u8>,
    curves: [Vec<Open>; 3],
}

impl Rounds {
    /// Notes a number that is known to be composite, and small.
    fn hard(&mut self, n: u64, owner: u32) {
        self.curves[0].push(Open { n, owner, curves: 0 });
    }

    /// Takes out the primes, and splits every composite once, or has it see one more curve.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn one(&mut self, open: &mut Vec<Open>, small: &mut Parts, out: &mut [Factors]) {
        self.numbers.clear();
        self.numbers.extend(open.iter().map(|o| o.n));
        self.prime.clear();
        self.prime.resize(open.len(), 0);
        is_prime_slice(&self.numbers, &mut self.prime);
        for (entry, &prime) in open.iter().zip(&self.prime) {
            if prime == 1 {
                out[entry.owner as usize].push(entry.n, 1);
            } else {
                let size = u8::from(entry.n >= SMALL_BELOW) + u8::from(entry.n >= ONE_LIMB_BELOW);
                self.curves[usize::from(size)].push(*entry);
            }
        }
        open.clear();
        for group in &mut self.curves {
            split_by_curves(group, open, small, out);
            group.clear();
        }
    }
}

/// Notes the two parts of a number: a small one is prime, others stay open.
#[inline]
fn put(entry: &Open, p: u64, open: &mut Vec<Open>, small: &mut Parts, out: &mut [Factors]) {
    for n in [p, entry.n / p] {
        if n < PRIME_BELOW {
            out[entry.owner as usize].push(n, 1);
        } else if n < small_avx512::BELOW {
            small.reserve(1);
            small.push(n, entry.owner);
        } else {
            open.push(Open { n, owner: entry.owner, curves: 0 });
        }
    }
}

/// Runs curves on composites, all of one limb or all of two, until each is split.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn split_by_curves(
    work: &mut [Open],
    open: &mut Vec<Open>,
    small: &mut Parts,
    out: &mut [Factors],
) {
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
                    Some(p) => put(&entry, p, open, small, out),
                    None if entry.curves as usize + 1 >= CURVES.len() => {
                        put(&entry, rho::split(entry.n), open, small, out);
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
        *vector = load(n);
    }
    let curves = Curves::new(&curves);
    let plan = plan_for(group);
    let values = if n[0] < ONE_LIMB_BELOW {
        ecm_avx512::curve_one::run(&vectors, &curves, plan)
    } else {
        ecm_avx512::curve_word::run(&vectors, &curves, plan)
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
    for (&gcds, to) in gcds.iter().zip(divisors.as_chunks_mut::<8>().0) {
        store(to, gcds);
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
