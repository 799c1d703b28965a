//! The proven test on eight numbers a vector, written once over [`Simd`]: what the two kinds of
//! residues (`lanes_floats.rs`, `lanes_halves.rs`) share.
//!
//! A group is [`GROUP`] numbers, of any sizes mixed, whose chains of products do not wait for each
//! other: that is what keeps the multipliers busy.

#![forbid(unsafe_code)]

use super::lucas;
use crate::simd::{LANES, Simd};

/// Numbers that go through a test together: enough vectors in flight, as measured on Zen 3.
pub(super) const GROUP: usize = 32;

/// Vectors of a group.
pub(super) const VECTORS: usize = GROUP / LANES;

/// Arithmetic modulo the numbers of one vector.
pub(super) trait Residues<S: Simd>: Copy {
    /// A residue in each lane.
    type R: Copy;

    /// `a·b - less`.
    fn product_less(self, s: S, a: Self::R, b: Self::R, less: Self::R) -> Self::R;

    /// `a² - less`.
    #[inline(always)]
    fn square_less(self, s: S, a: Self::R, less: Self::R) -> Self::R {
        self.product_less(s, a, a, less)
    }

    /// `yes` where the mask is set, else `no`.
    fn select(s: S, m: S::M, yes: Self::R, no: Self::R) -> Self::R;

    /// The lanes that are `plus` or `-plus`, and those that are zero.
    fn ends(self, s: S, v: Self::R, plus: Self::R) -> (u8, u8);
}

/// Where the Lucas chains of one vector of numbers begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<R> {
    pub(super) two: R,
    pub(super) p: R,
}

/// The almost extra strong Lucas test (see `lucas.rs`) on a group of numbers: the lanes that
/// pass. V and W are V_k and V_(k+1), from k = 0 on, so that shorter numbers just begin later.
#[inline(always)]
pub(super) fn lucas_test<S: Simd, M: Residues<S>>(
    s: S,
    n: &[[u64; LANES]; VECTORS],
    m: &[M; VECTORS],
    start: &[Start<M::R>; VECTORS],
) -> [u8; VECTORS] {
    let order = n.map(|n| n.map(|n| n + 1));
    let all = order.as_flattened().iter().fold(0, |all, n| all | n);
    let bits = 64 - all.leading_zeros();
    let most_trailing = order.as_flattened().iter().fold(0, |m: u32, n| m.max(n.trailing_zeros()));
    // The bit of the step is kept in the top bit.
    let aligned = order.map(|n| n.map(|n| n << (64 - bits)));
    let mut open = [s.splat_u(0); VECTORS];
    let (mut v, mut w) = ([start[0].two; VECTORS], [start[0].p; VECTORS]);
    for i in 0..VECTORS {
        open[i] = s.load_u(&aligned[i]);
        (v[i], w[i]) = (start[i].two, start[i].p);
    }
    let mut passed = [0; VECTORS];
    for step in (1..bits).rev() {
        for i in 0..VECTORS {
            let bit = s.top_bit(open[i]);
            open[i] = s.add_u(open[i], open[i]);
            let product = m[i].product_less(s, v[i], w[i], start[i].p);
            let base = M::select(s, bit, w[i], v[i]);
            let square = m[i].square_less(s, base, start[i].two);
            v[i] = M::select(s, bit, product, square);
            w[i] = M::select(s, bit, square, product);
        }
        if step <= most_trailing {
            for i in 0..VECTORS {
                passed[i] |= lanes_done(s, m[i], v[i], start[i].two, &order[i], step);
            }
        }
    }
    passed
}

/// The lanes that end well at a step: with ±2 at the last of d, or with zero before the last of n + 1.
#[inline(always)]
fn lanes_done<S: Simd, M: Residues<S>>(
    s: S,
    m: M,
    v: M::R,
    two: M::R,
    order: &[u64; LANES],
    step: u32,
) -> u8 {
    let (twos, zeros) = m.ends(s, v, two);
    let (mut last, mut before) = (0, 0);
    for (lane, order) in order.iter().enumerate() {
        let trailing = order.trailing_zeros();
        last |= u8::from(step == trailing) << lane;
        before |= u8::from(step >= 2 && step <= trailing) << lane;
    }
    twos & last | zeros & before
}

/// The parameter of each number, and the lanes that have one.
#[inline(always)]
pub(super) fn parameters(n: &[u64; LANES]) -> ([u64; LANES], u8) {
    let (mut p, mut found) = ([3; LANES], 0);
    for (lane, &n) in n.iter().enumerate() {
        if let Some(parameter) = lucas::parameter(n) {
            p[lane] = parameter;
            found |= 1 << lane;
        }
    }
    (p, found)
}

/// A group as vectors.
#[inline(always)]
pub(super) fn vectors(all: &[u64; GROUP]) -> [[u64; LANES]; VECTORS] {
    std::array::from_fn(|i| std::array::from_fn(|k| all[LANES * i + k]))
}
