//! The segmented sieve of Eratosthenes itself: one byte for 30 numbers, a bit for each of the
//! eight that 2, 3 and 5 leave.
//!
//! - Primes to 101 are struck by laying prepared patterns over the segment.
//! - Each prime below twice a segment's length keeps eight positions, one for each class of cofactors
//!   modulo 30. All of them advance by p bytes, so that eight strikes make one straight loop; x86-64
//!   has its own (`segment_avx2.rs`). Those below a block's length go block by block through the L1 cache, the
//!   others over the whole segment.
//! - Larger primes wait in buckets (`segment_large.rs`).
//!
//! primesieve, by K. Walisch, is the program to beat.

use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::segment_avx2;
use super::segment_large::{Large, PART_BYTES};
use super::sieve::{PrimesIn, primes_in};
#[cfg(target_arch = "x86_64")]
use crate::isa::{self, Isa};

/// What segments leave out: 2, 3, 5 and the primes of the patterns.
pub(super) const SMALLEST: [u64; 26] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101,
];

/// The first number that segments cover.
pub(super) const FIRST: u64 = 102;

/// Bytes of a segment: it stays in the L2 cache.
pub(super) const SEGMENT_BYTES: usize = 1 << 18;

/// Bytes of a block: it stays in an L1 cache of 32 KiB or more.
const BLOCK_BYTES: usize = 1 << 15;

/// Primes from here on have one entry each. Up to two segments eight positions are quicker, though
/// only four of them strike in each.
const LARGE_FROM: usize = 2 * SEGMENT_BYTES;

/// Bytes over which all patterns are laid at once.
const RUN_BYTES: usize = 512;

/// The residues modulo 30 that the bits stand for.
pub(super) const RESIDUES: [u64; 8] = [1, 7, 11, 13, 17, 19, 23, 29];

/// The primes of each pattern; its length is their product.
const PATTERNS: [&[usize]; 11] = [
    &[7, 11, 13],
    &[17, 19],
    &[23, 29],
    &[31, 37],
    &[41, 43],
    &[47, 53],
    &[59, 61],
    &[67, 71],
    &[73, 79],
    &[83, 89],
    &[97, 101],
];

/// The bit of each residue modulo 30.
pub(super) const BIT: [u8; 30] = {
    let mut bit = [0; 30];
    let mut k = 0;
    while k < 8 {
        bit[RESIDUES[k] as usize] = 1 << k;
        k += 1;
    }
    bit
};

/// The class of each residue modulo 30.
pub(super) const CLASSES: [u8; 30] = {
    let mut classes = [0; 30];
    let mut k = 0;
    while k < 8 {
        classes[RESIDUES[k] as usize] = k as u8;
        k += 1;
    }
    classes
};

/// A prime below [`LARGE_FROM`]: the byte of its next strike in each class of cofactors. All are below p
/// when a segment or a block begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Medium {
    at: [u32; 8],
    p: u32,
}

impl Medium {
    /// To strike from the number `base`, a multiple of 30, on. The prime itself is struck too where it
    /// is not below it.
    fn new(p: u64, base: u64) -> Medium {
        let least = base.div_ceil(p);
        // Cofactors go round: all differences are taken modulo 2^64 and are small.
        let at = RESIDUES.map(|r| {
            let m = least + (r + 30 - least % 30) % 30;
            (p.wrapping_mul(m).wrapping_sub(base) / 30) as u32
        });
        Medium { at, p: p as u32 }
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn p(&self) -> u32 {
        self.p
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn at(&self) -> &[u32; 8] {
        &self.at
    }

    /// # Safety
    /// What is written must be below p.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn at_mut(&mut self) -> &mut [u32; 8] {
        &mut self.at
    }
}

/// For each residue class of p and of the cofactor, the bits that a strike keeps.
pub(super) const KEEP: [[u8; 8]; 8] = {
    let mut keep = [[0; 8]; 8];
    let mut i = 0;
    while i < 64 {
        keep[i / 8][i % 8] = !BIT[(RESIDUES[i / 8] * RESIDUES[i % 8] % 30) as usize];
        i += 1;
    }
    keep
};

/// Where p² < p + 30·[`SEGMENT_BYTES`] ends.
const OWN_BELOW: u64 = (SEGMENT_BYTES as u64 * 30).isqrt() + 2;
const _: () = assert!(OWN_BELOW < BLOCK_BYTES as u64);

/// The segments of a range, one after the other.
#[derive(Debug)]
pub(super) struct Segments {
    low: u64,
    high: u64,
    /// The first number of the current segment, a multiple of 30, and how many bytes it has.
    base: u64,
    bytes: usize,
    started: bool,
    sieve: Vec<u8>,
    patterns: &'static [Vec<u8>],
    /// The base primes that are not yet at work.
    waiting: Box<PrimesIn>,
    /// Primes below a block's length, by residue; then those below [`LARGE_FROM`].
    small: [Vec<Medium>; 8],
    medium: [Vec<Medium>; 8],
    large: Large,
}

impl Segments {
    #[cfg(test)]
    pub(super) const LEN_NUMBERS: u64 = SEGMENT_BYTES as u64 * 30;

