//! `sum`, `dot`, `axpy`, `mean_and_variance` and `sum_exact` for f64 and f32.
//!
//! The shape of every sum is fixed, and so are its bits, on any instruction set:
//!
//! ```text
//! block   1024 elements; lane l adds elements l, l+8, l+16, … in order, starting from −0.0
//! fold    ((l0+l4) + (l2+l6)) + ((l1+l5) + (l3+l7))     as halving a 512-bit register does
//! tree    blocks (0,1) (2,3) …, then pairs of those, …; an odd one out moves up unchanged
//! ```
//!
//! −0.0 is the neutral element of addition, so a lane that has no element changes nothing; an
//! empty sum is −0.0. [`tree_fold`] folds the slots of chunks by the same tree. `sum_exact` has
//! no shape: it is the exact sum, rounded once.

mod exact;

use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Sub};

use crate::simd::{LANES, Op, Simd, dispatch};

pub use exact::sum_exact;

/// Elements in a block of a sum; results depend on it.
pub const BLOCK: usize = 1024;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The element types of sums: f32 and f64.
pub trait Float:
    sealed::Sealed
    + Copy
    + Debug
    + PartialEq
    + Into<f64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// −0, the neutral element of addition.
    const NEUTRAL: Self;
    /// The canonical NaN, that every NaN result is.
    const CANONICAL_NAN: Self;
    /// Bits of the significand.
    const PRECISION: i32;
    /// The exponent of the smallest subnormal.
    const FINEST: i32;
    /// The count as a float, rounded.
    fn from_count(n: usize) -> Self;
    /// self·b + c, rounded once.
    #[must_use]
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The nearest value of this type.
    fn from_f64(x: f64) -> Self;
    /// Whether it is a NaN.
    fn is_nan(self) -> bool;
}

macro_rules! float {
    ($t:ident, $nan:expr, $finest:expr) => {
        impl Float for $t {
            const NEUTRAL: $t = -0.0;
            const CANONICAL_NAN: $t = $t::from_bits($nan);
            const PRECISION: i32 = $t::MANTISSA_DIGITS as i32;
            const FINEST: i32 = $finest;
            #[inline(always)]
            fn from_count(n: usize) -> $t {
                n as $t
            }
            #[inline(always)]
            fn mul_add(self, b: $t, c: $t) -> $t {
                $t::mul_add(self, b, c)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> $t {
                x as $t
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
        }
    };
}
float!(f64, 0x7ff8_0000_0000_0000, -1074);
float!(f32, 0x7fc0_0000, -149);

/// The fixed fold of eight lanes.
#[inline(always)]
pub(crate) fn fold_lanes<T: Float>(l: [T; LANES]) -> T {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

#[inline(always)]
fn canonical<T: Float>(x: T) -> T {
    if x.is_nan() { T::CANONICAL_NAN } else { x }
}

/// The fixed tree, fed one value after the other.
///
/// Holds at most one finished subtree of each height: a binary counter whose carry is an addition.
#[derive(Debug)]
pub(crate) struct Tree<T> {
    subtrees: [T; 64],
    count: u64,
}

impl<T: Float> Tree<T> {
    #[inline(always)]
    pub(crate) fn new() -> Tree<T> {
        Tree { subtrees: [T::NEUTRAL; 64], count: 0 }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, x: T) {
        let carries = self.count.trailing_ones() as usize;
        let mut x = x;
        for subtree in &self.subtrees[..carries] {
            x = *subtree + x;
        }
        self.subtrees[carries] = x;
        self.count += 1;
    }

    #[inline(always)]
    pub(crate) fn total(&self) -> T {
        let mut total = None;
        for (height, &subtree) in self.subtrees.iter().enumerate() {
            if self.count >> height & 1 != 0 {
                total = Some(total.map_or(subtree, |below| subtree + below));
            }
        }
        canonical(total.unwrap_or(T::NEUTRAL))
    }
}

/// Folds the slots of chunks, `slots` (n,), by the fixed balanced tree over the index.
///
/// −0.0 when there are none.
///
/// ```
/// assert_eq!(pinpool_kernels::tree_fold(&[1.0, 2.0, 3.0]), (1.0 + 2.0) + 3.0);
/// ```
#[must_use]
pub fn tree_fold(slots: &[f64]) -> f64 {
    let mut tree = Tree::new();
    for &slot in slots {
        tree.push(slot);
    }
    tree.total()
}

/// Lanes of one block: `step` takes a lane's value so far and the index of its next element.
#[inline(always)]
fn block_lanes<T: Float>(len: usize, step: impl Fn(T, usize) -> T) -> [T; LANES] {
    let mut lanes = [T::NEUTRAL; LANES];
    let whole = len / LANES * LANES;
    let mut start = 0;
    while start < whole {
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = step(*lane, start + l);
        }
        start += LANES;
    }
    for (l, lane) in lanes.iter_mut().enumerate().take(len - whole) {
        *lane = step(*lane, whole + l);
    }
    lanes
}

struct Sum<'a, T>(&'a [T]);

impl<T: Float> Op for Sum<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> T {
        let mut tree = Tree::new();
        for block in self.0.chunks(BLOCK) {
            tree.push(fold_lanes(block_lanes(block.len(), |lane: T, i| lane + block[i])));
        }
        tree.total()
    }
}

