//! The eight lanes as two 256-bit registers (AVX2 and FMA).

use std::arch::x86_64::*;

use super::{LANES, Op, SIGN, Simd};

/// Proof that the CPU has the features of `Isa::Avx2`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// `Isa::Avx2` must be available.
    #[inline(always)]
    pub(super) unsafe fn new_unchecked() -> Avx2 {
        Avx2(())
    }
}

#[target_feature(enable = "avx2,fma")]
fn with_features<O: Op>(s: Avx2, op: O) -> O::Out {
    op.run(s)
}

/// Applies an intrinsic to both halves.
macro_rules! halves {
    ($f:path; $($x:expr),+) => {
        [
            // SAFETY: the token proves the CPU's features.
            unsafe { $f($($x[0]),+) },
            // SAFETY: the token proves the CPU's features.
            unsafe { $f($($x[1]),+) },
        ]
    };
}

impl Simd for Avx2 {
    type F = [__m256d; 2];
    type U = [__m256i; 2];
    type M = [__m256d; 2];

    #[inline(always)]
    fn run<O: Op>(self, op: O) -> O::Out {
        // SAFETY: the token proves the CPU's features.
        unsafe { with_features(self, op) }
    }

    #[inline(always)]
    fn splat(self, x: f64) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        [unsafe { _mm256_set1_pd(x) }; 2]
    }
    #[inline(always)]
    fn splat_u(self, x: u64) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        [unsafe { _mm256_set1_epi64x(x.cast_signed()) }; 2]
    }
    #[inline(always)]
    fn load(self, x: &[f64; LANES]) -> Self::F {
        let (halves, _) = x.as_chunks::<4>();
        let [a, b] = [halves[0].as_ptr(), halves[1].as_ptr()];
        // SAFETY: the token proves the CPU's features; each half has 32 bytes.
        [unsafe { _mm256_loadu_pd(a) }, unsafe { _mm256_loadu_pd(b) }]
    }
    #[inline(always)]
    fn load_u(self, x: &[u64; LANES]) -> Self::U {
        let (halves, _) = x.as_chunks::<4>();
        let [a, b] = [halves[0].as_ptr().cast(), halves[1].as_ptr().cast()];
        // SAFETY: the token proves the CPU's features; each half has 32 bytes.
        [unsafe { _mm256_loadu_si256(a) }, unsafe { _mm256_loadu_si256(b) }]
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f64; LANES]) {
        let (halves, _) = to.as_chunks_mut::<4>();
        for (half, x) in halves.iter_mut().zip(x) {
            // SAFETY: the token proves the CPU's features; the half has 32 bytes.
            unsafe { _mm256_storeu_pd(half.as_mut_ptr(), x) }
        }
    }
    #[inline(always)]
    fn store_u(self, x: Self::U, to: &mut [u64; LANES]) {
        let (halves, _) = to.as_chunks_mut::<4>();
        for (half, x) in halves.iter_mut().zip(x) {
            // SAFETY: the token proves the CPU's features; the half has 32 bytes.
            unsafe { _mm256_storeu_si256(half.as_mut_ptr().cast(), x) }
        }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_add_pd; a, b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_sub_pd; a, b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_mul_pd; a, b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_div_pd; a, b)
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        halves!(_mm256_sqrt_pd; a)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        halves!(_mm256_fmadd_pd; a, b, c)
    }
    #[inline(always)]
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        halves!(_mm256_fmsub_pd; a, b, c)
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        halves!(_mm256_fnmadd_pd; a, b, c)
    }

    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        halves!(_mm256_cmp_pd::<_CMP_LT_OQ>; a, b)
    }
    #[inline(always)]
    fn le_u(self, a: Self::U, b: Self::U) -> Self::M {
        // Signed comparison of operands with the top bit turned; a ≤ b is the opposite of a > b.
        let top = self.splat_u(SIGN);
        let [a, b] = [self.xor_u(a, top), self.xor_u(b, top)];
        let above = halves!(_mm256_cmpgt_epi64; a, b);
        self.float(self.xor_u(above, self.splat_u(u64::MAX)))
    }
    #[inline(always)]
    fn lt_u(self, a: Self::U, b: Self::U) -> Self::M {
        let top = self.splat_u(SIGN);
        let [a, b] = [self.xor_u(a, top), self.xor_u(b, top)];
        self.float(halves!(_mm256_cmpgt_epi64; b, a))
    }
    #[inline(always)]
    fn top_bit(self, a: Self::U) -> Self::M {
        // `select` and `mask_bits` look at nothing else.
        self.float(a)
    }
    #[inline(always)]
    fn eq_u(self, a: Self::U, b: Self::U) -> Self::M {
        self.float(halves!(_mm256_cmpeq_epi64; a, b))
    }
    #[inline(always)]
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        halves!(_mm256_blendv_pd; no, yes, m)
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u8 {
        let [low, high] = halves!(_mm256_movemask_pd; m);
        (low | high << 4) as u8
    }

    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::U {
        halves!(_mm256_castpd_si256; a)
    }
    #[inline(always)]
    fn float(self, a: Self::U) -> Self::F {
        halves!(_mm256_castsi256_pd; a)
    }
    #[inline(always)]
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_add_epi64; a, b)
    }
    #[inline(always)]
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_sub_epi64; a, b)
    }
    #[inline(always)]
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_and_si256; a, b)
    }
    #[inline(always)]
    fn or_u(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_or_si256; a, b)
    }
    #[inline(always)]
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_xor_si256; a, b)
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        let by = unsafe { _mm_cvtsi32_si128(N as i32) };
        halves!(_mm256_sll_epi64; a, [by; 2])
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        let by = unsafe { _mm_cvtsi32_si128(N as i32) };
        halves!(_mm256_srl_epi64; a, [by; 2])
    }
    #[inline(always)]
    fn to_float(self, a: Self::U) -> Self::F {
        // Each half of the bits becomes the mantissa of a number of its weight; both steps exact.
        const LOW: f64 = 4_503_599_627_370_496.0; // 2^52
        const HIGH: f64 = 19_342_813_113_834_066_795_298_816.0; // 2^84
        let low = self.and_u(a, self.splat_u(0xffff_ffff));
        let low = self.float(self.or_u(low, self.splat_u(LOW.to_bits())));
        let high = self.float(self.or_u(self.shr::<32>(a), self.splat_u(HIGH.to_bits())));
        let (low, high) = (self.sub(low, self.splat(LOW)), self.sub(high, self.splat(HIGH)));
        self.add(high, low)
    }
    #[inline(always)]
    fn mul32(self, a: Self::U, b: Self::U) -> Self::U {
        halves!(_mm256_mul_epu32; a, b)
    }
    #[inline(always)]
    fn mul32_low(self, a: Self::U, b: Self::U) -> Self::U {
        // `_mm256_mul_epu32` here, with its high half unused, is compiled to a product of 64 bits.
        halves!(_mm256_mullo_epi32; a, b)
    }

    #[inline(always)]
    fn lookup8(self, table: &[f64; 8], i: Self::U) -> Self::F {
        // Both halves of the table permuted as pairs of 32 bits, then one of the two chosen by
        // bit 2. Faster than a gather, and the indices are shared by all look-ups of one i.
        let [low, high] = self.load(table);
        let [low, high] = self.bits([low, high]);
        let twice = self.add_u(i, i);
        let pairs = halves!(_mm256_shuffle_epi32::<0b10_10_00_00>; twice);
        let pairs = self.add_u(pairs, self.splat_u(1 << 32));
        let from_low = halves!(_mm256_permutevar8x32_epi32; [low; 2], pairs);
        let from_high = halves!(_mm256_permutevar8x32_epi32; [high; 2], pairs);
        let choice = self.float(self.shl::<61>(i));
        self.select(choice, self.float(from_high), self.float(from_low))
    }
    #[inline(always)]
    fn lookup32(self, table: &[f64; 32], i: Self::U) -> Self::F {
        let i = self.and_u(i, self.splat_u(31));
        [
            // SAFETY: the token proves the CPU's features; every index is below 32.
            unsafe { _mm256_i64gather_pd::<8>(table.as_ptr(), i[0]) },
            // SAFETY: as above.
            unsafe { _mm256_i64gather_pd::<8>(table.as_ptr(), i[1]) },
        ]
    }
}
