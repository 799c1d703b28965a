//! log2 in two doubles.
//!
//! x = 2^e·m, m·c = 1 + z for one of 32 factors c, |z| ≤ 1/65; log2 x = (e − log2 c) + log2(1+z),
//! the first terms of the series in two doubles. Around x = 1 the factor is 1 and e is 0, so that
//! the result keeps its relative error there: about 2^-66.

#![forbid(unsafe_code)]

use super::sincos::Two;
use super::tables::{
    INV_LN2_HIGH, INV_LN2_LOW, LOG2_FACTOR, LOG2_HIGH, LOG2_LOW, LOG2_OFFSET, LOG2_POLY,
    LOG2_ROUNDED_POLY,
};
use crate::simd::Simd;

const EXPONENT: u64 = 0xfff << 52;

/// log2 x for x positive, normal and finite.
#[inline(always)]
pub(crate) fn log2<S: Simd>(s: S, x: S::F) -> Two<S> {
    let Split { index, m, e, .. } = split(s, x);
    let c = s.lookup32(&LOG2_FACTOR, index);
    let (product, product_low) = s.two_mul(m, c);
    let (z, z_low) = s.fast_two_sum(s.sub(product, s.splat(1.0)), product_low);
    series(s, z, z_low, s.add(e, s.lookup32(&LOG2_HIGH, index)), s.lookup32(&LOG2_LOW, index))
}

/// log2 x for x positive, normal and finite, as one double: 0.53 ULP, in fewer steps.
#[inline(always)]
pub(crate) fn log2_rounded<S: Simd>(s: S, x: S::F) -> S::F {
    let Split { index, m, e, .. } = split(s, x);
    let c = s.lookup32(&LOG2_FACTOR, index);
    let (product, z_low) = s.two_mul(m, c);
    let z = s.sub(product, s.splat(1.0));
    let (first, first_low) = s.two_mul(z, s.splat(INV_LN2_HIGH));
    // z_low is small beside 1, not beside z: its product with z counts too.
    let z_low = s.fnma(z, z_low, z_low);
    let low = s.fma(z, s.splat(INV_LN2_LOW), s.fma(z_low, s.splat(INV_LN2_HIGH), first_low));
    let low = s.add(low, s.lookup32(&LOG2_LOW, index));
    let low = s.fma(s.mul(z, z), s.poly(z, &LOG2_ROUNDED_POLY), low);
    let base = s.add(e, s.lookup32(&LOG2_HIGH, index));
    let (sum, sum_low) = s.fast_two_sum(base, first);
    s.add(sum, s.add(sum_low, low))
}

/// log2(x + x_low) for x positive, normal and at most 2^1000, and x_low at most an ULP of x.
#[inline(always)]
pub(crate) fn log2_two<S: Simd>(s: S, x: S::F, x_low: S::F) -> Two<S> {
    let Split { index, m, e, power } = split(s, x);
    let unscale = s.float(s.sub_u(s.splat_u(1023 << 52), power));
    let c = s.lookup32(&LOG2_FACTOR, index);
    let (product, product_low) = s.two_mul(m, c);
    let z = s.sub(product, s.splat(1.0));
    let (z, z_low) = s.fast_two_sum(z, s.fma(s.mul(x_low, unscale), c, product_low));
    series(s, z, z_low, s.add(e, s.lookup32(&LOG2_HIGH, index)), s.lookup32(&LOG2_LOW, index))
}

/// x = 2^e·m, with m in [0.71, 1.42).
struct Split<S: Simd> {
    /// The interval of m, in the low 5 bits.
    index: S::U,
    m: S::F,
    e: S::F,
    /// e in the place of the exponent.
    power: S::U,
}

