//! The tests on numbers below 2^49 as floats: a product and its remainder in seven operations.
//!
//! h = a·b rounded and l = a·b - h are exact together; q is h/n rounded to an integer; then
//! r = (h - q·n) + l. Residues are plain integers between -0.6·n and 0.6·n, so nothing is ever
//! corrected. Why this is exact, for |a| <= 0.6·n and |b| <= 1.2·n:
//! - |h| < 0.72·n², so h/n < 0.72·n < 2^49 and the two roundings (of h and of 1/n) move it by less than
//!   2·2^-53·0.72·2^49 < 0.1: q is the integer next to it, within 0.6.
//! - h - q·n is an integer (h is one), and below 0.6·n + |l|, |l| < 2^45: all far below 2^53, so the
//!   fused product is exact, and so is the sum.

#![forbid(unsafe_code)]

use super::lanes::{GROUP, Residues, Start, VECTORS, lucas_test, parameters, vectors};
use crate::simd::{LANES, Op, Simd};

/// Numbers that are treated as floats are below.
pub(super) const BELOW: u64 = 1 << 49;

/// Adding this and taking it off again rounds to an integer, for numbers to 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52

/// The lowest bit of a float's exponent: adding it doubles.
const DOUBLE: u64 = 1 << 52;

/// Eight moduli and their inverses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moduli<F> {
    n: F,
    inverse: F,
}

impl<F: Copy> Moduli<F> {
    #[inline(always)]
    pub(super) fn new<S: Simd<F = F>>(s: S, n: &[u64; LANES]) -> Moduli<F> {
        let n = s.to_float(s.load_u(n));
        Moduli { n, inverse: s.div(s.splat(1.0), n) }
    }

    /// `a·b - less`, for a small integer `less`.
    #[inline(always)]
    pub(super) fn product_less<S: Simd<F = F>>(self, s: S, a: F, b: F, less: F) -> F {
        let (high, low) = s.two_mul(a, b);
        s.add(self.remainder(s, high), s.sub(low, less))
    }

    #[inline(always)]
    pub(super) fn product<S: Simd<F = F>>(self, s: S, a: F, b: F) -> F {
        let (high, low) = s.two_mul(a, b);
        s.add(self.remainder(s, high), low)
    }

    #[inline(always)]
    fn remainder<S: Simd<F = F>>(self, s: S, high: F) -> F {
        let round = s.splat(ROUND);
        let quotient = s.sub(s.fma(high, self.inverse, round), round);
        s.fnma(quotient, self.n, high)
    }
}

impl<S: Simd> Residues<S> for Moduli<S::F> {
    type R = S::F;

    #[inline(always)]
    fn product_less(self, s: S, a: S::F, b: S::F, less: S::F) -> S::F {
        Moduli::product_less(self, s, a, b, less)
    }

    #[inline(always)]
    fn select(s: S, m: S::M, yes: S::F, no: S::F) -> S::F {
        s.select(m, yes, no)
    }

    #[inline(always)]
    fn ends(self, s: S, v: S::F, plus: S::F) -> (u8, u8) {
        // A residue has two forms, one of each sign, unless it is zero.
        let size = s.bits(s.abs(v));
        let same = s.mask_bits(s.eq_u(size, s.bits(plus)));
        let other = s.mask_bits(s.eq_u(size, s.bits(s.sub(self.n, plus))));
        (same | other, s.mask_bits(s.eq_u(size, s.splat_u(0))))
    }
}

/// The Euler test to base 2 on groups of odd numbers from 67² on: a bit for each that passes.
#[derive(Debug)]
pub(super) struct Base2<'a> {
    pub(super) n: &'a [[u64; GROUP]],
    pub(super) passed: &'a mut [[u8; VECTORS]],
}

impl Op for Base2<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (n, passed) in self.n.iter().zip(self.passed) {
            *passed = base_2(s, n);
        }
    }
}

#[inline(always)]
fn base_2<S: Simd>(s: S, n: &[u64; GROUP]) -> [u8; VECTORS] {
    let exponent = n.map(|n| n >> 1);
    let all = exponent.iter().fold(0, |all, e| all | e);
    // 2^31 is below every number of a group, or 2^7 is; the squarings begin there.
    let short = n.iter().fold(false, |short, &n| short | (n >> 33 == 0));
    let steps = (64 - all.leading_zeros()) - if short { 3 } else { 5 };
    let start = exponent.map(|e| (1023 + (e >> steps)) << 52);
    // The bit of the step is kept at the place of `DOUBLE`.
    let open = exponent.map(|e| e << (53 - steps));
    let (n, starts, opens) = (vectors(n), vectors(&start), vectors(&open));
    let mut m = [Moduli::new(s, &n[0]); VECTORS];
    let mut x = [s.splat(0.0); VECTORS];
    let mut open = [s.splat_u(0); VECTORS];
    for i in 0..VECTORS {
        m[i] = Moduli::new(s, &n[i]);
        x[i] = s.float(s.load_u(&starts[i]));
        open[i] = s.load_u(&opens[i]);
    }
    for _ in 0..steps {
        for i in 0..VECTORS {
            // A power of two is not 0, so its exponent is there to add to.
            let double = s.and_u(open[i], s.splat_u(DOUBLE));
            let twice = s.float(s.add_u(s.bits(x[i]), double));
            open[i] = s.add_u(open[i], open[i]);
            x[i] = m[i].product(s, x[i], twice);
        }
    }
    let one = s.splat(1.0);
    let mut passed = [0; VECTORS];
    for i in 0..VECTORS {
        passed[i] = m[i].ends(s, x[i], one).0;
    }
    passed
}

/// The Lucas test on groups of odd numbers from 67² on without a prime to 23: a bit for each that passes.
#[derive(Debug)]
pub(super) struct Lucas<'a> {
    pub(super) n: &'a [[u64; GROUP]],
    pub(super) passed: &'a mut [[u8; VECTORS]],
}

impl Op for Lucas<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (n, passed) in self.n.iter().zip(self.passed) {
            *passed = lucas(s, n);
        }
    }
}

#[inline(always)]
fn lucas<S: Simd>(s: S, n: &[u64; GROUP]) -> [u8; VECTORS] {
    let n = vectors(n);
    let two = s.splat(2.0);
    let mut m = [Moduli::new(s, &n[0]); VECTORS];
    let mut start = [Start { two, p: two }; VECTORS];
    let mut found = [0; VECTORS];
    for i in 0..VECTORS {
        let (p, lanes) = parameters(&n[i]);
        m[i] = Moduli::new(s, &n[i]);
        start[i].p = s.to_float(s.load_u(&p));
        found[i] = lanes;
    }
    let mut passed = lucas_test(s, &n, &m, &start);
    for i in 0..VECTORS {
        passed[i] &= found[i];
    }
    passed
}
