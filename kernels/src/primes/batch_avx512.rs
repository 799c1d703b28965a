//! `is_prime` over a slice with AVX-512 IFMA.
//!
//! ```text
//! numbers -> not divisible by 2..11 -> not by 13..61 -> base 2, by size -> Lucas
//!                          large ones also: not by 67..251 /
//! ```
//! Every arrow packs the survivors, each with its index, so that the next stage works on full
//! vectors. The last two stages wait in queues until several vectors are there.

use std::arch::x86_64::*;

use super::ifma::{ONE_LIMB_LIMIT, set};
use super::ifma_barrett;
use super::ifma_base_2::{Passed, base_2_one, base_2_word};
use super::ifma_lucas::{lucas_one, lucas_word};
use super::is_prime::{
    DECIDED_BELOW, Divisor, LARGE_DIVISORS, SMALL_DIVISORS, is_rough_prime, is_small_prime,
};
use super::packed_avx512::{Packed, QUEUE_LEN, Survivors, load, store, store_index};
use crate::prefetch;

/// Numbers that go through the filters together; the buffers stay in the L1 cache.
const BLOCK_LEN: usize = 1024;

/// Numbers between two emptyings of all queues: indices in the queues are 32 bits wide.
const CHUNK_LEN: usize = 1 << 24;

/// Vectors in flight in each test, as measured on Zen 5.
const BASE_2_ONE_VECTORS: usize = 8;
const BASE_2_WORD_VECTORS: usize = 6;
const LUCAS_ONE_VECTORS: usize = 6;
const LUCAS_WORD_VECTORS: usize = 4;

/// How many of [`SMALL_DIVISORS`] the first filter takes.
const FIRST_DIVISORS: usize = 4;

/// See [`super::is_prime_slice`].
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn is_prime_slice(n: &[u64], out: &mut [u8]) {
    for (n, out) in n.chunks(CHUNK_LEN).zip(out.chunks_mut(CHUNK_LEN)) {
        out.fill(0);
        let mut pipeline = Pipeline::new(out);
        for (i, block) in n.chunks(BLOCK_LEN).enumerate() {
            pipeline.filter(block, (i * BLOCK_LEN) as u32);
        }
        pipeline.finish();
    }
}

/// The buffers between the stages, and the output.
#[derive(Debug)]
struct Pipeline<'a> {
    rough: Packed<{ BLOCK_LEN + 8 }>,
    large: Packed<{ BLOCK_LEN + 8 }>,
    one_limb: Packed<QUEUE_LEN>,
    word: Packed<QUEUE_LEN>,
    lucas_one: Survivors,
    lucas_word: Packed<QUEUE_LEN>,
    out: &'a mut [u8],
}

