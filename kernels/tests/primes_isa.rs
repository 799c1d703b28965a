//! Every instruction set gives the same answers. Alone in its process, because forcing one is
//! process-wide.

use pinpool_kernels::isa::{self, Isa};
use pinpool_kernels::primes::{
    Factors, count_primes, factor, factor_slice, is_prime, is_prime_bitmap, is_prime_slice,
    primes_in,
};

struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn every_instruction_set_gives_the_answers_of_one_number_at_a_time() {
    let mut draw = Draw(7);
    let mut mixed: Vec<u64> = (0..60_000).map(|i| draw.next() >> (i % 64)).collect();
    for bit in 0..64 {
        for offset in 0..=20 {
            mixed.push((1u64 << bit).wrapping_add(offset));
            mixed.push((1u64 << bit).wrapping_sub(offset));
        }
    }
    // Around the limits between the sizes of arithmetic.
    for edge in [
        67 * 67,
        1 << 33,
        1 << 49,
        (1u64 << 52) / 9,
        (1 << 62) - (1 << 43),
        1 << 63,
        (1 << 63) - (1 << 44),
        u64::MAX - (1 << 45) + 1,
    ] {
        mixed.extend((edge - 300)..(edge + 300));
    }
    mixed.extend((0..2000).map(|i| u64::MAX - i));
    mixed.extend((0..5000).map(|i| i * 2 + 1));
    let expected: Vec<u8> = mixed.iter().map(|&n| u8::from(is_prime(n))).collect();
    let primes: Vec<u64> = mixed.iter().copied().filter(|&n| is_prime(n)).collect();
    for isa in Isa::ALL {
        if isa::force(isa).is_err() {
            println!("skipped: this CPU lacks {isa}");
            continue;
        }
        slices(isa, &mixed, &expected);
        let mut out = vec![0; primes.len()];
        is_prime_slice(&primes, &mut out);
        assert!(out.iter().all(|&p| p == 1), "{isa} loses primes");
        factors(isa, &mixed);
        sieves(isa);
    }
}

fn slices(isa: Isa, mixed: &[u64], expected: &[u8]) {
    let mut out = vec![7; mixed.len()];
    is_prime_slice(mixed, &mut out);
    for i in 0..mixed.len() {
        assert_eq!(out[i], expected[i], "{isa}: {}", mixed[i]);
    }
    // Every length past some vectors, every alignment, in parts that end anywhere.
    for len in (0..200).chain([1023, 1024, 1025, 2500]) {
        let start = (len * 37) % 1000;
        let mut out = vec![7; len];
        is_prime_slice(&mixed[start..start + len], &mut out);
        assert_eq!(out, expected[start..start + len], "{isa}: {len} numbers");
        let mut bits = vec![!0; len.div_ceil(64)];
        is_prime_bitmap(&mixed[start..start + len], &mut bits);
        for i in 0..bits.len() * 64 {
            let bit = (bits[i / 64] >> (i % 64)) & 1;
            let byte = if i < len { expected[start + i] } else { 0 };
            assert_eq!(bit, u64::from(byte), "{isa}: bit {i} of {len}");
        }
    }
}

fn factors(isa: Isa, mixed: &[u64]) {
    let some: Vec<u64> = mixed.iter().copied().step_by(7).collect();
    let mut out = vec![Factors::NONE; some.len()];
    factor_slice(&some, &mut out);
    for (&n, out) in some.iter().zip(&out) {
        assert_eq!(*out, factor(n), "{isa}: {n}");
    }
}

/// Ranges that hold their own base primes, the ends of blocks and segments, and large primes, and the last.
fn sieves(isa: Isa) {
    let low: Vec<u64> = (0..300_000).filter(|&n| is_prime(n)).collect();
    assert_eq!(primes_in(0, 300_000).collect::<Vec<_>>(), low, "{isa}");
    assert_eq!(count_primes(0, 20_000_000), 1_270_607, "{isa}");
    assert_eq!(count_primes(10_000_000_000_000, 10_000_030_000_000), 1_003_337, "{isa}");
    assert_eq!(count_primes(1_000_000_000_000_000, 1_000_000_011_000_000), 318_321, "{isa}");
    // Ends at the squares of base primes: the last that goes block by block, and the first large one.
    for p in [32_749u64, 524_309] {
        let square = p * p;
        for end in [square, square + 1, square + 2] {
            let low = end - 2_000_000;
            let expected = (low..end).filter(|&n| is_prime(n)).count() as u64;
            assert_eq!(count_primes(low, end), expected, "{isa}, {end}");
        }
    }
    for low in (0..40).map(|k| u64::MAX - k) {
        let expected = (low..u64::MAX).filter(|&n| is_prime(n)).count() as u64;
        assert_eq!(count_primes(low, u64::MAX), expected, "{isa}, {low}");
    }
}
