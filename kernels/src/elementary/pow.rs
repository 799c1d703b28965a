//! x^y: log2 |x| in two doubles, times y, then 2^; special cases lane by lane.

#![forbid(unsafe_code)]

use super::exp2::exp2;
use super::log2::log2_positive;
use crate::simd::{LANES, SIGN, Simd};

/// x^y, rounded, for any x and y, as C's `pow` and IEEE 754 say; any NaN is the canonical one.
#[inline(always)]
pub(crate) fn pow<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let magnitude = s.abs(x);
    let (log, log_low) = log2_positive(s, magnitude);
    let (high, low) = s.two_mul(log, y);
    let low = s.fma(log_low, y, low);
    let result = exp2(s, high, low);
    // x positive and finite, y finite.
    let past = s.sub_u(s.bits(x), s.splat_u(1));
    let usual_x = s.le_u(past, s.splat_u(f64::MAX.to_bits() - 1));
    let y_magnitude = s.and_u(s.bits(y), s.splat_u(!SIGN));
    let usual_y = s.le_u(y_magnitude, s.splat_u(f64::MAX.to_bits()));
    let usual = s.mask_bits(usual_x) & s.mask_bits(usual_y);
    if usual == 0xff { result } else { patch(s, x, y, result, !usual) }
}

#[cold]
#[inline(never)]
fn patch<S: Simd>(s: S, x: S::F, y: S::F, result: S::F, special: u8) -> S::F {
    let (mut xs, mut ys, mut out) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    s.store(x, &mut xs);
    s.store(y, &mut ys);
    s.store(result, &mut out);
    for i in (0..LANES).filter(|i| special >> i & 1 != 0) {
        out[i] = pow_special(xs[i], ys[i], out[i]);
    }
    s.load(&out)
}

/// x^y where x is not positive and finite or y is not finite; `of_magnitude` is |x|^y where both
/// are finite and x is not 0.
fn pow_special(x: f64, y: f64, of_magnitude: f64) -> f64 {
    if x == 1.0 || y == 0.0 {
        return 1.0;
    }
    if x.is_nan() || y.is_nan() {
        return crate::NAN;
    }
    if y.is_infinite() {
        let magnitude = x.abs();
        return if magnitude == 1.0 {
            1.0
        } else if (magnitude > 1.0) == (y > 0.0) {
            f64::INFINITY
        } else {
            0.0
        };
    }
    let odd = is_odd_integer(y);
    let unsigned = if x == 0.0 || x.is_infinite() {
        if (x == 0.0) == (y > 0.0) { 0.0 } else { f64::INFINITY }
    } else if x < 0.0 && !is_integer(y) {
        return crate::NAN;
    } else {
        of_magnitude
    };
    if x.is_sign_negative() && odd { -unsigned } else { unsigned }
}

/// Whether a finite y is an integer.
fn is_integer(y: f64) -> bool {
    y.abs() >= 9_007_199_254_740_992.0 || (y as i64) as f64 == y
}

/// Whether a finite y is an odd integer; from 2^53 on all are even.
fn is_odd_integer(y: f64) -> bool {
    y.abs() < 9_007_199_254_740_992.0 && (y as i64) as f64 == y && (y as i64) & 1 == 1
}
