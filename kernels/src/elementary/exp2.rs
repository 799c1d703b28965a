//! 2^x of a sum of two doubles.
//!
//! x = n/8 + r: a table of eight entries in two doubles and a polynomial of degree 7 in r.

#![forbid(unsafe_code)]

use super::sincos::canonical;
use super::tables::{EXP2_HIGH, EXP2_LOW, EXP2_POLY};
use crate::simd::Simd;

/// 1.5·2^49: adding it rounds to eighths.
const ROUND: f64 = 844_424_930_131_968.0;

/// Results within this are normal numbers, and so scaled by an integer addition.
const NORMAL: f64 = 1020.0;

/// Beyond this all results are 0 or infinite.
const LIMIT: f64 = 1100.0;

/// 2^(high + low), rounded; `low` is small beside `high`, and is not looked at where
/// `high` is beyond the range of results. NaN where `high` is NaN.
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, high: S::F, low: S::F) -> S::F {
    if s.all(s.lt(s.abs(high), s.splat(NORMAL))) {
        let (y, n) = mantissa(s, high, low);
        return s.float(s.add_u(s.bits(y), n));
    }
    let inside = s.lt(s.abs(high), s.splat(LIMIT));
    let negative = s.lt(high, s.splat(0.0));
    let edge = s.select(negative, s.splat(-LIMIT), s.splat(LIMIT));
    let h = s.select(inside, high, edge);
    let l = s.select(inside, low, s.splat(0.0));
    let (y, n) = mantissa(s, h, l);
    // In two steps, the last of which rounds to a subnormal or overflows.
    let shift = s.splat_u(600 << 52);
    let up = s.add_u(s.bits(y), n);
    let near = s.select(negative, s.float(s.add_u(up, shift)), s.float(s.sub_u(up, shift)));
    let (tiny, huge) = (s.splat(TWO_M600), s.splat(TWO_600));
    let y = s.mul(near, s.select(negative, tiny, huge));
    let magnitude = s.and_u(s.bits(high), s.splat_u(!crate::simd::SIGN));
    let number = s.le_u(magnitude, s.splat_u(f64::INFINITY.to_bits()));
    canonical(s, s.select(number, y, high))
}

const TWO_600: f64 = f64::from_bits((1023 + 600) << 52);
const TWO_M600: f64 = f64::from_bits((1023 - 600) << 52);

/// The result less its power of two, and what to add to its bits for that power.
#[inline(always)]
fn mantissa<S: Simd>(s: S, high: S::F, low: S::F) -> (S::F, S::U) {
    let turned = s.add(high, s.splat(ROUND));
    let r = s.sub(high, s.sub(turned, s.splat(ROUND)));
    let r = s.add(r, low);
    let p = s.mul(r, s.poly(r, &EXP2_POLY));
    let eighths = s.bits(turned);
    let t = s.lookup8(&EXP2_HIGH, eighths);
    let t_low = s.lookup8(&EXP2_LOW, eighths);
    let n = s.shl::<49>(s.and_u(eighths, s.splat_u(!7)));
    (s.add(t, s.fma(t, p, t_low)), n)
}
