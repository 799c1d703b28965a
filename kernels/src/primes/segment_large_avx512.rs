//! The strikes of the sieve's large primes with AVX-512: where each goes next is worked out for a group
//! of entries at once, before the first of them strikes.
//!
//! One by one, the addresses of an entry's three stores would wait for a table and a product, and
//! the entries after it with them.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;
use std::ops::Range;

use super::packed_avx512::{load, load_bytes, store, store_words};
use super::segment::{BIT, RESIDUES};
use super::segment_large::{
    BLOCK_LEN, BYTE, Blocks, CLASS, Entry, GAP, PART, PART_BYTES, SPOKES, WHEEL,
};

/// Entries of a group.
const GROUP: usize = 128;
const _: () = assert!(BLOCK_LEN.is_multiple_of(GROUP));

/// Bytes for each spoke, or for each class of p and of the cofactor.
type Table = [u8; 64];

/// From each spoke the step to the next.
static GAPS: Table = {
    let mut table = [0; 64];
    let mut spoke = 0;
    while spoke < SPOKES {
        table[spoke] = GAP[spoke] as u8;
        spoke += 1;
    }
    table
};

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
        table[spoke] = BIT[(WHEEL[spoke] % 30) as usize].trailing_zeros() as u8;
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
        table[i] = !BIT[PRODUCT[i] as usize];
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
        // The product grows by gap·p = gap·(30·q + residue), below 2^16 without the multiple of 30; to
        // divide that by 30, a multiplication by 2^16 / 30 does.
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