    /// Segments over `[low, high)`, low from [`FIRST`] on, sieved by the primes to `limit`.
    pub(super) fn new(low: u64, high: u64, limit: u64) -> Segments {
        Segments {
            low,
            high,
            base: low / 30 * 30,
            bytes: 0,
            started: false,
            sieve: vec![0; SEGMENT_BYTES],
            patterns: patterns(),
            waiting: Box::new(base(limit)),
            small: Default::default(),
            medium: Default::default(),
            large: Large::new(LARGE_FROM as u64, limit),
        }
    }

    /// Sieves the next segment; false after the last.
    pub(super) fn advance(&mut self) -> bool {
        if self.started {
            let Some(base) = self.base.checked_add(SEGMENT_BYTES as u64 * 30) else {
                return false;
            };
            self.base = base;
        }
        self.started = true;
        if self.base >= self.high {
            return false;
        }
        let left = (self.high - self.base).div_ceil(30);
        self.bytes = left.min(SEGMENT_BYTES as u64) as usize;
        self.set_to_work();
        let mut first = self.base / 30;
        let used = self.bytes.next_multiple_of(RUN_BYTES);
        for block in self.sieve[..used].chunks_mut(BLOCK_BYTES) {
            lay_patterns(block, first, self.patterns);
            strike_all(block, &mut self.small);
            first += BLOCK_BYTES as u64;
        }
        strike_all(&mut self.sieve[..used], &mut self.medium);
        let (parts, _) = self.sieve.as_chunks_mut();
        for part in &mut parts[..used.div_ceil(PART_BYTES)] {
            self.large.strike(part);
            self.large.advance();
        }
        self.restore();
        self.cut_ends();
        true
    }

    /// How many numbers the segment leaves.
    pub(super) fn count(&self) -> u64 {
        let (words, _) = self.sieve[..self.bytes.next_multiple_of(8)].as_chunks::<8>();
        words.iter().map(|&w| u64::from(u64::from_le_bytes(w).count_ones())).sum()
    }

    /// Appends the numbers that the segment leaves.
    pub(super) fn list(&self, to: &mut Vec<u64>) {
        let (words, _) = self.sieve[..self.bytes.next_multiple_of(8)].as_chunks::<8>();
        for (i, &word) in words.iter().enumerate() {
            let first = self.base + 240 * i as u64;
            let mut bits = u64::from_le_bytes(word);
            while bits != 0 {
                let bit = u64::from(bits.trailing_zeros());
                to.push(first + bit / 8 * 30 + RESIDUES[(bit % 8) as usize]);
                bits &= bits - 1;
            }
        }
    }

    /// Takes in the primes whose square lies before the end of this segment.
    fn set_to_work(&mut self) {
        let end = self.base.saturating_add(SEGMENT_BYTES as u64 * 30);
        loop {
            let waiting = self.waiting.some();
            let ready = &waiting[..waiting.partition_point(|&p| p * p < end)];
            if ready.is_empty() {
                return;
            }
            let (medium, large) = ready.split_at(ready.partition_point(|&p| p < LARGE_FROM as u64));
            for &p in medium {
                let small = p < BLOCK_BYTES as u64;
                let group = if small { &mut self.small } else { &mut self.medium };
                let class = CLASSES[(p % 30) as usize];
                group[usize::from(class)].push(Medium::new(p, self.base));
            }
            self.large.insert(self.base, large);
            let ready = ready.len();
            self.waiting.skip_some(ready);
        }
    }

    /// Puts back the primes that struck themselves: those that are not below the start of a segment before
    /// whose end their squares lie. They are below [`OWN_BELOW`], so only a first segment has any.
    fn restore(&mut self) {
        if self.base >= OWN_BELOW {
            return;
        }
        for p in self.small.iter().flatten().map(|prime| u64::from(prime.p)) {
            if let Some(n) = p.checked_sub(self.base) {
                self.sieve[(n / 30) as usize] |= BIT[(n % 30) as usize];
            }
        }
    }

    /// Takes out what lies before `low` and from `high` on.
    fn cut_ends(&mut self) {
        if self.base < self.low {
            for (k, r) in RESIDUES.into_iter().enumerate() {
                if r < self.low - self.base {
                    self.sieve[0] &= !(1 << k);
                }
            }
        }
        let end = self.base.saturating_add(self.bytes as u64 * 30);
        if end >= self.high {
            let last = self.base + (self.bytes as u64 - 1) * 30;
            for (k, r) in RESIDUES.into_iter().enumerate() {
                if last.checked_add(r).is_none_or(|n| n >= self.high) {
                    self.sieve[self.bytes - 1] &= !(1 << k);
                }
            }
            let used = self.bytes.next_multiple_of(8);
            self.sieve[self.bytes..used].fill(0);
        }
    }
}

/// Writes the patterns of the small primes over a block whose first byte is the `first` of all.
fn lay_patterns(block: &mut [u8], first: u64, patterns: &[Vec<u8>]) {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa::current(), Isa::Avx2 | Isa::Avx512) {
        // SAFETY: both instruction sets have AVX2, and the CPU has what is current.
        return unsafe { lay_patterns_avx2(block, first, patterns) };
    }
    lay_patterns_anywhere(block, first, patterns);
}

