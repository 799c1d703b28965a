//! Sine and cosine of a reduced argument, in two doubles.
//!
//! Near polynomials in r² with the first terms exact (as in fdlibm: Sun Microsystems, k_sin.c and
//! k_cos.c describe the idea), so that all rounding errors but the last are small beside the
//! result: about 0.53 ULP in all.

use super::reduce::{Reduced, reduce};
use super::tables::{COS_POLY, SIN_POLY};
use crate::simd::Simd;

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

/// Picks sine or cosine and the sign for the quadrant: sin of n·π/2 + r.
#[inline(always)]
pub(crate) fn by_quadrant<S: Simd>(s: S, quadrant: S::U, sin: S::F, cos: S::F) -> S::F {
    let even = s.eq_u(s.and_u(quadrant, s.splat_u(1)), s.splat_u(0));
    let sign = s.shl::<62>(s.and_u(quadrant, s.splat_u(2)));
    s.flip(s.select(even, sin, cos), sign)
}

/// sin x and cos x, rounded; NaN is not yet the canonical one.
#[inline(always)]
pub(crate) fn sin_cos<S: Simd>(s: S, x: S::F) -> (S::F, S::F) {
    let r = reduce::<S, false>(s, x);
    let ((sin, _), (cos, _)) = sin_cos_reduced(s, r);
    let zero = s.eq_u(s.shl::<1>(s.bits(x)), s.splat_u(0));
    let sine = s.select(zero, x, by_quadrant(s, r.quadrant, sin, cos));
    let next = s.add_u(r.quadrant, s.splat_u(1));
    (canonical(s, sine), canonical(s, by_quadrant(s, next, sin, cos)))
}

/// `x`, or the canonical NaN where it is any NaN.
#[inline(always)]
pub(crate) fn canonical<S: Simd>(s: S, x: S::F) -> S::F {
    let magnitude = s.and_u(s.bits(x), s.splat_u(!crate::simd::SIGN));
    let number = s.le_u(magnitude, s.splat_u(f64::INFINITY.to_bits()));
    s.select(number, x, s.splat(crate::NAN))
}
