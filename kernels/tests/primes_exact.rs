//! No wrong answers: primality, factors and counts against sieves, published values, an
//! independent implementation, and the numbers that fool weaker tests.
//!
//! The ignored tests are the long forms of those beside them; run them once for a release, and with
//! `PINPOOL_ISA` set to each instruction set in turn:
//! `cargo test --release -p pinpool-kernels --test primes_exact -- --ignored`.

use pinpool_kernels::primes::{
    Factors, count_primes, divisor_sum, factor, factor_slice, is_prime, is_prime_slice, moebius,
    moebius_slice, next_prime, nth_prime, prime_pi, primes_in, totient, totient_slice,
};

/// SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn prime_of_32_bits(&mut self) -> u64 {
        loop {
            let p = next_prime(self.next() >> 32 | 1 << 31).expect("there is one");
            if p < 1 << 32 {
                return p;
            }
        }
    }
}

fn slice(numbers: &[u64]) -> Vec<u8> {
    let mut out = vec![7; numbers.len()];
    is_prime_slice(numbers, &mut out);
    out
}

/// Compares the batch test with a plain sieve of Eratosthenes on `[low, high)`.
fn agrees_with_a_sieve(low: u64, high: u64) {
    let base: Vec<u64> = (2..=high.isqrt() + 1)
        .filter(|&n| (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0))
        .collect();
    const LEN: u64 = 1 << 20;
    let mut start = low;
    while start < high {
        let end = (start + LEN).min(high);
        let mut expected = vec![1u8; (end - start) as usize];
        for &p in &base {
            let mut multiple = start.div_ceil(p).max(p) * p;
            while multiple < end {
                expected[(multiple - start) as usize] = 0;
                multiple += p;
            }
        }
        for n in start..end.min(2) {
            expected[n as usize] = 0;
        }
        let numbers: Vec<u64> = (start..end).collect();
        assert!(slice(&numbers) == expected, "between {start} and {end}");
        start = end;
    }
}

#[test]
fn small_numbers_and_a_window_below_2_to_32_agree_with_a_sieve() {
    agrees_with_a_sieve(0, 2_000_000);
    agrees_with_a_sieve((1 << 32) - 200_000, 1 << 32);
    for n in 0..100_000 {
        assert_eq!(u8::from(is_prime(n)), slice(&[n])[0], "{n}");
    }
}

#[test]
#[ignore = "all numbers below 2^32: a minute"]
fn all_numbers_below_2_to_32_agree_with_a_sieve() {
    agrees_with_a_sieve(0, 1 << 32);
}

fn largest_agree(count: u64) {
    let numbers: Vec<u64> = (0..count).map(|i| u64::MAX - i).collect();
    for (n, out) in numbers.iter().zip(slice(&numbers)) {
        assert_eq!(out == 1, machine_prime::is_prime(*n), "{n}");
    }
}

/// The largest numbers of each kind of arithmetic, where its bounds are tightest.
fn below_the_limits_agree(count: u64) {
    // Of 2^52 and 2^64, the limit is where numbers are too close below them for one path.
    let closest = [(1 << 52) - (1 << 33) + count / 2, u64::MAX - (1 << 45) + count / 2];
    for limit in [1u64 << 33, 1 << 49, 1 << 50, 1 << 62, 1 << 63].into_iter().chain(closest) {
        let numbers: Vec<u64> = (0..count).map(|i| limit - i).collect();
        for (n, out) in numbers.iter().zip(slice(&numbers)) {
            assert_eq!(out == 1, machine_prime::is_prime(*n), "{n}");
        }
    }
}

fn random_agree(count: usize) {
    let mut draw = Draw(2024);
    for _ in 0..count / 10_000 {
        let numbers: Vec<u64> = (0..10_000).map(|_| draw.next()).collect();
        for (n, out) in numbers.iter().zip(slice(&numbers)) {
            assert_eq!(out == 1, machine_prime::is_prime(*n), "{n}");
        }
    }
}

#[test]
fn the_largest_and_random_numbers_agree_with_another_implementation() {
    largest_agree(60_000);
    below_the_limits_agree(20_000);
    random_agree(100_000);
}

#[test]
#[ignore = "10^6 largest and 10^7 random numbers: some seconds in release, minutes in debug"]
fn very_many_numbers_agree_with_another_implementation() {
    largest_agree(1_000_000);
    below_the_limits_agree(1_000_000);
    random_agree(10_000_000);
}

