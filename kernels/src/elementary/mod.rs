//! `sin`, `cos`, `sin_cos`, `exp2`, `log2` and `pow` over slices: less than 1 ULP, the same bits
//! on every instruction set. `floats.md` beside the sources has the measured errors and times.
//!
//! Each is written once over eight lanes (see `simd`), from correctly rounded operations in a
//! fixed order, and never calls a math library. The result of an element depends on that element
//! alone, not on its neighbours, its place or the length. Any NaN comes out as the canonical one,
//! `7ff8000000000000`; subnormal arguments and results are kept.

use crate::simd::{LANES, Op, Simd, dispatch};

pub(crate) mod exp2;
pub(crate) mod log2;
pub(crate) mod pow;
pub(crate) mod reduce;
pub(crate) mod sincos;
pub(crate) mod tables;

/// A function of one variable over eight lanes.
trait Unary {
    fn apply<S: Simd>(s: S, x: S::F) -> S::F;
}

struct Map1<'a, K>(&'a [f64], &'a mut [f64], K);

impl<K: Unary> Op for Map1<'_, K> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, x_tail) = self.0.as_chunks::<LANES>();
        let (out, out_tail) = self.1.as_chunks_mut::<LANES>();
        for (x, out) in x.iter().zip(out) {
            s.store(K::apply(s, s.load(x)), out);
        }
        if !x_tail.is_empty() {
            let mut buffer = [1.0; LANES];
            buffer[..x_tail.len()].copy_from_slice(x_tail);
            let y = K::apply(s, s.load(&buffer));
            s.store(y, &mut buffer);
            out_tail.copy_from_slice(&buffer[..x_tail.len()]);
        }
    }
}

fn map1<K: Unary>(x: &[f64], out: &mut [f64], kernel: K) {
    assert_eq!(x.len(), out.len(), "x and out must have equal lengths");
    dispatch(Map1(x, out, kernel));
}

struct Sin;
impl Unary for Sin {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F) -> S::F {
        sincos::sin_any::<S, 0>(s, x)
    }
}

struct Cos;
impl Unary for Cos {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F) -> S::F {
        sincos::sin_any::<S, 1>(s, x)
    }
}

struct Exp2;
impl Unary for Exp2 {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F) -> S::F {
        exp2::exp2(s, x, s.splat(0.0))
    }
}

struct Log2;
impl Unary for Log2 {
    #[inline(always)]
    fn apply<S: Simd>(s: S, x: S::F) -> S::F {
        log2::log2_any(s, x)
    }
}

/// The sine of each element of `x` (n,), in radians, into `out` (n,).
///
/// Max error 0.8 ULP, for any argument: however large, it is reduced correctly.
/// sin(±0) = ±0; sin of ±∞ or NaN is NaN. From 2^19 on an element costs 25 ns, not 1.
///
/// # Panics
/// When the lengths differ.
///
/// ```
/// let mut out = [0.0; 2];
/// pinpool_kernels::sin(&[0.0, std::f64::consts::FRAC_PI_2], &mut out);
/// assert_eq!(out, [0.0, 1.0]);
/// ```
pub fn sin(x: &[f64], out: &mut [f64]) {
    map1(x, out, Sin);
}

/// The cosine of each element of `x` (n,), in radians, into `out` (n,).
///
/// Max error 0.8 ULP, for any argument: however large, it is reduced correctly.
/// cos of ±∞ or NaN is NaN. From 2^19 on an element costs 25 ns, not 1.
///
/// # Panics
/// When the lengths differ.
pub fn cos(x: &[f64], out: &mut [f64]) {
    map1(x, out, Cos);
}

/// 2 to the power of each element of `x` (n,), into `out` (n,).
///
/// Max error 0.7 ULP, for any argument, subnormal results included.
/// 0 at −∞ and below −1075, ∞ at ∞ and from 1024 on, NaN at NaN; exact at integers.
///
/// # Panics
/// When the lengths differ.
pub fn exp2(x: &[f64], out: &mut [f64]) {
    map1(x, out, Exp2);
}

