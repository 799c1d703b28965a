//! Eight lanes of f64 or u64 at a time, on every instruction set.
//!
//! A kernel is written once, as an [`Op`] over the trait [`Simd`], and [`dispatch`] runs it with
//! the instructions that [`isa::current`] names. Every operation here is exact or correctly
//! rounded in IEEE arithmetic (add, sub, mul, div, sqrt, fused multiply-add, integer steps, table
//! look-ups), so an `Op` gives the same bits on every instruction set. There is deliberately no
//! reciprocal estimate, no min or max (their zero's sign differs), and no horizontal sum.
//!
//! A token such as `Avx512` is the proof that the CPU has the instructions: it is made only by
//! [`dispatch`], from a checked [`Isa`]. Called by every kernel that computes with floats.

use crate::isa::{self, Isa};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// How many logical lanes a step has on every instruction set; results depend on it.
pub(crate) const LANES: usize = 8;

/// One instruction set, seen as eight lanes.
///
/// `F` holds 8 f64, `U` 8 u64, `M` 8 truth values. Methods take the token `self`, the proof that
/// the CPU has the instructions.
pub(crate) trait Simd: Copy {
    type F: Copy;
    type U: Copy;
    type M: Copy;

    /// Runs `op` compiled with this instruction set.
    fn run<O: Op>(self, op: O) -> O::Out;

