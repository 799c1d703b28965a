//! The strikes of the sieve's large primes with AVX-512: where each goes next is worked out for a group
//! of entries at once, before the first of them strikes.
//!
//! One by one, the addresses of an entry's three stores would wait for a table and a product, and
//! the entries after it with them.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::ifma::set;
use super::packed_avx512::{load, load_bytes, store, store_index, store_words};
use super::segment::{self, CLASSES, RESIDUES};
use super::segment_large::{
    BLOCK_LEN, BYTE, Blocks, CLASS, Entry, GAP, PART, PART_BYTES, SPOKE, SPOKES, WHEEL,
};

/// Entries of a group.
const GROUP: usize = 128;
const _: () = assert!(BLOCK_LEN.is_multiple_of(GROUP));

/// Bytes for each spoke, or for each class of p and of the cofactor.
type Table = [u8; 64];

/// A byte for each spoke.
const fn of_spokes(values: &[u64; SPOKES]) -> Table {
    let mut table = [0; 64];
    let mut spoke = 0;
    while spoke < SPOKES {
        table[spoke] = values[spoke] as u8;
        spoke += 1;
    }
    table
}

/// From each spoke the step to the next.
static GAPS: Table = of_spokes(&GAP);

/// The spoke after each.
static NEXT: Table = {
    let mut table = [0; 64];
    let mut spoke = 0;
    while spoke + 1 < SPOKES {
        table[spoke] = spoke as u8 + 1;
        spoke += 1;
    }
    table
};

/// The class of each spoke's cofactors modulo 30.
static COFACTOR: Table = {
    let mut table = [0; 64];
    let mut spoke = 0;
    while spoke < SPOKES {
        table[spoke] = CLASSES[(WHEEL[spoke] % 30) as usize];
        spoke += 1;
    }
    table
};

/// For the class of p times 8 and of the cofactor: the residue of their product modulo 30.
static PRODUCT: Table = {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        table[i] = (RESIDUES[i / 8] * RESIDUES[i % 8] % 30) as u8;
        i += 1;
    }
    table
};

/// The same: the bits that a strike keeps.
static KEEP: Table = {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        table[i] = segment::KEEP[i / 8][i % 8];
        i += 1;
    }
    table
};

/// The same: the residue of p.
static RESIDUE: Table = {
    let mut table = [0; 64];
    let mut i = 0;
    while i < 64 {
        table[i] = RESIDUES[i / 8] as u8;
        i += 1;
    }
    table
};

/// For each number below 210, 64 to a table: the spoke it is at, or the next one.
static SPOKES_AT: [Table; 4] = {
    let mut tables = [[0; 64]; 4];
    let mut m = 0;
    while m < 210 {
        tables[m / 64][m % 64] = SPOKE[m];
        m += 1;
    }
    tables
};

/// The cofactor of each spoke.
static WHEELS: Table = of_spokes(&WHEEL);

/// The class of each residue modulo 30.
static CLASSES_AT: Table = {
    let mut table = [0; 64];
    let mut r = 0;
    while r < 30 {
        table[r] = CLASSES[r];
        r += 1;
    }
    table
};

/// What the entries of a group do.
#[repr(align(64))]
struct Plan {
    /// The byte from bit [`BYTE`] on, and in the lowest eight the bits to keep.
    hits: [u32; GROUP],
    /// The bucket that the entry goes to, in the lowest 16 bits.
    buckets: [u32; GROUP],
    next: [Entry; GROUP],
}

