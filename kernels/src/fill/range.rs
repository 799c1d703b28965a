//! Uniform numbers in a range, integers without bias and floats.

#![forbid(unsafe_code)]

use super::{Transform, unit};
use crate::simd::{LANES, Simd};

pub(super) struct Integers {
    pub(super) low: u64,
    pub(super) span: u64,
    /// Draws whose product has a low half below this are rejected: 2^64 mod span.
    pub(super) reject_below: u64,
}

impl Transform for Integers {
    type T = u64;

    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [u64; LANES]) {
        let (high, _) = s.mul64(draws, s.splat_u(self.span));
        s.store_u(s.add_u(high, s.splat_u(self.low)), out);
    }

    #[inline(always)]
    fn rejected<S: Simd>(&self, s: S, draws: S::U) -> u8 {
        let (_, low) = s.mul64(draws, s.splat_u(self.span));
        !s.mask_bits(s.le_u(s.splat_u(self.reject_below), low))
    }
}

pub(super) struct Floats {
    pub(super) low: f64,
    pub(super) width: f64,
    pub(super) high: f64,
    /// The number below `high`.
    pub(super) last: f64,
}

impl Transform for Floats {
    type T = f64;

    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [f64; LANES]) {
        let x = s.fma(unit(s, draws), s.splat(self.width), s.splat(self.low));
        s.store(s.select(s.lt(x, s.splat(self.high)), x, s.splat(self.last)), out);
    }
}