    fn splat(self, x: f64) -> Self::F;
    fn splat_u(self, x: u64) -> Self::U;
    fn load(self, x: &[f64; LANES]) -> Self::F;
    fn load_u(self, x: &[u64; LANES]) -> Self::U;
    fn store(self, x: Self::F, to: &mut [f64; LANES]);
    fn store_u(self, x: Self::U, to: &mut [u64; LANES]);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// a·b + c, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// a·b − c, rounded once.
    fn fms(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// c − a·b, rounded once.
    fn fnma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;

    /// a < b; false where either is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// a ≤ b as unsigned integers.
    fn le_u(self, a: Self::U, b: Self::U) -> Self::M;
    fn eq_u(self, a: Self::U, b: Self::U) -> Self::M;
    /// `yes` where the mask is set, else `no`.
    fn select(self, m: Self::M, yes: Self::F, no: Self::F) -> Self::F;
    /// One bit a lane, lane 0 the lowest.
    fn mask_bits(self, m: Self::M) -> u8;

    fn bits(self, a: Self::F) -> Self::U;
    fn float(self, a: Self::U) -> Self::F;
    fn add_u(self, a: Self::U, b: Self::U) -> Self::U;
    fn sub_u(self, a: Self::U, b: Self::U) -> Self::U;
    fn and_u(self, a: Self::U, b: Self::U) -> Self::U;
    fn or_u(self, a: Self::U, b: Self::U) -> Self::U;
    fn xor_u(self, a: Self::U, b: Self::U) -> Self::U;
    fn shl<const N: u32>(self, a: Self::U) -> Self::U;
    fn shr<const N: u32>(self, a: Self::U) -> Self::U;
    /// The value as a float; it must be below 2^53 (so that this is exact).
    fn to_float(self, a: Self::U) -> Self::F;
    /// The low 32 bits of a times the low 32 bits of b, in full.
    fn mul32(self, a: Self::U, b: Self::U) -> Self::U;

    /// `table[i mod 8]`.
    fn lookup8(self, table: &[f64; 8], i: Self::U) -> Self::F;
    /// `table[i mod 32]`.
    fn lookup32(self, table: &[f64; 32], i: Self::U) -> Self::F;

    // What follows is made of the above.

    /// a < b as unsigned integers.
    #[inline(always)]
    fn lt_u(self, a: Self::U, b: Self::U) -> Self::M {
        let below = self.select(
            self.le_u(b, a),
            self.float(self.splat_u(0)),
            self.float(self.splat_u(u64::MAX)),
        );
        self.top_bit(self.bits(below))
    }

    /// Where the top bit is set.
    #[inline(always)]
    fn top_bit(self, a: Self::U) -> Self::M {
        self.le_u(self.splat_u(SIGN), a)
    }

    /// A product of which only the low 32 bits count; the high half of the lane may hold anything.
    #[inline(always)]
    fn mul32_low(self, a: Self::U, b: Self::U) -> Self::U {
        self.mul32(a, b)
    }

    /// `yes` where the mask is set, else `no`.
    #[inline(always)]
    fn select_u(self, m: Self::M, yes: Self::U, no: Self::U) -> Self::U {
        self.bits(self.select(m, self.float(yes), self.float(no)))
    }

    #[inline(always)]
    fn all(self, m: Self::M) -> bool {
        self.mask_bits(m) == 0xff
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        self.float(self.and_u(self.bits(a), self.splat_u(!SIGN)))
    }

    /// `a` with its sign turned where `sign` has the top bit set; other bits of `sign` are zero.
    #[inline(always)]
    fn flip(self, a: Self::F, sign: Self::U) -> Self::F {
        self.float(self.xor_u(self.bits(a), sign))
    }

    /// a + b as a rounded sum and its exact error, where |a| ≥ |b| or a is 0.
    #[inline(always)]
    fn fast_two_sum(self, a: Self::F, b: Self::F) -> (Self::F, Self::F) {
        let hi = self.add(a, b);
        (hi, self.sub(b, self.sub(hi, a)))
    }

    /// a + b as a rounded sum and its exact error.
    #[inline(always)]
    fn two_sum(self, a: Self::F, b: Self::F) -> (Self::F, Self::F) {
        let hi = self.add(a, b);
        let b_part = self.sub(hi, a);
        let a_part = self.sub(hi, b_part);
        (hi, self.add(self.sub(a, a_part), self.sub(b, b_part)))
    }

    /// a·b as a rounded product and its exact error.
    #[inline(always)]
    fn two_mul(self, a: Self::F, b: Self::F) -> (Self::F, Self::F) {
        let hi = self.mul(a, b);
        (hi, self.fms(a, b, hi))
    }

    #[inline(always)]
    fn negate(self, a: Self::F) -> Self::F {
        self.float(self.xor_u(self.bits(a), self.splat_u(SIGN)))
    }

    /// Bits turned left by `N`; `M` is 64 − N.
    #[inline(always)]
    fn rotate<const N: u32, const M: u32>(self, a: Self::U) -> Self::U {
        self.or_u(self.shl::<N>(a), self.shr::<M>(a))
    }

    /// The high and the low half of a·b.
    #[inline(always)]
    fn mul64(self, a: Self::U, b: Self::U) -> (Self::U, Self::U) {
        let mask = self.splat_u(0xffff_ffff);
        let (a_high, b_high) = (self.shr::<32>(a), self.shr::<32>(b));
        let low = self.mul32(a, b);
        let mid = self.add_u(self.mul32(a_high, b), self.shr::<32>(low));
        let mid2 = self.add_u(self.mul32(a, b_high), self.and_u(mid, mask));
        let carries = self.add_u(self.shr::<32>(mid), self.shr::<32>(mid2));
        let high = self.add_u(self.mul32(a_high, b_high), carries);
        (high, self.or_u(self.shl::<32>(mid2), self.and_u(low, mask)))
    }

    /// The polynomial with coefficients `c`, lowest power first.
    #[inline(always)]
    fn poly<const N: usize>(self, x: Self::F, c: &[f64; N]) -> Self::F {
        let mut lanes = [self.splat(0.0); N];
        for (lane, c) in lanes.iter_mut().zip(c) {
            *lane = self.splat(*c);
        }
        self.poly_of(x, lanes)
    }

    /// The same with coefficients that differ by lane: c0 + x·(odd and even powers of the rest by
    /// Horner's rule in x², side by side, for half the latency). c0 comes last, so that its
    /// rounding is the only one that counts.
    #[inline(always)]
    fn poly_of<const N: usize>(self, x: Self::F, c: [Self::F; N]) -> Self::F {
        let square = self.mul(x, x);
        // Two chains, of every other coefficient downwards; `next` is the index that follows.
        let (mut last, mut other) = (c[N - 1], c[N - 2]);
        let mut next = N - 2;
        while next >= 3 {
            last = self.fma(last, square, c[next - 1]);
            other = self.fma(other, square, c[next - 2]);
            next -= 2;
        }
        let rest = if next == 2 {
            // `last` takes c1 as well, and so has the even powers of the rest.
            self.fma(other, x, self.fma(last, square, c[1]))
        } else {
            self.fma(last, x, other)
        };
        self.fma(rest, x, c[0])
    }
}

/// The sign bit of a f64.
pub(crate) const SIGN: u64 = 1 << 63;

/// A piece of work that is compiled once for every instruction set.
///
/// `run` and all that it calls per element must be `#[inline(always)]`, so that it is compiled
/// inside the function that has the instruction set switched on.
pub(crate) trait Op {
    type Out;
    fn run<S: Simd>(self, s: S) -> Self::Out;
}

/// Runs `op` on the instruction set in use.
#[inline]
pub(crate) fn dispatch<O: Op>(op: O) -> O::Out {
    match isa::current() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            // SAFETY: `isa::current` names only what it found on this CPU.
            unsafe { avx512::Avx512::new_unchecked() }.run(op)
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            // SAFETY: `isa::current` names only what it found on this CPU.
            unsafe { avx2::Avx2::new_unchecked() }.run(op)
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::Neon.run(op),
        _ => scalar::Scalar.run(op),
    }
}