impl<'a> Pipeline<'a> {
    fn new(out: &'a mut [u8]) -> Pipeline<'a> {
        Pipeline {
            rough: Packed::new(),
            large: Packed::new(),
            one_limb: Packed::new(),
            word: Packed::new(),
            lucas_one: Survivors::new(),
            lucas_word: Packed::new(),
            out,
        }
    }

    /// Takes a block through trial division into the queues.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn filter(&mut self, block: &[u64], first_index: u32) {
        self.large.len = 0;
        self.keep_rough(block, first_index);
        // Zero is divisible by everything, so that the padding falls out.
        self.rough.pad(0);
        for at in (0..self.rough.len).step_by(8) {
            let (n, index) = self.rough.get(at);
            let mask = !divisible(n, &SMALL_DIVISORS[FIRST_DIVISORS..]);
            self.enqueue_one_limb(mask, n, index);
        }
        self.large.pad(0);
        for at in (0..self.large.len).step_by(8) {
            let (n, index) = self.large.get(at);
            let mask = !divisible(n, LARGE_DIVISORS);
            if mask != 0 {
                self.enqueue_word(mask, n, index);
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn keep_rough(&mut self, block: &[u64], first_index: u32) {
        self.rough.len = 0;
        let mut index = _mm256_add_epi32(
            _mm256_set1_epi32(first_index as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        );
        let (whole, tail) = block.as_chunks::<8>();
        for n in whole {
            // The block after this one comes while this one is tested.
            prefetch::read(n.as_ptr().wrapping_add(BLOCK_LEN).cast());
            self.keep_rough_lanes(load(n), index);
            index = _mm256_add_epi32(index, _mm256_set1_epi32(8));
        }
        if !tail.is_empty() {
            // Zero is not prime, and its lane is never written.
            let mut padded = [0; 8];
            padded[..tail.len()].copy_from_slice(tail);
            self.keep_rough_lanes(load(&padded), index);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn keep_rough_lanes(&mut self, n: __m512i, index: __m256i) {
        let odd = _mm512_test_epi64_mask(n, set(1));
        let small = _mm512_cmplt_epu64_mask(n, set(DECIDED_BELOW));
        if small != 0 {
            self.decide_alone(small, n, index, is_small_prime);
        }
        let rough = odd & !divisible(n, &SMALL_DIVISORS[..FIRST_DIVISORS]);
        self.rough.push(rough & !small, n, index);
    }

    /// Takes the numbers of some lanes one by one.
    #[cold]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn decide_alone(&mut self, mask: u8, n: __m512i, index: __m256i, is_prime: fn(u64) -> bool) {
        let (mut numbers, mut indices) = ([0; 8], [0; 8]);
        store(&mut numbers, n);
        store_index(&mut indices, index);
        for lane in (0..8).filter(|lane| (mask >> lane) & 1 == 1) {
            if is_prime(numbers[lane]) {
                self.out[indices[lane] as usize] = 1;
            }
        }
    }

    /// Puts the numbers of one limb in their queue and the others aside.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn enqueue_one_limb(&mut self, mask: u8, n: __m512i, index: __m256i) {
        let small = _mm512_mask_cmplt_epu64_mask(mask, n, set(ONE_LIMB_LIMIT));
        if small != 0 {
            self.one_limb.push(small, n, index);
            if self.one_limb.len >= 8 * BASE_2_ONE_VECTORS {
                self.run_base_2_one::<BASE_2_ONE_VECTORS>();
            }
        }
        if mask != small {
            self.large.push(mask & !small, n, index);
        }
    }

    /// Puts the numbers of a word in their queue, but for the few that are too close below a power
    /// of two.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn enqueue_word(&mut self, mask: u8, n: __m512i, index: __m256i) {
        let fits = ifma_barrett::fits(n);
        if mask & !fits != 0 {
            self.decide_alone(mask & !fits, n, index, is_rough_prime);
        }
        self.word.push(mask & fits, n, index);
        if self.word.len >= 8 * BASE_2_WORD_VECTORS {
            self.run_base_2_word::<BASE_2_WORD_VECTORS>();
        }
    }

    /// Empties the queues.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn finish(&mut self) {
        while self.one_limb.len > 0 {
            self.one_limb.pad(self.one_limb.n[0]);
            match self.one_limb.len.div_ceil(8) {
                1 => self.run_base_2_one::<1>(),
                2..4 => self.run_base_2_one::<2>(),
                _ => self.run_base_2_one::<4>(),
            }
        }
        while self.word.len > 0 {
            self.word.pad(self.word.n[0]);
            match self.word.len.div_ceil(8) {
                1 => self.run_base_2_word::<1>(),
                2..4 => self.run_base_2_word::<2>(),
                _ => self.run_base_2_word::<4>(),
            }
        }
        while self.lucas_one.packed.len > 0 {
            self.lucas_one.pad();
            match self.lucas_one.packed.len.div_ceil(8) {
                1 => self.run_lucas_one::<1>(),
                _ => self.run_lucas_one::<2>(),
            }
        }
        while self.lucas_word.len > 0 {
            self.lucas_word.pad(self.lucas_word.n[0]);
            match self.lucas_word.len.div_ceil(8) {
                1 => self.run_lucas_word::<1>(),
                _ => self.run_lucas_word::<2>(),
            }
        }
    }

    /// Takes up to V vectors off the front of the queue through base 2.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn run_base_2_one<const V: usize>(&mut self) {
        let zero = (_mm512_setzero_si512(), _mm256_setzero_si256());
        let (mut n, mut entry) = ([zero.0; V], [zero; V]);
        for i in 0..V {
            entry[i] = self.one_limb.get(8 * i);
            n[i] = entry[i].0;
        }
        let passed = base_2_one(&n);
        let count = self.one_limb.len.min(8 * V);
        for i in 0..V {
            let mask = passed[i].mask & first_lanes(count, i);
            let survivors = Passed { mask, one: passed[i].one };
            if survivors.mask != 0 {
                self.lucas_one.push(survivors, entry[i].0, entry[i].1);
                if self.lucas_one.packed.len >= 8 * LUCAS_ONE_VECTORS {
                    self.run_lucas_one::<LUCAS_ONE_VECTORS>();
                }
            }
        }
        self.one_limb.drop_front(count);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn run_base_2_word<const V: usize>(&mut self) {
        let zero = (_mm512_setzero_si512(), _mm256_setzero_si256());
        let (mut n, mut entry) = ([zero.0; V], [zero; V]);
        for i in 0..V {
            entry[i] = self.word.get(8 * i);
            n[i] = entry[i].0;
        }
        let passed = base_2_word(&n);
        let count = self.word.len.min(8 * V);
        for i in 0..V {
            let survivors = passed[i] & first_lanes(count, i);
            if survivors != 0 {
                self.lucas_word.push(survivors, entry[i].0, entry[i].1);
                if self.lucas_word.len >= 8 * LUCAS_WORD_VECTORS {
                    self.run_lucas_word::<LUCAS_WORD_VECTORS>();
                }
            }
        }
        self.word.drop_front(count);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn run_lucas_one<const V: usize>(&mut self) {
        let zero = _mm512_setzero_si512();
        let (mut n, mut one) = ([zero; V], [zero; V]);
        for i in 0..V {
            n[i] = self.lucas_one.packed.get(8 * i).0;
            one[i] = self.lucas_one.one(8 * i);
        }
        let passed = lucas_one(&n, &one);
        let count = self.lucas_one.packed.len.min(8 * V);
        mark(self.out, &self.lucas_one.packed.index[..count], &passed);
        self.lucas_one.drop_front(count);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn run_lucas_word<const V: usize>(&mut self) {
        let mut n = [_mm512_setzero_si512(); V];
        for (i, n) in n.iter_mut().enumerate() {
            *n = self.lucas_word.get(8 * i).0;
        }
        let passed = lucas_word(&n);
        let count = self.lucas_word.len.min(8 * V);
        mark(self.out, &self.lucas_word.index[..count], &passed);
        self.lucas_word.drop_front(count);
    }
}

/// The lanes of vector `i` that are among the first `count`.
#[inline]
fn first_lanes(count: usize, i: usize) -> u8 {
    let valid = count.saturating_sub(8 * i).min(8);
    ((1u16 << valid) - 1) as u8
}

/// Writes the primes found.
#[inline]
fn mark(out: &mut [u8], index: &[u32], passed: &[u8]) {
    for (k, &i) in index.iter().enumerate() {
        out[i as usize] = (passed[k / 8] >> (k % 8)) & 1;
    }
}

/// The lanes divisible by one of the divisors.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
fn divisible(n: __m512i, divisors: &[Divisor]) -> u8 {
    let mut mask = 0;
    for d in divisors {
        let quotient = _mm512_mullo_epi64(n, set(d.inverse));
        mask |= _mm512_cmple_epu64_mask(quotient, set(d.limit));
    }
    mask
}