/// Products k·(m(k-1) + 1) of two primes, and Carmichael numbers (6k+1)(12k+1)(18k+1): among them
/// are most of the pseudoprimes to many bases at once.
fn structured() -> Vec<u64> {
    let mut all = Vec::new();
    for m in 2..=16u64 {
        let top = ((u64::MAX / m) as f64).sqrt() as u64 - 10;
        let starts = [70, 1 << 12, 1 << 20, 1 << 24, top / 3, top - 400_000];
        for start in starts {
            for k in primes_in(start, start + 12_000) {
                let q = m * (k - 1) + 1;
                if is_prime(q) {
                    all.extend(k.checked_mul(q));
                }
            }
        }
    }
    for k in 1..200_000u64 {
        let (p, q, r) = (6 * k + 1, 12 * k + 1, 18 * k + 1);
        if is_prime(p) && is_prime(q) && is_prime(r) {
            all.extend(p.checked_mul(q).and_then(|n| n.checked_mul(r)));
        }
    }
    all
}

#[test]
fn structured_pseudoprimes_are_composite_and_come_apart() {
    let mut numbers = structured();
    assert!(numbers.len() > 5_000);
    // The least strong pseudoprimes to the first 1 to 12 primes (OEIS A014233), and some to base 2.
    numbers.extend([
        2_047,
        1_373_653,
        25_326_001,
        3_215_031_751,
        2_152_302_898_747,
        3_474_749_660_383,
        341_550_071_728_321,
        3_825_123_056_546_413_051,
    ]);
    numbers.extend([3_277, 4_033, 4_681, 8_321, 15_841, 29_341, 42_799, 49_141, 52_633, 65_281]);
    // Wieferich primes: their squares pass every test to base 2.
    for p in [1_093u64, 3_511] {
        numbers.extend([p * p, p * p * p, p * p * 67, p * p * 1_000_003]);
    }
    numbers.push(1_093 * 1_093 * 3_511 * 3_511);
    assert!(slice(&numbers).iter().all(|&p| p == 0));
    for &n in &numbers {
        assert!(!is_prime(n), "{n}");
    }
    // Each is two or three primes: only some, as the portable path takes a while for large ones.
    numbers.truncate(2_000);
    factors_are_right(&numbers);
}

#[test]
fn neighbours_of_powers_of_two_are_told_apart() {
    let mut numbers = Vec::new();
    for bit in 0..64 {
        for offset in 0..=20u64 {
            numbers.push((1u64 << bit).wrapping_add(offset));
            numbers.push((1u64 << bit).wrapping_sub(offset));
        }
    }
    for (n, out) in numbers.iter().zip(slice(&numbers)) {
        let expected = if *n < 4 { matches!(n, 2 | 3) } else { machine_prime::is_prime(*n) };
        assert_eq!(out == 1, expected, "{n}");
        assert_eq!(is_prime(*n), expected, "{n}");
    }
    factors_are_right(&numbers);
}

/// The product is the number and every factor is prime, by batch and one at a time.
fn factors_are_right(numbers: &[u64]) {
    let mut out = vec![Factors::NONE; numbers.len()];
    factor_slice(numbers, &mut out);
    for (&n, factors) in numbers.iter().zip(&out) {
        assert_eq!(factors.product(), n.max(1), "{n}");
        assert!(factors.prime_factors().is_sorted(), "{n}");
        for (p, _) in factors.iter() {
            let prime = if p < 4 { matches!(p, 2 | 3) } else { machine_prime::is_prime(p) };
            assert!(prime, "{n}: {p}");
        }
    }
}

#[test]
fn factors_of_random_numbers_of_every_size_are_right() {
    let mut draw = Draw(11);
    let numbers: Vec<u64> = (0..30_000).map(|i| draw.next() >> (i % 64)).collect();
    factors_are_right(&numbers);
    let some = &numbers[..2_000];
    let mut batch = vec![Factors::NONE; some.len()];
    factor_slice(some, &mut batch);
    for (&n, batch) in some.iter().zip(&batch) {
        assert_eq!(*batch, factor(n), "{n}");
    }
}

