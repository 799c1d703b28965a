//! Normal numbers by inversion: Wichura's AS 241 (PPND16), Applied Statistics 37 (1988) 477-484.
//!
//! The middle 85 % is a rational function of the draw alone. The tails need a logarithm and a
//! root; the part beyond e^-25, two draws in 10^11, is done lane by lane.

#![forbid(unsafe_code)]
#![allow(clippy::excessive_precision, reason = "the digits of the publication")]

use super::{TWO_M53, Transform};
use crate::elementary::log2::log2_rounded;
use crate::simd::{LANES, Simd};

pub(super) struct Normal;

/// Where the middle part ends.
const MIDDLE: f64 = 0.425;

impl Transform for Normal {
    type T = f64;

    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [f64; LANES]) {
        s.store(inverse(s, draws), out);
    }
}

#[inline(always)]
fn inverse<S: Simd>(s: S, draws: S::U) -> S::F {
    // q = (k + 1/2)·2^-53 − 1/2, exact: an odd multiple of 2^-54, never 0.
    let k = s.to_float(s.shr::<11>(draws));
    let q = s.mul(s.sub(k, s.splat(4_503_599_627_370_495.5)), s.splat(TWO_M53));
    let magnitude = s.abs(q);
    let r = s.fnma(q, q, s.splat(MIDDLE * MIDDLE));
    let middle = s.mul(q, s.div(s.poly(r, &A), s.poly(r, &B)));
    let outside = s.lt(s.splat(MIDDLE), magnitude);
    let tails = s.mask_bits(outside);
    if tails == 0 {
        return middle;
    }
    // The distance to 0 or 1, exact.
    let p = s.sub(s.splat(0.5), magnitude);
    let log = log2_rounded(s, p);
    let root = s.sqrt(s.mul(log, s.splat(-std::f64::consts::LN_2)));
    let r = s.sub(root, s.splat(1.6));
    let tail = s.div(s.poly(r, &C), s.poly(r, &D));
    let far = s.mask_bits(s.lt(s.splat(FAR), root)) & tails;
    let tail = if far == 0 { tail } else { patch(s, root, tail, far) };
    let sign = s.and_u(s.bits(q), s.splat_u(crate::simd::SIGN));
    s.select(outside, s.flip(tail, sign), middle)
}

/// Where the far tail begins, as √(−ln p).
const FAR: f64 = 5.0;

#[cold]
#[inline(never)]
fn patch<S: Simd>(s: S, root: S::F, tail: S::F, far: u8) -> S::F {
    let (mut roots, mut tails) = ([0.0; LANES], [0.0; LANES]);
    s.store(root, &mut roots);
    s.store(tail, &mut tails);
    let poly = |x: f64, c: &[f64; 8]| c.iter().rev().fold(0.0f64, |acc, &k| acc.mul_add(x, k));
    for i in (0..LANES).filter(|i| far >> i & 1 != 0) {
        let r = roots[i] - FAR;
        tails[i] = poly(r, &E) / poly(r, &F);
    }
    s.load(&tails)
}

const A: [f64; 8] = [
    3.387_132_872_796_366_608,
    1.331_416_678_917_843_774_5e2,
    1.971_590_950_306_551_442_7e3,
    1.373_169_376_550_946_112_5e4,
    4.592_195_393_154_987_145_7e4,
    6.726_577_092_700_870_085_3e4,
    3.343_057_558_358_812_810_5e4,
    2.509_080_928_730_122_672_7e3,
];
const B: [f64; 8] = [
    1.0,
    4.231_333_070_160_091_125_2e1,
    6.871_870_074_920_579_083e2,
    5.394_196_021_424_751_107_7e3,
    2.121_379_430_158_659_586_7e4,
    3.930_789_580_009_271_061e4,
    2.872_908_573_572_194_267_4e4,
    5.226_495_278_852_854_561e3,
];
const C: [f64; 8] = [
    1.423_437_110_749_683_577_34,
    4.630_337_846_156_545_295_9,
    5.769_497_221_460_691_405_5,
    3.647_848_324_763_204_605_04,
    1.270_458_252_452_368_382_58,
    2.417_807_251_774_506_117_7e-1,
    2.272_384_498_926_918_458_33e-2,
    7.745_450_142_783_414_076_4e-4,
];
const D: [f64; 8] = [
    1.0,
    2.053_191_626_637_758_821_87,
    1.676_384_830_183_803_849_4,
    6.897_673_349_851_000_045_5e-1,
    1.481_039_764_274_800_745_9e-1,
    1.519_866_656_361_645_719_66e-2,
    5.475_938_084_995_344_946e-4,
    1.050_750_071_644_416_843_24e-9,
];
const E: [f64; 8] = [
    6.657_904_643_501_103_777_2,
    5.463_784_911_164_114_369_9,
    1.784_826_539_917_291_335_8,
    2.965_605_718_285_048_912_3e-1,
    2.653_218_952_657_612_309_3e-2,
    1.242_660_947_388_078_438_6e-3,
    2.711_555_568_743_487_578_15e-5,
    2.010_334_399_292_288_132_65e-7,
];
const F: [f64; 8] = [
    1.0,
    5.998_322_065_558_879_376_9e-1,
    1.369_298_809_227_358_053_1e-1,
    1.487_536_129_085_061_485_25e-2,
    7.868_691_311_456_132_591e-4,
    1.846_318_317_510_054_681_8e-5,
    1.421_511_758_316_445_888_7e-7,
    2.044_263_103_389_939_785_64e-15,
];