#[inline(always)]
fn split<S: Simd>(s: S, x: S::F) -> Split<S> {
    let bits = s.bits(x);
    let past = s.sub_u(bits, s.splat_u(LOG2_OFFSET));
    let power = s.and_u(past, s.splat_u(EXPONENT));
    // e as a float: its biased form put into the low bits of 2^52.
    let biased = s.shr::<52>(s.add_u(past, s.splat_u(1024 << 52)));
    let e = s.float(s.or_u(biased, s.splat_u(TWO_52.to_bits())));
    let e = s.sub(e, s.splat(TWO_52 + 1024.0));
    Split { index: s.shr::<47>(past), m: s.float(s.sub_u(bits, power)), e, power }
}

/// base + base_low + log2(1 + z + z_low).
#[inline(always)]
fn series<S: Simd>(s: S, z: S::F, z_low: S::F, base: S::F, base_low: S::F) -> Two<S> {
    let (kh, kl) = (s.splat(INV_LN2_HIGH), s.splat(INV_LN2_LOW));
    // z − z²/2 in two doubles, then times 1/ln 2; the rest of the series in one.
    let minus_half = s.mul(z, s.splat(-0.5));
    let (square, square_low) = s.two_mul(z, minus_half);
    let square_low = s.fnma(z, z_low, square_low);
    let (u, u_low) = s.fast_two_sum(z, square);
    let u_low = s.add(u_low, s.add(square_low, z_low));
    let (first, first_low) = s.two_mul(u, kh);
    let first_low = s.fma(u, kl, s.fma(u_low, kh, first_low));
    let cube = s.mul(s.mul(z, z), z);
    let rest = s.fma(cube, s.poly(z, &LOG2_POLY), s.add(first_low, base_low));
    // The base is 0 or the larger one: 0.026 and up, against 0.022.
    let (sum, sum_low) = s.fast_two_sum(base, first);
    s.fast_two_sum(sum, s.add(sum_low, rest))
}

const TWO_52: f64 = 4_503_599_627_370_496.0;
const TWO_54: f64 = 18_014_398_509_481_984.0;

/// log2 of a positive finite x that may be subnormal (and of anything else, some number).
#[inline(always)]
pub(crate) fn log2_positive<S: Simd>(s: S, x: S::F) -> Two<S> {
    let subnormal = s.lt(x, s.splat(f64::MIN_POSITIVE));
    if s.mask_bits(subnormal) == 0 {
        return log2(s, x);
    }
    let scaled = s.select(subnormal, s.mul(x, s.splat(TWO_54)), x);
    let (high, low) = log2(s, scaled);
    let shift = s.select(subnormal, s.splat(-54.0), s.splat(0.0));
    let (high, more) = s.two_sum(high, shift);
    (high, s.add(low, more))
}

/// log2 x for any x, rounded: NaN below 0, −∞ at ±0.
#[inline(always)]
pub(crate) fn log2_any<S: Simd>(s: S, x: S::F) -> S::F {
    // Positive, normal and finite, by one unsigned comparison.
    let past = s.sub_u(s.bits(x), s.splat_u(f64::MIN_POSITIVE.to_bits()));
    let usual = s.le_u(past, s.splat_u(f64::MAX.to_bits() - f64::MIN_POSITIVE.to_bits()));
    if s.all(usual) {
        return log2_rounded(s, x);
    }
    let subnormal = s.lt(x, s.splat(f64::MIN_POSITIVE));
    let scaled = log2_rounded(s, s.select(subnormal, s.mul(x, s.splat(TWO_54)), x));
    // Exact or nearly so: the logarithm of a subnormal is far from 0.
    let shift = s.select(subnormal, s.splat(54.0), s.splat(0.0));
    let high = s.sub(scaled, shift);
    let past = s.sub_u(s.bits(x), s.splat_u(1));
    let usual = s.le_u(past, s.splat_u(f64::MAX.to_bits() - 1));
    let special = s.select(s.lt(s.splat(0.0), x), s.splat(f64::INFINITY), s.splat(crate::NAN));
    let zero = s.eq_u(s.shl::<1>(s.bits(x)), s.splat_u(0));
    let special = s.select(zero, s.splat(f64::NEG_INFINITY), special);
    s.select(usual, high, special)
}
