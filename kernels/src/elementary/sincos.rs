//! Sine and cosine of a reduced argument, in two doubles.
//!
//! Near polynomials in r² with the first terms exact (as in fdlibm: Sun Microsystems, k_sin.c and
//! k_cos.c describe the idea), so that all rounding errors but the last are small beside the
//! result: about 0.53 ULP in all.

#![forbid(unsafe_code)]

use super::reduce::{Reduced, patch, reduce};
use super::tables::{COS_POLY, SIN_POLY};
use crate::simd::{SIGN, Simd};

/// A value as an unevaluated sum of two doubles, the second small beside the first.
pub(crate) type Two<S> = (<S as Simd>::F, <S as Simd>::F);

/// sin r and cos r for |r| ≤ π/4.
#[inline(always)]
pub(crate) fn sin_cos_reduced<S: Simd>(s: S, r: Reduced<S>) -> (Two<S>, Two<S>) {
    let square = s.mul(r.high, r.high);
    let half = s.mul(square, s.splat(0.5));
    let one = s.splat(1.0);
    // sin: r + (r³·P(r²) + low·(1 − r²/2))
    let cube = s.mul(square, r.high);
    let correction = s.mul(r.low, s.sub(one, half));
    let sine = s.fma(cube, s.poly(square, &SIN_POLY), correction);
    // cos: (1 − r²/2) + (r⁴·Q(r²) − r·low − what the first two terms lost)
    let first = s.sub(one, half);
    let lost = s.sub(s.sub(one, first), half);
    let square_low = s.fms(r.high, r.high, square);
    let rest = s.fnma(square_low, s.splat(0.5), s.fnma(r.high, r.low, lost));
    let cosine = s.fma(s.mul(square, square), s.poly(square, &COS_POLY), rest);
    (s.fast_two_sum(r.high, sine), s.fast_two_sum(first, cosine))
}

/// The sine of n·π/2 + r: [`sin_cos_reduced`] where only one of the two is wanted. The same
/// steps, with the operands of sine or cosine chosen beforehand, so the same bits.
#[inline(always)]
pub(crate) fn sin_reduced<S: Simd>(s: S, r: Reduced<S>) -> Two<S> {
    let even = s.eq_u(s.and_u(r.quadrant, s.splat_u(1)), s.splat_u(0));
    let square = s.mul(r.high, r.high);
    let half = s.mul(square, s.splat(0.5));
    let first = s.sub(s.splat(1.0), half);
    let lost = s.sub(s.sub(s.splat(1.0), first), half);
    let square_low = s.fms(r.high, r.high, square);
    let rest = s.fnma(square_low, s.splat(0.5), s.fnma(r.high, r.low, lost));
    let leading = s.select(even, r.high, first);
    let correction = s.select(even, s.mul(r.low, first), rest);
    let power = s.mul(square, s.select(even, r.high, square));
    let mut coefficients = [s.splat(0.0); SIN_POLY.len()];
    for k in 0..SIN_POLY.len() {
        coefficients[k] = s.select(even, s.splat(SIN_POLY[k]), s.splat(COS_POLY[k]));
    }
    let poly = s.poly_of(square, coefficients);
    let (high, low) = s.fast_two_sum(leading, s.fma(power, poly, correction));
    let sign = s.shl::<62>(s.and_u(r.quadrant, s.splat_u(2)));
    (s.flip(high, sign), s.flip(low, sign))
}

/// Picks sine or cosine and the sign for the quadrant: sin of n·π/2 + r.
#[inline(always)]
fn by_quadrant<S: Simd>(s: S, quadrant: S::U, sin: S::F, cos: S::F) -> S::F {
    let even = s.eq_u(s.and_u(quadrant, s.splat_u(1)), s.splat_u(0));
    let sign = s.shl::<62>(s.and_u(quadrant, s.splat_u(2)));
    s.flip(s.select(even, sin, cos), sign)
}

/// sin x, or with `TURN` 1 cos x, rounded.
#[inline(always)]
pub(crate) fn sin_any<S: Simd, const TURN: u64>(s: S, x: S::F) -> S::F {
    let (r, usual) = reduce(s, x);
    let r = if usual == 0xff { r } else { patch::<S, false>(s, x, r, !usual) };
    let turned = s.add_u(r.quadrant, s.splat_u(TURN));
    let (y, _) = sin_reduced(s, Reduced { quadrant: turned, ..r });
    let y = if usual == 0xff { y } else { canonical(s, y) };
    if TURN == 0 { keep_zero(s, x, y) } else { y }
}

/// sin x and cos x, rounded: the bits of [`sin_any`].
#[inline(always)]
pub(crate) fn sin_cos<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let (r, usual) = reduce(s, x);
    let r = if usual == 0xff { r } else { patch::<S, false>(s, x, r, !usual) };
    let ((sin, _), (cos, _)) = sin_cos_reduced(s, r);
    let next = s.add_u(r.quadrant, s.splat_u(1));
    let (sine, cosine) = (by_quadrant(s, r.quadrant, sin, cos), by_quadrant(s, next, sin, cos));
    if usual == 0xff {
        return (keep_zero(s, x, sine), cosine);
    }
    (keep_zero(s, x, canonical(s, sine)), canonical(s, cosine))
}

/// `y`, or x where that is ±0, whose sign the sums lose.
#[inline(always)]
fn keep_zero<S: Simd>(s: S, x: S::F, y: S::F) -> S::F {
    let magnitude = s.and_u(s.bits(x), s.splat_u(!SIGN));
    s.select(s.eq_u(magnitude, s.splat_u(0)), x, y)
}

/// `x`, or the canonical NaN where it is any NaN.
#[inline(always)]
pub(crate) fn canonical<S: Simd>(s: S, x: S::F) -> S::F {
    let magnitude = s.and_u(s.bits(x), s.splat_u(!SIGN));
    let number = s.le_u(magnitude, s.splat_u(f64::INFINITY.to_bits()));
    s.select(number, x, s.splat(crate::NAN))
}