/// Strikes by the entries of `range`, and puts each in the bucket where it goes on.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi")]
pub(super) fn strike_block(
    blocks: &mut Blocks<'_>,
    current: u16,
    range: Range<usize>,
    part: &mut [u8; PART_BYTES],
) {
    let mut blocks = blocks.apart();
    let mut plan = Plan { hits: [0; GROUP], buckets: [0; GROUP], next: [0; GROUP] };
    for first in range.clone().step_by(GROUP) {
        // What lies past the end is planned too, and not done.
        let (entries, _) = blocks.entries[first..first + GROUP].as_chunks();
        make(entries, current, &mut plan);
        for i in 0..GROUP.min(range.end - first) {
            let hit = plan.hits[i];
            part[(hit >> BYTE) as usize] &= hit as u8;
            blocks.push(plan.buckets[i] as u16, plan.next[i]);
        }
    }
}

/// Takes in primes whose squares are not above `base`, to strike from there on.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx512ifma")]
pub(super) fn insert(blocks: &mut Blocks<'_>, current: u16, base: u64, primes: &[[u64; 8]]) {
    let mut blocks = blocks.apart();
    let mut plan = Plan { hits: [0; GROUP], buckets: [0; GROUP], next: [0; GROUP] };
    for primes in primes.chunks(GROUP / 8) {
        let (buckets_to, _) = plan.buckets.as_chunks_mut::<8>();
        let (next_to, _) = plan.next.as_chunks_mut::<8>();
        for ((p, buckets_to), next_to) in primes.iter().zip(buckets_to).zip(next_to) {
            let (entry, ahead) = begin(base, load(p));
            let bucket = _mm512_add_epi64(ahead, set(current.into()));
            store_index(buckets_to, _mm512_cvtepi64_epi32(bucket));
            store(next_to, entry);
        }
        for i in 0..8 * primes.len() {
            blocks.push(plan.buckets[i] as u16, plan.next[i]);
        }
    }
}

