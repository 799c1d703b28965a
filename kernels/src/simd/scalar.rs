//! The eight lanes as an array: runs everywhere, and is what every other instruction set is
//! compared with. On a CPU without FMA `mul_add` is a call of a slow function; the bits stay.

#![forbid(unsafe_code)]

use super::{LANES, Op, Simd};

#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

#[inline(always)]
fn zip<A: Copy, B: Copy, R: Copy>(
    a: [A; LANES],
    b: [B; LANES],
    f: impl Fn(A, B) -> R,
) -> [R; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Scalar {
    type F = [f64; LANES];
    type U = [u64; LANES];
    type M = [bool; LANES];

    #[inline(always)]
    fn run<O: Op>(self, op: O) -> O::Out {
        op.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f64) -> Self::F {
        [x; LANES]
    }
    #[inline(always)]
    fn splat_u(self, x: u64) -> Self::U {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f64; LANES]) -> Self::F {
        *x
    }
    #[inline(always)]
    fn load_u(self, x: &[u64; LANES]) -> Self::U {
        *x
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f64; LANES]) {
        *to = x;
    }
    #[inline(always)]
    fn store_u(self, x: Self::U, to: &mut [u64; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        a.map(f64::sqrt)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i].mul_add(b[i], -c[i]))
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        zip(a, b, |a, b| a < b)
    }
    #[inline(always)]
    fn le_u(self, a: Self::U, b: Self::U) -> Self::M {
        zip(a, b, |a, b| a <= b)
    }
    #[inline(always)]
    fn eq_u(self, a: Self::U, b: Self::U) -> Self::M {
        zip(a, b, |a, b| a == b)
    }
    #[inline(always)]
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        std::array::from_fn(|i| if m[i] { yes[i] } else { no[i] })
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u8 {
        m.iter().enumerate().fold(0, |bits, (i, &on)| bits | (u8::from(on) << i))
    }

    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::U {
        a.map(f64::to_bits)
    }
    #[inline(always)]
    fn float(self, a: Self::U) -> Self::F {
        a.map(f64::from_bits)
    }
    #[inline(always)]
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u64::wrapping_add)
    }
    #[inline(always)]
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, u64::wrapping_sub)
    }
    #[inline(always)]
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a & b)
    }
    #[inline(always)]
    fn or_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::U) -> Self::U {
        a.map(|a| a << N)
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::U) -> Self::U {
        a.map(|a| a >> N)
    }
    #[inline(always)]
    fn to_float(self, a: Self::U) -> Self::F {
        a.map(|a| a as f64)
    }
    #[inline(always)]
    fn mul32(self, a: Self::U, b: Self::U) -> Self::U {
        zip(a, b, |a, b| (a & 0xffff_ffff) * (b & 0xffff_ffff))
    }

    #[inline(always)]
    fn lookup8(self, table: &[f64; 8], i: Self::U) -> Self::F {
        i.map(|i| table[(i & 7) as usize])
    }
    #[inline(always)]
    fn lookup32(self, table: &[f64; 32], i: Self::U) -> Self::F {
        i.map(|i| table[(i & 31) as usize])
    }
}