/// The logarithm to base 2 of each element of `x` (n,), into `out` (n,).
///
/// Max error 0.55 ULP, for any argument. −∞ at ±0, NaN below 0 and at NaN, ∞ at ∞; exact at powers of two.
///
/// # Panics
/// When the lengths differ.
pub fn log2(x: &[f64], out: &mut [f64]) {
    map1(x, out, Log2);
}

struct SinCos<'a>(&'a [f64], &'a mut [f64], &'a mut [f64]);

impl Op for SinCos<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, x_tail) = self.0.as_chunks::<LANES>();
        let (sin, sin_tail) = self.1.as_chunks_mut::<LANES>();
        let (cos, cos_tail) = self.2.as_chunks_mut::<LANES>();
        for ((x, sin), cos) in x.iter().zip(sin).zip(cos) {
            let (a, b) = sincos::sin_cos(s, s.load(x));
            s.store(a, sin);
            s.store(b, cos);
        }
        if !x_tail.is_empty() {
            let n = x_tail.len();
            let mut buffer = [1.0; LANES];
            buffer[..n].copy_from_slice(x_tail);
            let (a, b) = sincos::sin_cos(s, s.load(&buffer));
            s.store(a, &mut buffer);
            sin_tail.copy_from_slice(&buffer[..n]);
            s.store(b, &mut buffer);
            cos_tail.copy_from_slice(&buffer[..n]);
        }
    }
}

/// Sine and cosine of each element of `x` (n,), with one reduction; the bits of [`sin`] and
/// [`cos`].
///
/// # Panics
/// When the lengths differ.
pub fn sin_cos(x: &[f64], sin: &mut [f64], cos: &mut [f64]) {
    assert_eq!(x.len(), sin.len(), "x and sin must have equal lengths");
    assert_eq!(x.len(), cos.len(), "x and cos must have equal lengths");
    dispatch(SinCos(x, sin, cos));
}

struct Pow<'a>(&'a [f64], &'a [f64], &'a mut [f64]);

impl Op for Pow<'_> {
    type Out = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, x_tail) = self.0.as_chunks::<LANES>();
        let (y, y_tail) = self.1.as_chunks::<LANES>();
        let (out, out_tail) = self.2.as_chunks_mut::<LANES>();
        for ((x, y), out) in x.iter().zip(y).zip(out) {
            s.store(pow::pow(s, s.load(x), s.load(y)), out);
        }
        if !x_tail.is_empty() {
            let n = x_tail.len();
            let (mut a, mut b) = ([1.0; LANES], [1.0; LANES]);
            a[..n].copy_from_slice(x_tail);
            b[..n].copy_from_slice(y_tail);
            let r = pow::pow(s, s.load(&a), s.load(&b));
            s.store(r, &mut a);
            out_tail.copy_from_slice(&a[..n]);
        }
    }
}

/// x to the power y, element by element: `x` (n,), `y` (n,), into `out` (n,).
///
/// Max error 0.8 ULP, for any arguments, subnormal results included.
/// Special values as C's `pow` and IEEE 754: 1^y and x^±0 are 1 even for NaN; NaN where x < 0 is
/// finite and y is not an integer; signs of zeros and infinities by odd y.
///
/// # Panics
/// When the lengths differ.
///
/// ```
/// let mut out = [0.0; 3];
/// pinpool_kernels::pow(&[2.0, -2.0, 9.0], &[10.0, 3.0, 0.5], &mut out);
/// assert_eq!(out, [1024.0, -8.0, 3.0]);
/// ```
pub fn pow(x: &[f64], y: &[f64], out: &mut [f64]) {
    assert_eq!(x.len(), y.len(), "x and y must have equal lengths");
    assert_eq!(x.len(), out.len(), "x and out must have equal lengths");
    dispatch(Pow(x, y, out));
}