/// The entries of primes that strike from `base` on, and how many parts ahead.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx512ifma")]
pub(super) fn begin(base: u64, p: __m512i) -> (__m512i, __m512i) {
    let zero = _mm512_setzero_si512();
    let one = set(1);
    let look_up = |table, at| _mm512_maskz_permutexvar_epi8(0x0101_0101_0101_0101, at, table);
    // The quotient by 30, exact below 2^48.
    let by_30 = |x| _mm512_madd52hi_epu64(zero, x, set((1 << 52) / 30 + 1));
    // As in `first_multiple`: the quotient is below 2^45, and off by one at most.
    let quotient = _mm512_div_pd(_mm512_set1_pd(base as f64), _mm512_cvtepu64_pd(p));
    let quotient = _mm512_cvttpd_epu64(quotient);
    let over = _mm512_sub_epi64(set(base), _mm512_mullo_epi64(quotient, p));
    let some = _mm512_cmpgt_epi64_mask(over, zero);
    let more = _mm512_cmpgt_epi64_mask(over, p);
    let least = _mm512_mask_add_epi64(quotient, some, quotient, one);
    let least = _mm512_mask_add_epi64(least, more, least, one);
    let left = _mm512_mask_sub_epi64(_mm512_sub_epi64(zero, over), some, p, over);
    let left = _mm512_mask_add_epi64(left, more, left, p);
    // Modulo 210. The multiplier has seven bits more, since 2^45 times its error would be too much.
    let turns = _mm512_madd52hi_epu64(zero, least, set((1 << 59) / 210 + 1));
    let turns = _mm512_srli_epi64::<7>(turns);
    let m = _mm512_sub_epi64(least, _mm512_madd52lo_epu64(zero, turns, set(210)));
    let [low, high, upper, top] = SPOKES_AT.each_ref().map(|table| load_bytes(table));
    let below = _mm512_permutex2var_epi8(low, m, high);
    let beyond = _mm512_permutex2var_epi8(upper, m, top);
    let spoke = _mm512_mask_mov_epi64(below, _mm512_cmpge_epu64_mask(m, set(128)), beyond);
    let spoke = _mm512_and_si512(spoke, set(63));
    let step = _mm512_sub_epi64(look_up(load_bytes(&WHEELS), spoke), m);
    let byte = by_30(_mm512_add_epi64(left, _mm512_mul_epu32(p, step)));
    let q = by_30(p);
    let r = _mm512_sub_epi64(p, _mm512_mul_epu32(q, set(30)));
    let class = look_up(load_bytes(&CLASSES_AT), r);
    let state = _mm512_or_si512(_mm512_slli_epi64::<CLASS>(class), spoke);
    let at = _mm512_and_si512(byte, set(PART_BYTES as u64 - 1));
    let at = _mm512_or_si512(_mm512_slli_epi64::<BYTE>(at), state);
    let entry = _mm512_or_si512(_mm512_slli_epi64::<PART>(q), at);
    (entry, _mm512_srli_epi64::<{ PART_BYTES.trailing_zeros() }>(byte))
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi")]
fn make(entries: &[[Entry; 8]], current: u16, plan: &mut Plan) {
    let set = |x: u32| _mm512_set1_epi32(x as i32);
    let low = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    let high = _mm512_or_si512(low, set(1));
    let first = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    let second = _mm512_or_si512(first, set(8));
    let [gaps, nexts, cofactors] = [load_bytes(&GAPS), load_bytes(&NEXT), load_bytes(&COFACTOR)];
    let [products, keeps, residues] =
        [load_bytes(&PRODUCT), load_bytes(&KEEP), load_bytes(&RESIDUE)];
    let look_up = |table, at| _mm512_maskz_permutexvar_epi8(0x1111_1111_1111_1111, at, table);
    let (entries, _) = entries.as_chunks::<2>();
    let (hits_to, _) = plan.hits.as_chunks_mut::<16>();
    let (buckets_to, _) = plan.buckets.as_chunks_mut::<16>();
    let (next_to, _) = plan.next.as_chunks_mut::<8>();
    let (next_to, _) = next_to.as_chunks_mut::<2>();
    for (((entries, hits_to), buckets_to), next_to) in
        entries.iter().zip(hits_to).zip(buckets_to).zip(next_to)
    {
        let entries = [load(&entries[0]), load(&entries[1])];
        let at = _mm512_permutex2var_epi32(entries[0], low, entries[1]);
        let q = _mm512_permutex2var_epi32(entries[0], high, entries[1]);
        let spoke = _mm512_and_si512(at, set((1 << CLASS) - 1));
        let gap = look_up(gaps, spoke);
        let class = _mm512_and_si512(_mm512_srli_epi32::<{ CLASS - 3 }>(at), set(7 << 3));
        let both = _mm512_or_si512(class, look_up(cofactors, spoke));
        let byte = _mm512_srli_epi32::<BYTE>(at);
        // The product grows by gap·p = gap·(30·q + residue). What is not a multiple of 30 in all is 319 at
        // most, and below 4709 a multiplication by 2^16 / 30 divides by it exactly.
        let rest = _mm512_mullo_epi16(look_up(residues, both), gap);
        let rest = _mm512_add_epi32(rest, look_up(products, both));
        let rest = _mm512_mulhi_epu16(rest, set((1 << 16) / 30 + 1));
        let next = _mm512_add_epi32(byte, _mm512_add_epi32(rest, _mm512_mullo_epi32(q, gap)));
        let ahead = _mm512_srli_epi32::<{ PART - BYTE }>(next);
        let bucket = _mm512_add_epi32(set(current.into()), ahead);
        let state = _mm512_and_si512(at, set(7 << CLASS));
        let state = _mm512_or_si512(state, look_up(nexts, spoke));
        let next = _mm512_or_si512(_mm512_slli_epi32::<BYTE>(next), state);
        // a & b | c
        let hit =
            _mm512_ternarylogic_epi32::<0xea>(at, set(u32::MAX << BYTE), look_up(keeps, both));
        store_words(hits_to, hit);
        store_words(buckets_to, bucket);
        store(&mut next_to[0], _mm512_permutex2var_epi32(next, first, q));
        store(&mut next_to[1], _mm512_permutex2var_epi32(next, second, q));
    }
}
