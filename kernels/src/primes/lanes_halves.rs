//! The tests on any odd u64 as two halves of 32 bits: Montgomery products, R = 2^64.
//!
//! A product is three or four half products, and its reduction two rounds of three, one for each
//! half of R: q = (low half)·n⁻¹, and q·n is taken away. What the rounds take away is summed apart
//! from what they take it from, so that all sums are unsigned and fit: `high - back` is the only
//! difference, and n is added where it is negative. Below 2^63 its sign is just the top bit.

#![forbid(unsafe_code)]

use super::lanes::{GROUP, Residues, Start, VECTORS, lucas_test, parameters, vectors};
use super::montgomery::{Montgomery, inverse64};
use crate::simd::{LANES, Op, Simd};

/// The low half of a lane.
const LOW: u64 = 0xffff_ffff;

/// Eight moduli. `FULL` ones are any u64, others below 2^63.
#[derive(Debug, Clone, Copy)]
struct Moduli<U, const FULL: bool> {
    n: U,
    n_high: U,
    /// 1/n modulo 2^32.
    inverse: U,
}

impl<U: Copy, const FULL: bool> Moduli<U, FULL> {
    #[inline(always)]
    fn new<S: Simd<U = U>>(s: S, n: &[u64; LANES]) -> Moduli<U, FULL> {
        let inverse = s.load_u(&n.map(inverse64));
        let n = s.load_u(n);
        Moduli { n, n_high: s.shr::<32>(n), inverse }
    }

    /// `a - b`, both below n.
    #[inline(always)]
    fn sub<S: Simd<U = U>>(self, s: S, a: U, b: U) -> U {
        let r = s.sub_u(a, b);
        let negative = if FULL { s.lt_u(a, b) } else { s.top_bit(r) };
        s.select_u(negative, s.add_u(r, self.n), r)
    }

    #[inline(always)]
    fn square<S: Simd<U = U>>(self, s: S, a: U) -> U {
        let a_high = s.shr::<32>(a);
        let (low, mid, high) = (s.mul32(a, a), s.mul32(a, a_high), s.mul32(a_high, a_high));
        let mid_twice = s.add_u(s.shr::<32>(low), s.add_u(mid, mid));
        // Twice the middle may be 2^64 where n is FULL; the half of it never is.
        let carried =
            if FULL { s.shr::<31>(s.add_u(mid, s.shr::<33>(low))) } else { s.shr::<32>(mid_twice) };
        self.reduce(s, low, mid_twice, s.add_u(high, carried))
    }

    #[inline(always)]
    fn product<S: Simd<U = U>>(self, s: S, a: U, b: U) -> U {
        let (a_high, b_high) = (s.shr::<32>(a), s.shr::<32>(b));
        let low = s.mul32(a, b);
        let mid = s.add_u(s.mul32(a_high, b), s.shr::<32>(low));
        let mid_2 = s.add_u(s.mul32(a, b_high), s.and_u(mid, s.splat_u(LOW)));
        let carried = s.add_u(s.shr::<32>(mid), s.shr::<32>(mid_2));
        self.reduce(s, low, mid_2, s.add_u(s.mul32(a_high, b_high), carried))
    }

    /// `(low + 2^32·mid + 2^64·high)/R`, where only the low halves of `low` and `mid` count.
    #[inline(always)]
    fn reduce<S: Simd<U = U>>(self, s: S, low: U, mid: U, high: U) -> U {
        let q = s.mul32_low(low, self.inverse);
        let back = s.add_u(s.mul32(q, self.n_high), s.shr::<32>(s.mul32(q, self.n)));
        let q = s.mul32_low(s.sub_u(mid, back), self.inverse);
        let carry = s.add_u(s.mul32(q, self.n), s.and_u(back, s.splat_u(LOW)));
        let carries = s.add_u(s.shr::<32>(back), s.shr::<32>(carry));
        self.sub(s, high, s.add_u(s.mul32(q, self.n_high), carries))
    }

    /// Half of `a`.
    #[inline(always)]
    fn half<S: Simd<U = U>>(self, s: S, a: U, half_n: U) -> U {
        let odd = s.top_bit(s.shl::<63>(a));
        s.add_u(s.shr::<1>(a), s.select_u(odd, half_n, s.splat_u(0)))
    }
}

impl<S: Simd, const FULL: bool> Residues<S> for Moduli<S::U, FULL> {
    type R = S::U;

    #[inline(always)]
    fn product_less(self, s: S, a: S::U, b: S::U, less: S::U) -> S::U {
        self.sub(s, self.product(s, a, b), less)
    }

