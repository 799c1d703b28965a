//! The exact sum, rounded once: independent of order, split and instruction set.
//!
//! A superaccumulator: one wide fixed-point number that covers the range of doubles, 68 limbs of
//! 32 bits held in 64, so that 2^31 additions fit before carries must be passed on. An addition
//! touches three limbs.

#![forbid(unsafe_code)]

use super::Float;

/// Bit 0 of limb 0 has the weight of the smallest subnormal, 2^-1074.
const LOWEST: i32 = -1074;
/// 2^-1074 to 2^1024 are 2098 bits; with 64 for the count of elements, 68 limbs.
const LIMBS: usize = 68;
/// Additions of one limb's worth that are safe before the carries are passed on.
const BEFORE_CARRY: usize = 1 << 30;

/// The exact sum of `x` (n,), rounded to nearest even once; any order of `x` gives the same bits.
///
/// NaN where an element is NaN or infinities of both signs meet; −0.0 when `x` is empty or holds
/// only −0.0.
///
/// ```
/// assert_eq!(pinpool_kernels::sum_exact(&[1e100, 1.0, -1e100]), 1.0);
/// ```
#[must_use]
pub fn sum_exact<T: Float>(x: &[T]) -> T {
    let mut limbs = [0i64; LIMBS];
    let mut special = 0.0;
    let mut only_negative_zeros = true;
    for part in x.chunks(BEFORE_CARRY) {
        for &x in part {
            let x: f64 = x.into();
            only_negative_zeros &= x.to_bits() == 1 << 63;
            if x.is_finite() {
                add(&mut limbs, x);
            } else {
                special += x;
            }
        }
        carry(&mut limbs);
    }
    if special != 0.0 {
        return if special.is_nan() { T::CANONICAL_NAN } else { T::from_f64(special) };
    }
    if only_negative_zeros {
        return T::NEUTRAL;
    }
    T::from_f64(round(limbs, T::PRECISION, T::FINEST))
}

#[inline(always)]
fn add(limbs: &mut [i64; LIMBS], x: f64) {
    let bits = x.to_bits();
    let biased = (bits >> 52 & 0x7ff) as usize;
    let fraction = bits & ((1 << 52) - 1);
    let mantissa = if biased == 0 { fraction } else { fraction | 1 << 52 };
    let shift = biased.saturating_sub(1);
    let (limb, offset) = (shift / 32, shift % 32);
    let wide = u128::from(mantissa) << offset;
    let sign = if bits >> 63 == 0 { 1 } else { -1 };
    for (k, limb) in limbs[limb..limb + 3].iter_mut().enumerate() {
        *limb += sign * (wide >> (32 * k) & 0xffff_ffff) as i64;
    }
}

/// Brings all limbs but the last into 0..2^32.
fn carry(limbs: &mut [i64; LIMBS]) {
    for i in 0..LIMBS - 1 {
        let up = limbs[i] >> 32;
        limbs[i] -= up << 32;
        limbs[i + 1] += up;
    }
}

/// The number in `limbs` (carried), rounded to `precision` bits, but to no finer than 2^`finest`.
/// Exact as a f64 except where it overflows, and then an infinity.
fn round(mut limbs: [i64; LIMBS], precision: i32, finest: i32) -> f64 {
    let negative = limbs[LIMBS - 1] < 0;
    if negative {
        limbs = limbs.map(|limb| -limb);
        carry(&mut limbs);
    }
    let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else { return 0.0 };
    // The top three limbs hold at least 65 bits; what lies below only matters as "not zero".
    let at = |i: usize| limbs[i] as u128;
    let low = top.saturating_sub(2);
    let mut window = (low..=top).rev().fold(0u128, |acc, i| acc << 32 | at(i));
    let mut weight = LOWEST + 32 * low as i32;
    let sticky = limbs[..low].iter().any(|&limb| limb != 0);
    let length = 128 - window.leading_zeros() as i32;
    let drop = (length - precision).max(finest - weight).max(0);
    if drop > 0 {
        let drop = drop.min(127) as u32;
        let rest = window & ((1 << drop) - 1);
        let half = 1u128 << (drop - 1);
        window >>= drop;
        weight += drop as i32;
        if rest > half || rest == half && (sticky || window & 1 == 1) {
            window += 1;
        }
    }
    let magnitude = scale(window as u64, weight);
    if negative { -magnitude } else { magnitude }
}

/// mantissa·2^exponent, which is a f64 or too large for one.
fn scale(mantissa: u64, exponent: i32) -> f64 {
    let power = |e: i32| f64::from_bits(((1023 + e) as u64) << 52);
    let x = mantissa as f64;
    match exponent {
        ..=-1000 => x * power(exponent + 1000) * power(-1000),
        -999..=900 => x * power(exponent),
        _ => x * power(900) * power((exponent - 900).min(1000)),
    }
}