/// Twice as many bytes at a time as the baseline of x86-64 has.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lay_patterns_avx2(block: &mut [u8], first: u64, patterns: &[Vec<u8>]) {
    lay_patterns_anywhere(block, first, patterns);
}

#[inline(always)]
fn lay_patterns_anywhere(block: &mut [u8], first: u64, patterns: &[Vec<u8>]) {
    let mut at = [0; PATTERNS.len()];
    for (at, pattern) in at.iter_mut().zip(patterns) {
        *at = (first % (pattern.len() - RUN_BYTES) as u64) as usize;
    }
    for run in block.as_chunks_mut::<RUN_BYTES>().0 {
        let mut all = [0xff; RUN_BYTES];
        for (at, pattern) in at.iter_mut().zip(patterns) {
            for (byte, mask) in all.iter_mut().zip(&pattern[*at..*at + RUN_BYTES]) {
                *byte &= mask;
            }
            *at += RUN_BYTES;
            let len = pattern.len() - RUN_BYTES;
            while *at >= len {
                *at -= len;
            }
        }
        *run = all;
    }
}

/// Strikes by primes of all residues.
fn strike_all(sieve: &mut [u8], primes: &mut [Vec<Medium>; 8]) {
    #[cfg(target_arch = "x86_64")]
    if matches!(isa::current(), Isa::Avx2 | Isa::Avx512) {
        // SAFETY: both instruction sets have AVX2, and the CPU has what is current.
        return unsafe { segment_avx2::strike_all(sieve, primes) };
    }
    strike::<0>(sieve, &mut primes[0]);
    strike::<1>(sieve, &mut primes[1]);
    strike::<2>(sieve, &mut primes[2]);
    strike::<3>(sieve, &mut primes[3]);
    strike::<4>(sieve, &mut primes[4]);
    strike::<5>(sieve, &mut primes[5]);
    strike::<6>(sieve, &mut primes[6]);
    strike::<7>(sieve, &mut primes[7]);
}

/// Strikes by the primes of residue `RESIDUES[CLASS]`. A function of its own, so that the loop has all
/// registers for its eight positions.
#[inline(never)]
fn strike<const CLASS: usize>(sieve: &mut [u8], primes: &mut [Medium]) {
    let len = sieve.len();
    if len == 0 {
        return;
    }
    for prime in primes {
        let p = prime.p as usize;
        let mut at = prime.at.map(|at| at as usize);
        let farthest = at.iter().fold(0, |far, &at| far.max(at));
        let mut moved = 0;
        while farthest + moved < len {
            for k in 0..8 {
                // SAFETY: at[k] is at most `farthest`, and that plus `moved` is below the length.
                let byte = unsafe { sieve.get_unchecked_mut(at[k] + moved) };
                *byte &= KEEP[CLASS][k];
            }
            moved += p;
        }
        at.iter_mut().for_each(|at| *at += moved);
        // All but the farthest may have one more strike. It is a toss, so without branches: where
        // there is none, byte 0 keeps all its bits.
        for k in 0..8 {
            let inside = ((at[k] as i64 - len as i64) >> 63) as u64;
            let keep = KEEP[CLASS][k] | !(inside as u8);
            // SAFETY: it is at[k] where that is below the length, and 0, which is below it too, where
            // at[k] is not.
            let byte = unsafe { sieve.get_unchecked_mut(at[k] & inside as usize) };
            *byte &= keep;
            prime.at[k] = (at[k] + (p & inside as usize) - len) as u32;
        }
    }
}

/// The base primes above the patterns.
fn base(limit: u64) -> PrimesIn {
    if limit >= 1 << 10 {
        return primes_in(FIRST, limit + 1);
    }
    // Few, and sieving for them would need base primes too.
    let is_prime = |n: &u64| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    PrimesIn::known((FIRST..=limit).filter(is_prime).collect())
}

/// The patterns, made at the first call.
fn patterns() -> &'static [Vec<u8>] {
    static MADE: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MADE.get_or_init(|| PATTERNS.iter().map(|primes| pattern(primes)).collect())
}

/// The pattern that the primes leave, and a run more, so that a run can be read from any start.
fn pattern(primes: &[usize]) -> Vec<u8> {
    let len: usize = primes.iter().product();
    let mut bytes = vec![0xff; len + RUN_BYTES];
    for (i, byte) in bytes.iter_mut().enumerate() {
        for (k, r) in RESIDUES.into_iter().enumerate() {
            let n = i * 30 + r as usize;
            if primes.iter().any(|p| n.is_multiple_of(*p)) {
                *byte &= !(1 << k);
            }
        }
    }
    bytes
}