#[test]
#[ignore = "10^7 random numbers and 10^5 semiprimes of 64 bits: half a minute with AVX-512"]
fn factors_of_very_many_numbers_are_right() {
    let mut draw = Draw(12);
    for _ in 0..100 {
        let numbers: Vec<u64> = (0..100_000).map(|_| draw.next()).collect();
        factors_are_right(&numbers);
    }
    let semiprimes: Vec<u64> =
        (0..100_000).map(|_| draw.prime_of_32_bits() * draw.prime_of_32_bits()).collect();
    factors_are_right(&semiprimes);
}

#[test]
fn semiprimes_prime_powers_and_products_of_small_primes_come_apart() {
    let mut draw = Draw(13);
    let mut numbers: Vec<u64> =
        (0..200).map(|_| draw.prime_of_32_bits() * draw.prime_of_32_bits()).collect();
    for p in primes_in(2, 3_000).chain([65_521, 65_537, 999_983, 1_048_573, 4_294_967_291]) {
        let mut power = p;
        loop {
            numbers.push(power);
            let Some(next) = power.checked_mul(p) else { break };
            power = next;
        }
    }
    for _ in 0..2_000 {
        let mut n = 1u64;
        loop {
            let p = next_prime(draw.next() % 60).expect("small");
            let Some(next) = n.checked_mul(p) else { break };
            n = next;
        }
        numbers.push(n);
    }
    // Two and three primes just above the bounds of trial division.
    for p in primes_in(980, 1_100) {
        for q in primes_in(990, 1_060) {
            numbers.extend([p * q, p * q * 1_009, p * q * 1_013 * 1_019]);
        }
    }
    numbers.extend([0, 1, 2, 614_889_782_588_491_410, u64::MAX]);
    factors_are_right(&numbers);
    assert_eq!(factor(0).count_with_multiplicity(), 0);
    assert_eq!(factor(1).count_with_multiplicity(), 0);
}

#[test]
fn windows_up_to_the_end_of_u64_hold_as_many_primes_as_primesieve_finds() {
    // By primesieve 11.0.
    for (low, len, count) in WINDOWS {
        assert_eq!(count_primes(low, low + len), count, "from {low}");
    }
    assert_eq!(primes_in(u64::MAX - 100, u64::MAX).last(), Some(u64::MAX - 58));
}

#[test]
#[ignore = "pi(10^11) to pi(10^14): seconds in release, minutes in debug"]
fn large_powers_of_ten_give_the_published_counts() {
    assert_eq!(prime_pi(10u64.pow(11)), 4_118_054_813);
    assert_eq!(prime_pi(10u64.pow(12)), 37_607_912_018);
    assert_eq!(nth_prime(1_000_000_000), Some(22_801_763_489));
    assert_eq!(prime_pi(10u64.pow(13)), 346_065_536_839);
    assert_eq!(prime_pi(10u64.pow(14)), 3_204_941_750_802);
    assert_eq!(count_primes(0, 10u64.pow(10)), 455_052_511);
}

#[test]
fn multiplicative_functions_of_slices_sum_as_they_should() {
    // The sum of totients to n, and of the Möbius function (Mertens), to 10^4 and 10^5.
    let n: Vec<u64> = (1..=100_000).collect();
    let mut totients = vec![0; n.len()];
    totient_slice(&n, &mut totients);
    assert_eq!(totients[..10_000].iter().sum::<u64>(), 30_397_486);
    let mut signs = vec![0; n.len()];
    moebius_slice(&n, &mut signs);
    assert_eq!(signs[..10_000].iter().map(|&m| i64::from(m)).sum::<i64>(), -23);
    assert_eq!(signs.iter().map(|&m| i64::from(m)).sum::<i64>(), -48);
    for i in (0..n.len()).step_by(997) {
        assert_eq!(totients[i], totient(n[i]));
        assert_eq!(signs[i], moebius(n[i]));
    }
    // A perfect number: twice itself.
    let perfect = ((1u64 << 31) - 1) << 30;
    assert_eq!(divisor_sum(perfect), 2 * u128::from(perfect));
}

/// Start, length, primes in it.
const WINDOWS: [(u64, u64, u64); 5] = [
    (1 << 32, 10_000_000, 450_562),
    (1_000_000_000_000, 10_000_000, 361_726),
    (1_000_000_000_000_000_000, 1_000_000, 24_280),
    (10_000_000_000_000_000_000, 1_000_000, 23_069),
    (18_446_744_073_708_551_615, 1_000_000, 22_475),
];
