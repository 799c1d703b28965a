//! The eight lanes as one 512-bit register (AVX-512 F, DQ, VL).

use std::arch::x86_64::*;

use super::{LANES, Op, Simd};

/// Proof that the CPU has the features of `Isa::Avx512`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// `Isa::Avx512` must be available.
    #[inline(always)]
    pub(super) unsafe fn new_unchecked() -> Avx512 {
        Avx512(())
    }
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx512ifma,avx2,fma")]
fn with_features<O: Op>(s: Avx512, op: O) -> O::Out {
    op.run(s)
}

impl Simd for Avx512 {
    type F = __m512d;
    type U = __m512i;
    type M = __mmask8;

    #[inline(always)]
    fn run<O: Op>(self, op: O) -> O::Out {
        // SAFETY: the token proves the CPU's features.
        unsafe { with_features(self, op) }
    }

    #[inline(always)]
    fn splat(self, x: f64) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_set1_pd(x) }
    }
    #[inline(always)]
    fn splat_u(self, x: u64) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_set1_epi64(x.cast_signed()) }
    }
    #[inline(always)]
    fn load(self, x: &[f64; LANES]) -> Self::F {
        // SAFETY: the token proves the CPU's features; the reference is to 64 bytes.
        unsafe { _mm512_loadu_pd(x.as_ptr()) }
    }
    #[inline(always)]
    fn load_u(self, x: &[u64; LANES]) -> Self::U {
        // SAFETY: the token proves the CPU's features; the reference is to 64 bytes.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }
    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f64; LANES]) {
        // SAFETY: the token proves the CPU's features; the reference is to 64 bytes.
        unsafe { _mm512_storeu_pd(to.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn store_u(self, x: Self::U, to: &mut [u64; LANES]) {
        // SAFETY: the token proves the CPU's features; the reference is to 64 bytes.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_add_pd(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_sub_pd(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_mul_pd(a, b) }
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_div_pd(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_sqrt_pd(a) }
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_fmadd_pd(a, b, c) }
    }
    #[inline(always)]
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_fmsub_pd(a, b, c) }
    }
    #[inline(always)]
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_fnmadd_pd(a, b, c) }
    }

    #[inline(always)]
    fn lt(self, a: Self::F, b: Self::F) -> Self::M {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_cmp_pd_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn le_u(self, a: Self::U, b: Self::U) -> Self::M {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_cmple_epu64_mask(a, b) }
    }
    #[inline(always)]
    fn eq_u(self, a: Self::U, b: Self::U) -> Self::M {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_cmpeq_epi64_mask(a, b) }
    }
    #[inline(always)]
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_mask_blend_pd(m, no, yes) }
    }
    #[inline(always)]
    fn mask_bits(self, m: Self::M) -> u8 {
        m
    }

    #[inline(always)]
    fn bits(self, a: Self::F) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_castpd_si512(a) }
    }
    #[inline(always)]
    fn float(self, a: Self::U) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_castsi512_pd(a) }
    }
    #[inline(always)]
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_add_epi64(a, b) }
    }
    #[inline(always)]
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_sub_epi64(a, b) }
    }
    #[inline(always)]
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_and_si512(a, b) }
    }
    #[inline(always)]
    fn or_u(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_xor_si512(a, b) }
    }
    #[inline(always)]
    fn shl<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_slli_epi64::<N>(a) }
    }
    #[inline(always)]
    fn shr<const N: u32>(self, a: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_srli_epi64::<N>(a) }
    }
    #[inline(always)]
    fn to_float(self, a: Self::U) -> Self::F {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_cvtepu64_pd(a) }
    }
    #[inline(always)]
    fn mul32(self, a: Self::U, b: Self::U) -> Self::U {
        // SAFETY: the token proves the CPU's features.
        unsafe { _mm512_mul_epu32(a, b) }
    }

    #[inline(always)]
    fn lookup8(self, table: &[f64; 8], i: Self::U) -> Self::F {
        let table = self.load(table);
        // SAFETY: the token proves the CPU's features; the permutation uses the low 3 bits of i.
        unsafe { _mm512_permutexvar_pd(i, table) }
    }
    #[inline(always)]
    fn lookup32(self, table: &[f64; 32], i: Self::U) -> Self::F {
        let (rows, _) = table.as_chunks::<LANES>();
        let (a, b) = (self.load(&rows[0]), self.load(&rows[1]));
        let (c, d) = (self.load(&rows[2]), self.load(&rows[3]));
        // SAFETY: the token proves the CPU's features; the permutation uses the low 4 bits of i.
        let low = unsafe { _mm512_permutex2var_pd(a, i, b) };
        // SAFETY: as above.
        let high = unsafe { _mm512_permutex2var_pd(c, i, d) };
        // SAFETY: the token proves the CPU's features.
        let upper = unsafe { _mm512_test_epi64_mask(i, self.splat_u(16)) };
        self.select(upper, high, low)
    }
}
