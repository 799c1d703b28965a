//! One round on [0, 1.5], as a piecewise polynomial of degree 12 on eight intervals.
//!
//! Each interval's polynomial is written about a centre c chosen so that f(c) is a double to
//! some 2^-64: the rounded c0 then loses nothing, all other terms are small beside it, and the
//! last fused step is in effect the only rounding. The tables stand in registers (or come with
//! the permutation from L1): a look-up is one instruction of AVX-512, on other ports than
//! multiplication.

use super::table::{CENTRE, COEFFICIENT, INDEX_CURVE, INDEX_SLOPE};
use crate::simd::Simd;

/// The last argument of this path; the first is +0.
pub(super) const LAST: f64 = 1.5;

/// 1.5·2^52: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// (sin a + cos a)^(a²) for 0 ≤ a ≤ 1.5; elsewhere some number.
#[inline(always)]
pub(super) fn round<S: Simd>(s: S, a: S::F) -> S::F {
    let slope = s.fma(a, s.splat(INDEX_CURVE), s.splat(INDEX_SLOPE));
    let i = s.bits(s.fma(a, slope, s.splat(ROUND)));
    let t = s.sub(a, s.lookup8(&CENTRE, i));
    let mut y = s.lookup8(&COEFFICIENT[COEFFICIENT.len() - 1], i);
    for row in COEFFICIENT[..COEFFICIENT.len() - 1].iter().rev() {
        y = s.fma(y, t, s.lookup8(row, i));
    }
    y
}
