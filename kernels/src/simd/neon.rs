//! The eight lanes as four 128-bit registers (aarch64's NEON, which every such CPU has).

use std::arch::aarch64::*;

use super::{LANES, Op, Simd};

#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

/// Applies an intrinsic to the four quarters.
macro_rules! quarters {
    ($f:path; $($x:expr),+) => {
        // SAFETY: NEON is part of the aarch64 baseline.
        std::array::from_fn(|k| unsafe { $f($($x[k]),+) })
    };
}

impl Simd for Neon {
    type F = [float64x2_t; 4];
    type U = [uint64x2_t; 4];
    type M = [uint64x2_t; 4];

    #[inline(always)]
    fn run<O: Op>(self, op: O) -> O::Out {
        op.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f64) -> Self::F {
        // SAFETY: NEON is part of the aarch64 baseline.
        [unsafe { vdupq_n_f64(x) }; 4]
    }
    #[inline(always)]
    fn splat_u(self, x: u64) -> Self::U {
        // SAFETY: NEON is part of the aarch64 baseline.
        [unsafe { vdupq_n_u64(x) }; 4]
    }
    #[inline(always)]
    fn load(self, x: &[f64; LANES]) -> Self::F {
        let (pairs, _) = x.as_chunks::<2>();
        // SAFETY: NEON is part of the aarch64 baseline; each pair has 16 bytes.
        std::array::from_fn(|k| unsafe { vld1q_f64(pairs[k].as_ptr()) })
    }
    #[inline(always)]
    fn load_u(self, x: &[u64; LANES]) -> Self::U {
        let (pairs, _) = x.as_chunks::<2>();
        // SAFETY: NEON is part of the aarch64 baseline; each pair has 16 bytes.
        std::array::from_fn(|k| unsafe { vld1q_u64(pairs[k].as_ptr()) })
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f64; LANES]) {
        let (pairs, _) = to.as_chunks_mut::<2>();
        for (pair, x) in pairs.iter_mut().zip(x) {
            // SAFETY: NEON is part of the aarch64 baseline; the pair has 16 bytes.
            unsafe { vst1q_f64(pair.as_mut_ptr(), x) }
        }
    }
    #[inline(always)]
    fn store_u(self, x: Self::U, to: &mut [u64; LANES]) {
        let (pairs, _) = to.as_chunks_mut::<2>();
        for (pair, x) in pairs.iter_mut().zip(x) {
            // SAFETY: NEON is part of the aarch64 baseline; the pair has 16 bytes.
            unsafe { vst1q_u64(pair.as_mut_ptr(), x) }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vaddq_f64; a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vsubq_f64; a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vmulq_f64; a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(vdivq_f64; a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        quarters!(vsqrtq_f64; a)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        quarters!(vfmaq_f64; c, a, b)
    }
    #[inline(always)]
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        self.fma(a, b, self.negate(c))
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        quarters!(vfmsq_f64; c, a, b)
    }

    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        quarters!(vcltq_f64; a, b)
    }
    #[inline(always)]
    fn le_u(self, a: Self::U, b: Self::U) -> Self::M {
        quarters!(vcleq_u64; a, b)
    }
    #[inline(always)]
    fn eq_u(self, a: Self::U, b: Self::U) -> Self::M {
        quarters!(vceqq_u64; a, b)
    }
    #[inline(always)]
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        quarters!(vbslq_f64; m, yes, no)
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u8 {
        let mut lanes = [0; LANES];
        self.store_u(m, &mut lanes);
        lanes.iter().enumerate().fold(0, |bits, (i, &on)| bits | ((on & 1) as u8) << i)
    }

    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::U {
        quarters!(vreinterpretq_u64_f64; a)
    }
    #[inline(always)]
    fn float(self, a: Self::U) -> Self::F {
        quarters!(vreinterpretq_f64_u64; a)
    }
    #[inline(always)]
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U {
        quarters!(vaddq_u64; a, b)
    }
    #[inline(always)]
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U {
        quarters!(vsubq_u64; a, b)
    }
    #[inline(always)]
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U {
        quarters!(vandq_u64; a, b)
    }
    #[inline(always)]
    fn or_u(self, a: Self::U, b: Self::U) -> Self::U {
        quarters!(vorrq_u64; a, b)
    }
    #[inline(always)]
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U {
        quarters!(veorq_u64; a, b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: NEON is part of the aarch64 baseline.
        let by = [unsafe { vdupq_n_s64(i64::from(N)) }; 4];
        quarters!(vshlq_u64; a, by)
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: NEON is part of the aarch64 baseline.
        let by = [unsafe { vdupq_n_s64(-i64::from(N)) }; 4];
        quarters!(vshlq_u64; a, by)
    }
    #[inline(always)]
    fn to_float(self, a: Self::U) -> Self::F {
        quarters!(vcvtq_f64_u64; a)
    }
    #[inline(always)]
    fn mul32(self, a: Self::U, b: Self::U) -> Self::U {
        let [a, b] = [a, b].map(|x| -> [uint32x2_t; 4] { quarters!(vmovn_u64; x) });
        quarters!(vmull_u32; a, b)
    }

    #[inline(always)]
    fn lookup8(self, table: &[f64; 8], i: Self::U) -> Self::F {
        let mut lanes = [0; LANES];
        self.store_u(i, &mut lanes);
        self.load(&lanes.map(|i| table[(i & 7) as usize]))
    }
    #[inline(always)]
    fn lookup32(self, table: &[f64; 32], i: Self::U) -> Self::F {
        let mut lanes = [0; LANES];
        self.store_u(i, &mut lanes);
        self.load(&lanes.map(|i| table[(i & 31) as usize]))
    }
}