/// The sum of `x` (n,), in the fixed shape that the module describes.
///
/// The error is at most about (n/8 mod 128 + log2(n/1024) + 4) roundings of partial sums, so some
/// 40 times less than that of adding in order. −0.0 when `x` is empty.
///
/// ```
/// assert_eq!(pinpool_kernels::sum(&[1.5, 2.5]), 4.0);
/// ```
#[must_use]
pub fn sum<T: Float>(x: &[T]) -> T {
    dispatch(Sum(x))
}

struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Float> Op for Dot<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> T {
        let mut tree = Tree::new();
        for (x, y) in self.0.chunks(BLOCK).zip(self.1.chunks(BLOCK)) {
            let y = &y[..x.len()];
            tree.push(fold_lanes(block_lanes(x.len(), |lane: T, i| x[i].mul_add(y[i], lane))));
        }
        tree.total()
    }
}

/// The sum of the products of the elements of `x` (n,) and `y` (n,): lanes, blocks and tree of a sum, each product fused
/// with its addition.
///
/// # Panics
/// When the lengths differ.
#[must_use]
pub fn dot<T: Float>(x: &[T], y: &[T]) -> T {
    assert_eq!(x.len(), y.len(), "x and y must have equal lengths");
    dispatch(Dot(x, y))
}

struct Axpy<'a, T>(T, &'a [T], &'a mut [T]);

impl<T: Float> Op for Axpy<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Axpy(alpha, x, y) = self;
        for (y, &x) in y.iter_mut().zip(x) {
            *y = canonical(alpha.mul_add(x, *y));
        }
    }
}

/// y ← alpha·x + y for `x` (n,) and `y` (n,), each element rounded once.
///
/// # Panics
/// When the lengths differ.
pub fn axpy<T: Float>(alpha: T, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "x and y must have equal lengths");
    dispatch(Axpy(alpha, x, y));
}

struct SquaredDeviations<'a, T>(&'a [T], T);

impl<T: Float> Op for SquaredDeviations<'_, T> {
    type Out = (T, T);
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (T, T) {
        let SquaredDeviations(x, mean) = self;
        let (mut squares, mut rests) = (Tree::new(), Tree::new());
        for block in x.chunks(BLOCK) {
            squares.push(fold_lanes(block_lanes(block.len(), |lane: T, i| {
                let d = block[i] - mean;
                d.mul_add(d, lane)
            })));
            rests.push(fold_lanes(block_lanes(block.len(), |lane: T, i| lane + (block[i] - mean))));
        }
        (squares.total(), rests.total())
    }
}

/// The mean of `x` (n,) and its population variance (divided by n; times n/(n−1) for a sample's).
///
/// Two passes: the mean from [`sum`], then the squared deviations, corrected for the rounding of
/// the mean. Both are NaN when `x` is empty.
#[must_use]
pub fn mean_and_variance<T: Float>(x: &[T]) -> (T, T) {
    if x.is_empty() {
        return (T::CANONICAL_NAN, T::CANONICAL_NAN);
    }
    let n = T::from_count(x.len());
    let mean = canonical(sum(x) / n);
    let (squares, rest) = dispatch(SquaredDeviations(x, mean));
    (mean, canonical((squares - rest * rest / n) / n))
}
