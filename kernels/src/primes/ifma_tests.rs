//! The vector arithmetic for numbers of a word against `u128`, and the tests and curves on vectors
//! against the portable ones.

use std::arch::x86_64::*;

use super::arithmetic::{gcd, next_prime};
use super::ecm;
use super::ecm_avx512::{Curves, LANES, VECTORS, curve_one, curve_word, gcd_odd};
use super::ecm_plan::{CURVES, plans};
use super::ifma::ONE_LIMB_LIMIT;
use super::ifma_barrett::{Barrett, LARGEST_MODULUS, Operand, SHIFT_BITS, fits};
use super::ifma_base_2::base_2_word;
use super::ifma_lucas::lucas_word;
use super::is_prime::SMALL_DIVISORS;
use super::lucas::is_almost_extra_strong;
use super::montgomery::Montgomery;
use super::packed_avx512::{load, store};
use crate::isa::Isa;

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Odd numbers of every size that have an N within the bounds, at both ends of each size too.
fn moduli(draw: &mut Draw) -> Vec<u64> {
    let mut all = Vec::new();
    for bits in 48..64 {
        let (lowest, largest) = (1u64 << bits, LARGEST_MODULUS >> (63 - bits));
        for offset in [1, 3, 5, 1 << 20 | 1, 1 << 40 | 1] {
            all.extend([lowest + offset, largest - offset]);
        }
        all.extend((0..200).map(|_| (lowest + draw.next() % (largest - lowest)) | 1));
    }
    all.retain(|n| n % 2 == 1);
    all
}

