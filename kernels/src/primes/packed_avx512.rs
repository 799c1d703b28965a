//! Buffers of numbers with their indices, which vectors are packed into: what is between the stages
//! of `batch_avx512.rs` and of `small_avx512.rs`.

use std::arch::x86_64::*;

use super::ifma_base_2::Passed;

/// Room in a queue: the most vectors in flight, one more vector pushed, and one of slack for
/// storing whole vectors.
pub(super) const QUEUE_LEN: usize = 8 * 10;

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(from: &[u64; 8]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read; no alignment is asked for.
    unsafe { _mm512_loadu_epi64(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(to: &mut [u64; 8], value: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_epi64(to.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_bytes(from: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes that are read; no alignment is asked for.
    unsafe { _mm512_loadu_epi8(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_words(to: &mut [u32; 16], value: __m512i) {
    // SAFETY: the reference covers the 64 bytes that are written; no alignment is asked for.
    unsafe { _mm512_storeu_epi32(to.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn load_index(from: &[u32; 8]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes that are read; no alignment is asked for.
    unsafe { _mm256_loadu_epi32(from.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
pub(super) fn store_index(to: &mut [u32; 8], value: __m256i) {
    // SAFETY: the reference covers the 32 bytes that are written; no alignment is asked for.
    unsafe { _mm256_storeu_epi32(to.as_mut_ptr().cast(), value) }
}

/// Numbers with their indices, packed.
#[derive(Debug)]
pub(super) struct Packed<const LEN: usize> {
    pub(super) n: [u64; LEN],
    pub(super) index: [u32; LEN],
    pub(super) len: usize,
}

impl<const LEN: usize> Packed<LEN> {
    pub(super) fn new() -> Packed<LEN> {
        Packed { n: [0; LEN], index: [0; LEN], len: 0 }
    }

    /// Appends the lanes of `mask`; up to seven places past the new end are overwritten.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn push(&mut self, mask: u8, n: __m512i, index: __m256i) {
        let at = self.len;
        store(place(&mut self.n, at), _mm512_maskz_compress_epi64(mask, n));
        store_index(place(&mut self.index, at), _mm256_maskz_compress_epi32(mask, index));
        self.len = at + mask.count_ones() as usize;
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn get(&mut self, at: usize) -> (__m512i, __m256i) {
        (load(place(&mut self.n, at)), load_index(place(&mut self.index, at)))
    }

    /// Fills up the last vector with copies of a number, so that no lane holds anything odd.
    pub(super) fn pad(&mut self, n: u64) {
        place(&mut self.n, self.len).fill(n);
    }

    /// Drops the first `count`.
    pub(super) fn drop_front(&mut self, count: usize) {
        self.n.copy_within(count..self.len, 0);
        self.index.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

/// A list of numbers with their owners that vectors are packed into, for lists of any length.
#[derive(Debug, Default)]
pub(super) struct Parts {
    n: Vec<u64>,
    owner: Vec<u32>,
    len: usize,
}

impl Parts {
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes room for `more` entries, and for storing whole vectors.
    pub(super) fn reserve(&mut self, more: usize) {
        let enough = self.len + more + 8;
        if self.n.len() < enough {
            self.n.resize(enough, 0);
            self.owner.resize(enough, 0);
        }
    }

    /// Appends one; there is room.
    #[inline]
    pub(super) fn push(&mut self, n: u64, owner: u32) {
        self.n[self.len] = n;
        self.owner[self.len] = owner;
        self.len += 1;
    }

    /// Appends the lanes of `mask`; there is room.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn push_lanes(&mut self, mask: u8, n: __m512i, owner: __m256i) {
        self.len = self.write_lanes(self.len, mask, n, owner);
    }

    /// Writes the lanes of `mask` from `at` on, and says where they end; up to eight entries are
    /// overwritten. What is read may so be packed in place, and cut off at the end.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn write_lanes(&mut self, at: usize, mask: u8, n: __m512i, owner: __m256i) -> usize {
        store(place(&mut self.n, at), _mm512_maskz_compress_epi64(mask, n));
        store_index(place(&mut self.owner, at), _mm256_maskz_compress_epi32(mask, owner));
        at + mask.count_ones() as usize
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.len = len;
    }

    /// The eight entries from `at` on, and the mask of those that are within the list. The others
    /// are copies of the first number once [`pad`](Parts::pad) was called.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn get(&self, at: usize) -> (__m512i, __m256i, u8) {
        let count = self.len.saturating_sub(at).min(8);
        let mask = ((1u16 << count) - 1) as u8;
        (load(whole(&self.n, at)), load_index(whole(&self.owner, at)), mask)
    }

    /// Has `vectors` whole vectors past the end hold copies of the first number.
    pub(super) fn pad(&mut self, vectors: usize) {
        self.reserve(8 * vectors);
        let first = self.n[0];
        self.n[self.len..][..8 * vectors].fill(first);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.n[..self.len].iter().copied().zip(self.owner[..self.len].iter().copied())
    }
}

/// The eight elements from `at` on.
#[inline(always)]
fn whole<T>(all: &[T], at: usize) -> &[T; 8] {
    all[at..].first_chunk().expect("buffers end a whole vector after the last element")
}

/// As [`whole`], to be written.
#[inline(always)]
fn place<T>(all: &mut [T], at: usize) -> &mut [T; 8] {
    all[at..].first_chunk_mut().expect("buffers end a whole vector after the last element")
}

/// Survivors of base 2 with the Montgomery form of 1.
#[derive(Debug)]
pub(super) struct Survivors {
    pub(super) packed: Packed<QUEUE_LEN>,
    one: [u64; QUEUE_LEN],
}

impl Survivors {
    pub(super) fn new() -> Survivors {
        Survivors { packed: Packed::new(), one: [0; QUEUE_LEN] }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn push(&mut self, passed: Passed, n: __m512i, index: __m256i) {
        let one = _mm512_maskz_compress_epi64(passed.mask, passed.one);
        store(place(&mut self.one, self.packed.len), one);
        self.packed.push(passed.mask, n, index);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512vl")]
    pub(super) fn one(&mut self, at: usize) -> __m512i {
        load(place(&mut self.one, at))
    }

    /// Repeats the first entry up to a whole vector.
    pub(super) fn pad(&mut self) {
        let one = self.one[0];
        place(&mut self.one, self.packed.len).fill(one);
        self.packed.pad(self.packed.n[0]);
    }

    pub(super) fn drop_front(&mut self, count: usize) {
        self.one.copy_within(count..self.packed.len, 0);
        self.packed.drop_front(count);
    }
}
