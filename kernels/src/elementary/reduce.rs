//! Range reduction for sine and cosine: x = n·π/2 + r with |r| ≤ π/4, r in two doubles.
//!
//! Up to [`LARGE`] by three parts of π/4 and fused steps (Cody and Waite), beyond by the bits of
//! 2/π that matter (Payne and Hanek), in integers, lane by lane. Either way r is right to some
//! 2^-100 of π/4, and since no double of moderate size is nearer than 2^-62 to a multiple of π/2,
//! to better than 2^-30 ULP of r.
//!
//! [`reduce_shifted`] reduces x + π/4 instead, without rounding that sum: sin x + cos x is
//! √2·sin(x + π/4). Called by sincos.rs and trig_power.

#![forbid(unsafe_code)]

use super::tables::{
    HALF_PI_1, HALF_PI_2, HALF_PI_3, QUARTER_PI_1, QUARTER_PI_2, QUARTER_PI_3, TWO_OVER_PI,
};
use crate::simd::{LANES, Simd};

/// From here on the reduction is done in integers; n·2 stays below 2^20, so that its product
/// with the 33-bit part of π/4 is exact.
const LARGE: f64 = 524_288.0;

/// A remainder below this is left to integers; n·HALF_PI_2 is below a quarter of it.
const NOTHING: f64 = f64::from_bits((1023 - 12) << 52);

/// 1.5·2^52: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// What is left of x, and where it lay.
#[derive(Clone, Copy)]
pub(crate) struct Reduced<S: Simd> {
    /// The remainder, rounded.
    pub(crate) high: S::F,
    /// What `high` lacks.
    pub(crate) low: S::F,
    /// n; only the lowest two bits mean anything.
    pub(crate) quadrant: S::U,
}

/// x less the nearest multiple of π/2, and whether that may be relied on: it may not in lanes
/// where |x| is large, or where all but nothing is left of x (one in 2^13). Those go to [`patch`].
#[inline(always)]
pub(crate) fn reduce<S: Simd>(s: S, x: S::F) -> (Reduced<S>, u8) {
    let turned = s.fma(x, s.splat(std::f64::consts::FRAC_2_PI), s.splat(ROUND));
    let n = s.sub(turned, s.splat(ROUND));
    // The first step is exact: n has 20 bits, the part 33, and they all but cancel x.
    let t = s.fnma(n, s.splat(HALF_PI_1), x);
    // t exceeds n·HALF_PI_2 where what is left does, so that t − high is exact.
    let high = s.fnma(n, s.splat(HALF_PI_2), t);
    let low = s.fnma(n, s.splat(HALF_PI_2), s.sub(t, high));
    let low = s.fnma(n, s.splat(HALF_PI_3), low);
    let magnitude = s.abs(x);
    let usual = s.mask_bits(s.lt(magnitude, s.splat(LARGE)))
        & (s.mask_bits(s.lt(s.splat(NOTHING), s.abs(high)))
            | s.mask_bits(s.lt(magnitude, s.splat(0.75))));
    (Reduced { high, low, quadrant: s.bits(turned) }, usual)
}

/// x + π/4 less the nearest multiple of π/2, for any x; NaN where x is NaN or infinite.
#[inline(always)]
pub(crate) fn reduce_shifted<S: Simd>(s: S, x: S::F) -> Reduced<S> {
    let two_over_pi = s.splat(std::f64::consts::FRAC_2_PI);
    let turned = s.add(s.fma(x, two_over_pi, s.splat(0.5)), s.splat(ROUND));
    let n = s.sub(turned, s.splat(ROUND));
    // In quarters of π, an odd number. Nothing cancels for small x, so every sum is two doubles.
    let k = s.fma(n, s.splat(2.0), s.splat(-1.0));
    let first = s.mul(k, s.splat(QUARTER_PI_1));
    let (t, t_low) = s.two_sum(x, s.negate(first));
    let (w, w_low) = s.two_mul(k, s.splat(QUARTER_PI_2));
    let w_low = s.fma(k, s.splat(QUARTER_PI_3), w_low);
    let (high, rest) = s.two_sum(t, s.negate(w));
    let low = s.sub(s.add(rest, t_low), w_low);
    let (high, low) = s.fast_two_sum(high, low);
    let reduced = Reduced { high, low, quadrant: s.bits(turned) };
    let small = s.mask_bits(s.lt(s.abs(x), s.splat(LARGE)));
    if small == 0xff { reduced } else { patch::<S, true>(s, x, reduced, !small) }
}