    #[inline(always)]
    fn square_less(self, s: S, a: S::U, less: S::U) -> S::U {
        self.sub(s, self.square(s, a), less)
    }

    #[inline(always)]
    fn select(s: S, m: S::M, yes: S::U, no: S::U) -> S::U {
        s.select_u(m, yes, no)
    }

    #[inline(always)]
    fn ends(self, s: S, v: S::U, plus: S::U) -> (u8, u8) {
        let same = s.mask_bits(s.eq_u(v, plus));
        let other = s.mask_bits(s.eq_u(v, s.sub_u(self.n, plus)));
        (same | other, s.mask_bits(s.eq_u(v, s.splat_u(0))))
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
            *passed = if is_full(n) { base_2::<S, true>(s, n) } else { base_2::<S, false>(s, n) };
        }
    }
}

/// Whether one of the numbers is 2^63 or more.
#[inline(always)]
fn is_full(n: &[u64; GROUP]) -> bool {
    n.iter().fold(0, |all, n| all | n) >> 63 == 1
}

/// 1/2 to the power (n-1)/2 is ±1. The plain number 2^(64-q) is the form of 2^-q.
#[inline(always)]
fn base_2<S: Simd, const FULL: bool>(s: S, n: &[u64; GROUP]) -> [u8; VECTORS] {
    let exponent = n.map(|n| n >> 1);
    let all = exponent.iter().fold(0, |all, e| all | e);
    let steps = (64 - all.leading_zeros()).saturating_sub(6);
    let mut start = [0; GROUP];
    for (start, &n) in start.iter_mut().zip(n) {
        let q = n >> 1 >> steps;
        *start = if q == 0 { n.wrapping_neg() } else { 1 << (64 - q) };
        if *start >= n {
            *start %= n;
        }
    }
    // The bit of the step is kept in the top bit.
    let open = exponent.map(|e| e << (64 - steps));
    let (n, start, opens) = (vectors(n), vectors(&start), vectors(&open));
    let mut m = [Moduli::<S::U, FULL>::new(s, &n[0]); VECTORS];
    let mut half_n = [s.splat_u(0); VECTORS];
    let (mut x, mut open) = (half_n, half_n);
    for i in 0..VECTORS {
        m[i] = Moduli::new(s, &n[i]);
        half_n[i] = s.add_u(s.shr::<1>(m[i].n), s.splat_u(1));
        x[i] = s.load_u(&start[i]);
        open[i] = s.load_u(&opens[i]);
    }
    for _ in 0..steps {
        for i in 0..VECTORS {
            let square = m[i].square(s, x[i]);
            let bit = s.top_bit(open[i]);
            open[i] = s.add_u(open[i], open[i]);
            x[i] = s.select_u(bit, m[i].half(s, square, half_n[i]), square);
        }
    }
    let mut passed = [0; VECTORS];
    for i in 0..VECTORS {
        let plain = m[i].reduce(s, x[i], s.shr::<32>(x[i]), s.splat_u(0));
        passed[i] = m[i].ends(s, plain, s.splat_u(1)).0;
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
            *passed = if is_full(n) { lucas::<S, true>(s, n) } else { lucas::<S, false>(s, n) };
        }
    }
}

#[inline(always)]
fn lucas<S: Simd, const FULL: bool>(s: S, n: &[u64; GROUP]) -> [u8; VECTORS] {
    let n = vectors(n);
    let mut m = [Moduli::<S::U, FULL>::new(s, &n[0]); VECTORS];
    let mut start = [Start { two: s.splat_u(0), p: s.splat_u(0) }; VECTORS];
    let mut found = [0; VECTORS];
    for i in 0..VECTORS {
        let (p, lanes) = parameters(&n[i]);
        let (two, p) = forms(&n[i], &p);
        m[i] = Moduli::new(s, &n[i]);
        start[i] = Start { two: s.load_u(&two), p: s.load_u(&p) };
        found[i] = lanes;
    }
    let mut passed = lucas_test(s, &n, &m, &start);
    for i in 0..VECTORS {
        passed[i] &= found[i];
    }
    passed
}

/// The Montgomery forms of 2 and of the parameters.
#[inline(always)]
fn forms(n: &[u64; LANES], p: &[u64; LANES]) -> ([u64; LANES], [u64; LANES]) {
    let (mut two, mut form) = ([0; LANES], [0; LANES]);
    for lane in 0..LANES {
        let m = Montgomery::new(n[lane]);
        let one = m.one();
        two[lane] = m.add(one, one);
        form[lane] = (2..p[lane]).fold(two[lane], |form, _| m.add(form, one));
    }
    (two, form)
}
