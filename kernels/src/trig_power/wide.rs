//! One round for any argument: 2^(a²·log2(√2·sin(a + π/4))), each step in two doubles.
//!
//! Elements in [0, 1.5] have the value of `near` here too, whatever their neighbours.

#![forbid(unsafe_code)]

use super::near::{self, ABREAST};
use crate::elementary::exp2::exp2;
use crate::elementary::log2::log2_two;
use crate::elementary::reduce::reduce_shifted;
use crate::elementary::sincos::{Two, canonical, sin_reduced};
use crate::simd::{LANES, SIGN, Simd};

/// One round on eight lanes, whatever they hold.
#[inline(always)]
pub(super) fn round<S: Simd>(s: S, a: S::F) -> S::F {
    round_abreast(s, [a])[0]
}

/// All rounds on what is in the tile, into `to` if STORE; the lanes' sums.
#[inline(always)]
pub(super) fn last<S: Simd, const STORE: bool>(
    s: S,
    tile: &mut [[f64; LANES]],
    to: &mut [[f64; LANES]],
    rounds: u32,
) -> S::F {
    for _ in 0..rounds {
        let (groups, rest) = tile.as_chunks_mut::<ABREAST>();
        for group in groups {
            near::store(s, round_abreast(s, near::load(s, group)), group);
        }
        for x in rest {
            s.store(round(s, s.load(x)), x);
        }
    }
    let mut sum = s.splat(-0.0);
    for x in tile.iter() {
        sum = s.add(sum, s.load(x));
    }
    if STORE {
        to.copy_from_slice(tile);
    }
    sum
}

/// One round of several vectors at a time.
#[inline(always)]
fn round_abreast<S: Simd, const N: usize>(s: S, a: [S::F; N]) -> [S::F; N] {
    let mut y = near::round_abreast(s, a);
    let mut inside = 0xff;
    for &a in &a {
        inside &= s.mask_bits(near::is_near(s, a));
    }
    if inside != 0xff {
        let general = general(s, a);
        for v in 0..N {
            y[v] = s.select(near::is_near(s, a[v]), y[v], general[v]);
        }
    }
    y
}

/// (sin a + cos a)^(a²), as C's `pow` of the two would have it for special values. In three steps,
/// each for all vectors, since a single one would wait for the latency of the whole chain.
#[inline(always)]
fn general<S: Simd, const N: usize>(s: S, a: [S::F; N]) -> [S::F; N] {
    let none = s.splat(0.0);
    let mut bases = [Base { magnitude: (none, none), sign: s.splat_u(0) }; N];
    for v in 0..N {
        bases[v] = base(s, a[v]);
    }
    let mut exponents = [(none, none); N];
    for v in 0..N {
        exponents[v] = exponent(s, a[v], bases[v].magnitude);
    }
    let mut y = [none; N];
    for v in 0..N {
        y[v] = signed(s, a[v], exp2(s, exponents[v].0, exponents[v].1), bases[v].sign);
    }
    y
}

/// (sin a + cos a)/√2 = sin(a + π/4), as magnitude and sign.
#[derive(Clone, Copy)]
struct Base<S: Simd> {
    magnitude: Two<S>,
    /// The sign bit alone.
    sign: S::U,
}

#[inline(always)]
fn base<S: Simd>(s: S, a: S::F) -> Base<S> {
    let (high, low) = sin_reduced(s, reduce_shifted(s, a));
    let sign = s.and_u(s.bits(high), s.splat_u(SIGN));
    Base { magnitude: (s.flip(high, sign), s.flip(low, sign)), sign }
}

/// a²·(log2 base + 1/2), since log2 √2 is 1/2.
#[inline(always)]
fn exponent<S: Simd>(s: S, a: S::F, (base, base_low): Two<S>) -> Two<S> {
    let (log, log_low) = log2_two(s, base, base_low);
    let (log, rest) = s.two_sum(log, s.splat(0.5));
    let (log, log_low) = s.fast_two_sum(log, s.add(rest, log_low));
    let (square, square_low) = s.two_mul(a, a);
    let (e, e_low) = s.two_mul(square, log);
    (e, s.fma(square, log_low, s.fma(square_low, log, e_low)))
}

/// The result from |base|^(a²): its sign, or NaN.
#[inline(always)]
fn signed<S: Simd>(s: S, a: S::F, y: S::F, sign: S::U) -> S::F {
    let y = canonical(s, y);
    let number = s.lt(s.abs(a), s.splat(f64::INFINITY));
    let positive = s.eq_u(sign, s.splat_u(0));
    if s.mask_bits(number) & s.mask_bits(positive) == 0xff {
        return y;
    }
    // A negative base: NaN unless the exponent is an integer, which doubles from 2^52 on are;
    // from 2^53 on all are even.
    let square = s.mul(a, a);
    let shifted = s.add(square, s.splat(TWO_52));
    let whole = s.eq_u(s.bits(s.sub(shifted, s.splat(TWO_52))), s.bits(square));
    let small = s.select(whole, s.flip(y, s.shl::<63>(s.bits(shifted))), s.splat(crate::NAN));
    let last_bit = s.select(s.lt(square, s.splat(2.0 * TWO_52)), square, s.splat(0.0));
    let large = s.flip(y, s.shl::<63>(s.bits(last_bit)));
    let negative = s.select(s.lt(square, s.splat(TWO_52)), small, large);
    s.select(number, s.select(positive, y, negative), s.splat(crate::NAN))
}

const TWO_52: f64 = 4_503_599_627_370_496.0;
