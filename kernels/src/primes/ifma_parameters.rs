//! The parameter P of the Lucas test for eight numbers at once: the search of `lucas.rs`, where each
//! step is the quadratic character of n modulo one small prime, read from a table of bits.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::set;
use super::is_prime::is_rough_prime;
use super::lucas;

/// The vector test takes parameters of this many bits; a number whose first P is larger (one in
/// 2^30 or so) goes to the portable test.
pub(super) const PARAMETER_BITS: u32 = 7;

/// The Lucas parameters of eight lanes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    pub(super) p: __m512i,
    /// Lanes that have one; the others are decided.
    pub(super) found: u8,
    /// Lanes decided to be prime by the portable test.
    pub(super) prime: u8,
}

/// A prime whose character decides one step of the search for P.
#[derive(Debug, Clone, Copy)]
struct Character {
    /// The P that is taken when (D/n) = -1 here.
    parameter: u64,
    prime: u64,
    inverse: u64,
    /// 2^48 modulo the prime.
    fold: u64,
    /// Bit j: a number that leaves class j (see [`parameters`]) is no square modulo the prime.
    non_squares: u64,
}

/// The characters of [`lucas::PARAMETER_PRIMES`]; between the third and the fourth comes 2.
const CHARACTERS: [Character; 8] = {
    let mut all = [Character::new(3, 5); 8];
    let mut i = 0;
    while i < 8 {
        let (parameter, prime) = lucas::PARAMETER_PRIMES[i];
        all[i] = Character::new(parameter, prime);
        i += 1;
    }
    all
};

impl Character {
    const fn new(parameter: u64, prime: u64) -> Character {
        let mut squares = 0u64;
        let mut r = 0;
        while r < prime {
            squares |= 1 << (r * r % prime);
            r += 1;
        }
        let fold52 = (1u64 << 52) % prime;
        let mut non_squares = 0;
        let mut j = 0;
        while j < prime {
            // Class j holds the numbers that are -j·2^52 modulo the prime.
            let residue = (prime - j * fold52 % prime) % prime;
            if (squares >> residue) & 1 == 0 {
                non_squares |= 1 << j;
            }
            j += 1;
        }
        let inverse = super::montgomery::inverse64(prime) & ((1 << 52) - 1);
        Character { parameter, prime, inverse, fold: (1u64 << 48) % prime, non_squares }
    }
}

/// The Lucas parameter of each lane.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn parameters(n: __m512i) -> Parameters {
    let zero = _mm512_setzero_si512();
    let low = _mm512_and_si512(n, set((1 << 48) - 1));
    let high = _mm512_srli_epi64::<48>(n);
    let three_mod_four = _mm512_test_epi64_mask(n, set(2));
    let mut open: u8 = 0xff;
    let mut p = zero;
    for (i, c) in CHARACTERS.iter().enumerate() {
        if i == 3 {
            // P = 6: (32/n) = (2/n) is -1 for n = 3, 5 modulo 8, where bits 1 and 2 differ.
            let shifted = _mm512_xor_si512(n, _mm512_srli_epi64::<1>(n));
            let here = open & _mm512_test_epi64_mask(shifted, set(2));
            p = _mm512_mask_mov_epi64(p, here, set(6));
            open &= !here;
        }
        let folded = _mm512_madd52lo_epu64(low, high, set(c.fold));
        let quotient = _mm512_madd52lo_epu64(zero, folded, set(c.inverse));
        let class = _mm512_madd52hi_epu64(zero, quotient, set(c.prime));
        let bit = _mm512_srlv_epi64(set(c.non_squares), class);
        let mut minus = _mm512_test_epi64_mask(bit, set(1));
        if c.prime % 4 == 3 {
            minus ^= three_mod_four;
        }
        let here = open & minus;
        p = _mm512_mask_mov_epi64(p, here, set(c.parameter));
        open &= !here;
    }
    let decided = Parameters { p, found: 0xff, prime: 0 };
    if open == 0 { decided } else { search(n, decided, open) }
}

/// The search for the lanes in `open`, one in 512, one by one.
#[cold]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn search(n: __m512i, mut parameters: Parameters, open: u8) -> Parameters {
    for lane in (0..8).filter(|lane| (open >> lane) & 1 == 1) {
        let this = 1u8 << lane;
        let number = _mm512_mask_reduce_or_epi64(this, n) as u64;
        match lucas::parameter(number) {
            Some(value) if value < 1 << PARAMETER_BITS => {
                parameters.p = _mm512_mask_mov_epi64(parameters.p, this, set(value));
            }
            parameter => {
                parameters.found &= !this;
                let prime = parameter.is_some() && is_rough_prime(number);
                parameters.prime |= if prime { this } else { 0 };
            }
        }
    }
    parameters
}
