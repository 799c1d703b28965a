//! One round for any argument: 2^(a²·log2(√2·sin(a + π/4))), each step in two doubles.

use crate::elementary::exp2::exp2;
use crate::elementary::log2::log2_two;
use crate::elementary::pow::{is_integer, is_odd_integer};
use crate::elementary::reduce::reduce;
use crate::elementary::sincos::{by_quadrant, canonical, sin_cos_reduced};
use crate::simd::{LANES, SIGN, Simd};

/// (sin a + cos a)^(a²), as C's `pow` of the two would have it for special values.
#[inline(always)]
pub(super) fn round<S: Simd>(s: S, a: S::F) -> S::F {
    let r = reduce::<S, true>(s, a);
    let ((sin, sin_low), (cos, cos_low)) = sin_cos_reduced(s, r);
    let high = by_quadrant(s, r.quadrant, sin, cos);
    let low = by_quadrant(s, r.quadrant, sin_low, cos_low);
    // The logarithm of the magnitude; the sign is looked at last.
    let sign = s.and_u(s.bits(high), s.splat_u(SIGN));
    let (log, log_low) = log2_two(s, s.flip(high, sign), s.flip(low, sign));
    // + log2 √2
    let (log, rest) = s.two_sum(log, s.splat(0.5));
    let (log, log_low) = s.fast_two_sum(log, s.add(rest, log_low));
    let (square, square_low) = s.two_mul(a, a);
    let (e, e_low) = s.two_mul(square, log);
    let e_low = s.fma(square, log_low, s.fma(square_low, log, e_low));
    let y = canonical(s, exp2(s, e, e_low));
    let number = s.lt(s.abs(a), s.splat(f64::INFINITY));
    let positive = s.eq_u(sign, s.splat_u(0));
    let usual = s.mask_bits(number) & s.mask_bits(positive);
    if usual == 0xff { y } else { patch(s, a, y, !usual) }
}

/// Gives the lanes set in `special` their sign, or NaN.
#[cold]
#[inline(never)]
fn patch<S: Simd>(s: S, a: S::F, y: S::F, special: u8) -> S::F {
    let (mut xs, mut ys) = ([0.0; LANES], [0.0; LANES]);
    s.store(a, &mut xs);
    s.store(y, &mut ys);
    for i in (0..LANES).filter(|i| special >> i & 1 != 0) {
        let exponent = xs[i] * xs[i];
        ys[i] = if !xs[i].is_finite() || exponent.is_finite() && !is_integer(exponent) {
            crate::NAN
        } else if is_odd_integer(exponent) {
            -ys[i]
        } else {
            ys[i]
        };
    }
    s.load(&ys)
}