/// Replaces the lanes whose bit is set in `large` by what integers give.
#[cold]
#[inline(never)]
pub(crate) fn patch<S: Simd, const SHIFT: bool>(
    s: S,
    x: S::F,
    r: Reduced<S>,
    large: u8,
) -> Reduced<S> {
    let (mut xs, mut high, mut low) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let mut quadrant = [0; LANES];
    s.store(x, &mut xs);
    s.store(r.high, &mut high);
    s.store(r.low, &mut low);
    s.store_u(r.quadrant, &mut quadrant);
    for i in (0..LANES).filter(|i| large >> i & 1 != 0) {
        (high[i], low[i], quadrant[i]) = reduce_large(xs[i], SHIFT);
    }
    Reduced { high: s.load(&high), low: s.load(&low), quadrant: s.load_u(&quadrant) }
}

/// The remainder in two doubles and n mod 4, by integers. |x| is at least 1/2, or NaN.
fn reduce_large(x: f64, shift: bool) -> (f64, f64, u64) {
    if !x.is_finite() {
        return (f64::NAN, f64::NAN, 0);
    }
    let bits = x.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32 - 1075;
    let mantissa = (bits & ((1 << 52) - 1)) | 1 << 52;
    // |x|·2/π modulo 4, as a fraction of 4 in 256 bits: bits of 2/π above this place give
    // multiples of 4, bits below the window change the result by less than 2^-200.
    let mut product = multiply(window(exponent - 2), mantissa);
    if bits >> 63 != 0 {
        product = negate(product);
    }
    if shift {
        product[0] = product[0].wrapping_add(1 << 61); // + 1/2 of the 4
    }
    let quadrant = product[0].wrapping_add(1 << 61) >> 62;
    product[0] = product[0].wrapping_sub(quadrant << 62);
    let negative = product[0] >> 63 != 0;
    if negative {
        product = negate(product);
    }
    let (high, low) = times_half_pi(product);
    if negative { (-high, -low, quadrant) } else { (high, low, quadrant) }
}

/// 256 bits of 2/π from the `position`-th after the point on, the highest word first.
fn window(position: i32) -> [u64; 4] {
    let word = |i: i32| usize::try_from(i).map_or(0, |i| TWO_OVER_PI[i]);
    let (start, offset) = (position.div_euclid(64), position.rem_euclid(64) as u32);
    std::array::from_fn(|k| {
        let pair =
            u128::from(word(start + k as i32)) << 64 | u128::from(word(start + k as i32 + 1));
        (pair << offset >> 64) as u64
    })
}

/// The low 256 bits of the product.
fn multiply(words: [u64; 4], by: u64) -> [u64; 4] {
    let mut carry = 0;
    let mut product = words;
    for word in product.iter_mut().rev() {
        let wide = u128::from(*word) * u128::from(by) + carry;
        *word = wide as u64;
        carry = wide >> 64;
    }
    product
}

/// The two's complement.
fn negate(words: [u64; 4]) -> [u64; 4] {
    let mut carry = true;
    let mut negative = words;
    for word in negative.iter_mut().rev() {
        (*word, carry) = (!*word).overflowing_add(u64::from(carry));
    }
    negative
}

/// A fraction of 4 in 256 bits, at most 1/2 and not 0, times π/2, in two doubles.
fn times_half_pi(words: [u64; 4]) -> (f64, f64) {
    const HALF_PI: f64 = std::f64::consts::FRAC_PI_2;
    const HALF_PI_LOW: f64 = 6.123233995736766e-17;
    let zeros = words[0].leading_zeros();
    let top = u128::from(words[0]) << 64 | u128::from(words[1]);
    let next = u128::from(words[2]) << 64 | u128::from(words[3]);
    // No double is so near to a multiple of π/2 that the first 64 bits could all vanish more
    // than once; two more zeros of the first word follow from the range.
    let (top, zeros) = if zeros == 64 {
        let more = (top as u64).leading_zeros();
        (top << (64 + more) | next >> (64 - more), 64 + more)
    } else {
        (top << zeros | next >> 64 >> (64 - zeros), zeros)
    };
    let scale = f64::from_bits(u64::from(1023 + 2 - zeros) << 52); // 4·2^-zeros
    let high = (top >> 75) as f64 * (scale * 2f64.powi(-53));
    let low = (top << 53 >> 75) as f64 * (scale * 2f64.powi(-106));
    let product = high * HALF_PI;
    let error = high.mul_add(HALF_PI, -product) + (high * HALF_PI_LOW + low * HALF_PI);
    let sum = product + error;
    (sum, error - (sum - product))
}