/// Eight of the words where something may give way, and random ones.
fn words(draw: &mut Draw, modulus: u64) -> [u64; 8] {
    let edges = [
        0,
        1,
        2,
        modulus - 1,
        modulus,
        modulus + 1,
        modulus + (1 << 29),
        modulus + (1 << 44),
        u64::MAX,
        u64::MAX - 1,
        1 << 63,
        (1 << 63) - 1,
        (1 << 12) - 1,
        1 << 12,
        (1 << 52) - 1,
    ];
    std::array::from_fn(|_| {
        let word = draw.next();
        match word % 64 {
            pick if (pick as usize) < edges.len() => edges[pick as usize],
            pick if pick < 24 => draw.next() >> ((word >> 32) % 64),
            _ => draw.next(),
        }
    })
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn lanes(value: __m512i) -> [u64; 8] {
    let mut lanes = [0; 8];
    store(&mut lanes, value);
    lanes
}

#[track_caller]
fn congruent(value: u64, expected: u128, modulus: u64, end: u128) {
    assert_eq!(value % modulus, (expected % u128::from(modulus)) as u64, "modulo {modulus}");
    assert!(u128::from(value) < end, "{value} modulo {modulus}");
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn products() {
    let mut draw = Draw(3);
    for n in moduli(&mut draw) {
        let modulus = n << n.leading_zeros();
        let all = _mm512_set1_epi64(n as i64);
        let m = Barrett::new(all);
        assert_eq!(fits(all), 0xff);
        assert_eq!(lanes(m.modulus), [modulus; 8]);
        for _ in 0..200 {
            let (a, b) = (words(&mut draw, modulus), words(&mut draw, modulus));
            let shift: [u64; 8] = std::array::from_fn(|_| draw.next() >> (64 - SHIFT_BITS));
            let power: [u64; 8] = std::array::from_fn(|_| draw.next() % 128);
            let plus = draw.next() % 128;
            let (x, y) = (Operand::new(load(&a)), Operand::new(load(&b)));
            let constant = _mm512_set1_epi64(modulus.wrapping_add(plus) as i64);
            let product = lanes(m.mul(x, y));
            let square = lanes(m.square(x));
            let shifted = lanes(m.square_shifted(x, load(&shift)));
            let minus_product = lanes(m.minus_product(x, y, constant));
            let minus_square = lanes(m.minus_square(x, constant));
            let powers = lanes(m.power_of_two(load(&power)));
            let remainder = lanes(m.remainder(load(&a), all));
            let end = u128::from(modulus) + (1 << 30);
            for i in 0..8 {
                let ab = u128::from(a[i]) * u128::from(b[i]) % u128::from(modulus);
                let aa = u128::from(a[i]) * u128::from(a[i]) % u128::from(modulus);
                let negative = |r: u128| u128::from(modulus + plus) - r;
                congruent(product[i], ab, modulus, end);
                congruent(square[i], aa, modulus, end);
                congruent(shifted[i], aa << shift[i], modulus, end + (1 << 45));
                congruent(minus_product[i], negative(ab), modulus, end + u128::from(plus));
                congruent(minus_square[i], negative(aa), modulus, end + u128::from(plus));
                congruent(powers[i], 1 << power[i], modulus, end);
                assert_eq!(remainder[i], a[i] % n, "{} modulo {n}", a[i]);
            }
        }
    }
}

fn power_mod(base: u64, mut exponent: u64, n: u64) -> u64 {
    let times = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let (mut result, mut square) = (1, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    result
}

/// Numbers that the batch test takes through both tests: rough ones of all sizes, and some close
/// below multiples of large powers of two, whose Lucas test looks at most of its chain.
fn rough(draw: &mut Draw) -> Vec<u64> {
    let mut all = moduli(draw);
    for bits in 20..62 {
        for factor in [3u64, 5, 7, 9, 11, 13, 21, 1025, 4095] {
            all.extend(factor.checked_mul(1 << bits).map(|n| n - 1));
        }
    }
    for n in all.clone() {
        all.extend((1..60).map(|i| n.saturating_add(2 * i)));
    }
    all.retain(|&n| {
        let near = n << n.leading_zeros() > LARGEST_MODULUS;
        n >= ONE_LIMB_LIMIT && !near && !SMALL_DIVISORS.iter().any(|d| d.divides(n))
    });
    all
}

#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn tests() {
    let mut draw = Draw(5);
    let mut all = rough(&mut draw);
    let mut primes = 0;
    // In order of size, and shuffled, so that sizes meet in a vector.
    for _ in 0..2 {
        for n in all.as_chunks::<16>().0 {
            let halves = n.as_chunks::<8>().0;
            let vectors = [load(&halves[0]), load(&halves[1])];
            let (base_2, lucas) = (base_2_word(&vectors), lucas_word(&vectors));
            for i in 0..16 {
                let power = power_mod(2, (n[i] - 1) / 2, n[i]);
                let expected = power == 1 || power == n[i] - 1;
                assert_eq!((base_2[i / 8] >> (i % 8)) & 1 == 1, expected, "base 2: {}", n[i]);
                let expected = is_almost_extra_strong(&Montgomery::new(n[i]));
                assert_eq!((lucas[i / 8] >> (i % 8)) & 1 == 1, expected, "Lucas: {}", n[i]);
                primes += u32::from(expected);
            }
        }
        for i in 1..all.len() {
            all.swap(i, draw.next() as usize % i);
        }
    }
    assert!(primes > 1000);
}

/// Products of two primes of `bits` bits, one on each lane, and any curve: both stages have the same
/// common divisors with n as the portable ones.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn curves() {
    let mut draw = Draw(11);
    let mut found = 0;
    for (round, bits) in [22, 24, 25, 28, 31, 32].into_iter().cycle().take(48).enumerate() {
        let mut prime = || loop {
            let p = next_prime(1 << (bits - 1) | draw.next() >> (65 - bits));
            if let Some(p) = p.filter(|p| p >> bits == 0) {
                return p;
            }
        };
        let n: [u64; LANES] = std::array::from_fn(|_| prime() * prime());
        let curve = std::array::from_fn(|_| CURVES[draw.next() as usize % CURVES.len()]);
        let plan = &plans()[round / 6 % plans().len()];
        let mut vectors = [_mm512_setzero_si512(); VECTORS];
        for (vector, n) in vectors.iter_mut().zip(n.as_chunks::<8>().0) {
            *vector = load(n);
        }
        let values = if bits < 25 {
            curve_one::run(&vectors, &Curves::new(&curve), plan)
        } else {
            curve_word::run(&vectors, &Curves::new(&curve), plan)
        };
        let stage_1 = gcd_odd(&values.stage_1, &vectors).map(|v| lanes(v));
        let stage_2 = gcd_odd(&values.stage_2, &vectors).map(|v| lanes(v));
        for lane in 0..LANES {
            let (n, at) = (n[lane], (lane / 8, lane % 8));
            let (first, second) = ecm::run(Montgomery::new(n), &curve[lane], plan);
            assert_eq!(stage_1[at.0][at.1], gcd(first, n), "{n}, {:?}", curve[lane]);
            assert_eq!(stage_2[at.0][at.1], gcd(second, n), "{n}, {:?}", curve[lane]);
            found += u32::from(stage_2[at.0][at.1] != 1);
        }
    }
    assert!(found > 300);
}

fn if_there(test: unsafe fn()) {
    if Isa::Avx512.is_available() {
        // SAFETY: the tests ask for no more than what this CPU was just found to have.
        unsafe { test() }
    } else {
        println!("skipped: this CPU lacks {}", Isa::Avx512);
    }
}

#[test]
fn products_and_remainders_are_those_of_u128_within_their_bounds() {
    if_there(products);
}

#[test]
fn both_tests_of_a_word_agree_with_the_portable_ones() {
    if_there(tests);
}

#[test]
fn curves_find_what_the_portable_ones_find() {
    if_there(curves);
}
