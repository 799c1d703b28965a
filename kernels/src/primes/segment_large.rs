//! The large primes of the sieve: each has one entry, in the bucket of the part of a segment that it
//! strikes next.
//!
//! Cofactors go round a wheel of 210, so that multiples of 7, which the patterns have struck, cost
//! nothing. A bucket is a chain of blocks; a block that is done goes on the pile from which the next is
//! taken, so that what is written to is still in the cache.
//!
//! Source: T. Oliveira e Silva, "Fast implementation of the segmented sieve of Eratosthenes" (2001).

use std::ops::Range;

use super::segment::{BIT, CLASSES, RESIDUES};
#[cfg(target_arch = "x86_64")]
use super::segment_large_avx512;
use super::sieve::MOST_BASE;
#[cfg(target_arch = "x86_64")]
use crate::isa::{self, Isa};

/// Bytes that a bucket is for. With half of them there are more buckets than an Intel core can write to
/// at once without waiting.
pub(super) const PART_BYTES: usize = 1 << 17;

/// Entries of a block: 8 KiB.
pub(super) const BLOCK_LEN: usize = 1024;

/// Buckets, used in turn, as many as 16 bits number: then those come round by themselves.
pub(super) const BUCKETS: usize = 1 << 16;

/// So many parts ahead a prime strikes, at most.
const fn ahead(p: usize) -> usize {
    (p / 30 + 2) * 10 / PART_BYTES + 2
}

const _: () = assert!(ahead(MOST_BASE as usize) < BUCKETS);

/// Cofactors of a round of the wheel.
pub(super) const SPOKES: usize = 48;

/// Of an entry, from bit 32 on: p / 30. From [`BYTE`] on: the byte in the part. Below, the state: the
/// residue class of p from [`CLASS`] on, and the spoke of the cofactor.
pub(super) type Entry = u64;

/// Where p / 30 begins, and in the sum that is the next entry, before p / 30 is put back, how many parts
/// ahead it is.
pub(super) const PART: u32 = 32;
pub(super) const BYTE: u32 = PART - PART_BYTES.trailing_zeros();
pub(super) const CLASS: u32 = 6;

/// As many as an index of nine bits needs; not all occur.
const STATES: usize = 8 << CLASS;

/// The numbers below 210 without a prime to 7.
pub(super) const WHEEL: [u64; SPOKES] = {
    let mut wheel = [0; SPOKES];
    let (mut m, mut k) = (1, 0);
    while m < 210 {
        if m % 2 != 0 && m % 3 != 0 && m % 5 != 0 && m % 7 != 0 {
            wheel[k] = m;
            k += 1;
        }
        m += 1;
    }
    wheel
};

/// From each spoke to the next: how much more the cofactor is.
pub(super) const GAP: [u64; SPOKES] = {
    let mut gap = [0; SPOKES];
    let mut k = 0;
    while k < SPOKES {
        gap[k] = (WHEEL[(k + 1) % SPOKES] + 210 - WHEEL[k]) % 210;
        k += 1;
    }
    gap
};

/// For each number below 210, of which the last is a spoke, the spoke it is at, or the next one.
pub(super) const SPOKE: [u8; 210] = {
    let mut spoke = [0; 210];
    let (mut m, mut k) = (0, 0);
    while m < 210 {
        if WHEEL[k] < m {
            k += 1;
        }
        spoke[m as usize] = k as u8;
        m += 1;
    }
    spoke
};

/// The least cofactor whose product with `p`, a large prime, is not below `base`, and how far it is beyond.
#[inline]
fn first_multiple(base: u64, p: u64) -> (u64, u64) {
    // The quotient is below 2^45, so floats give it or one of its neighbours, in half the time.
    let quotient = (base as f64 / p as f64) as u64;
    let over = base.wrapping_sub(quotient.wrapping_mul(p)) as i64;
    let p = p as i64;
    let (least, left) = if over > p {
        (quotient + 2, 2 * p - over)
    } else if over > 0 {
        (quotient + 1, p - over)
    } else {
        (quotient, -over)
    };
    (least, left as u64)
}

/// The entry of a prime that strikes from its square or from `base` on, and how many parts ahead it is.
#[inline]
pub(super) fn begin(base: u64, p: u64) -> (Entry, u16) {
    let (mut least, mut left) = first_multiple(base, p);
    if least < p {
        (least, left) = (p, p * p - base);
    }
    let m = least % 210;
    let spoke = SPOKE[m as usize];
    let step = WHEEL[usize::from(spoke)] - m;
    let byte = (left + p * step) / 30;
    let class = u64::from(CLASSES[(p % 30) as usize]);
    let at = (byte % PART_BYTES as u64) << BYTE | class << CLASS | u64::from(spoke);
    ((p / 30) << PART | at, (byte / PART_BYTES as u64) as u16)
}

/// No fewer than the primes to `x`, and hardly more. Source: P. Dusart, "Estimates of some functions over
/// primes without R.H.", arXiv:1002.0442 (2010), theorem 6.9.
fn most_primes(x: u64) -> usize {
    let (x, ln) = (x as f64, (x as f64).ln());
    (x / ln * (1.0 + 1.2762 / ln)) as usize + 1
}

/// What a state does.
#[derive(Debug, Clone, Copy)]
struct Strike {
    /// The step to the next cofactor, as of bytes for each of p / 30.
    gap: u32,
    /// The bytes to add for the residue of p, and the next state less this one.
    rest: u32,
    /// The bits of the byte that stay.
    keep: u8,
}

static STRIKES: [Strike; STATES] = {
    let mut strikes = [Strike { gap: 0, rest: 0, keep: 0 }; STATES];
    let mut state = 0;
    while state < STATES {
        let (r, spoke) = (RESIDUES[state >> CLASS], state % (1 << CLASS));
        if spoke < SPOKES {
            let (m, gap) = (WHEEL[spoke], GAP[spoke]);
            let extra = r * (m + gap) / 30 - r * m / 30;
            // The last spoke's step is a byte at least, so the sum is not negative.
            let rest = (extra << BYTE) + ((spoke + 1) % SPOKES) as u64 - spoke as u64;
            strikes[state] = Strike {
                gap: (gap << BYTE) as u32,
                rest: rest as u32,
                keep: !BIT[(r * m % 30) as usize],
            };
        }
        state += 1;
    }
    strikes
};

/// The entries of all large primes.
#[derive(Debug)]
pub(super) struct Large {
    /// All blocks, one after the other: as many as all primes can need. The first is not used, so that 0
    /// is no block.
    entries: Vec<Entry>,
    /// The first of them that begins a cache line.
    skip: usize,
    /// Where each bucket's next entry goes; at the start of a block, one has to be taken first. Empty
    /// where no prime is large.
    ends: Vec<u32>,
    chains: Chains,
    /// The bucket of the current part.
    current: u16,
}

/// The blocks that are in use, and those that are not.
#[derive(Debug)]
struct Chains {
    /// The newest block of each bucket, or 0.
    newest: Vec<u32>,
    /// For each block, the one before it in its chain, or 0.
    before: Vec<u32>,
    free: Vec<u32>,
}

impl Chains {
    /// A block for a bucket: where its entries begin.
    #[cold]
    #[inline(never)]
    fn take(&mut self, bucket: u16) -> u32 {
        let block = self.free.pop().expect("each prime has one entry");
        self.before[block as usize] = self.newest[usize::from(bucket)];
        self.newest[usize::from(bucket)] = block;
        block * BLOCK_LEN as u32
    }
}

/// Where entries go.
pub(super) struct Blocks<'a> {
    pub(super) entries: &'a mut [Entry],
    ends: &'a mut [u32; BUCKETS],
    chains: &'a mut Chains,
}

impl Blocks<'_> {
    /// The same with references of its own, so that none is loaded again after each store.
    #[inline(always)]
    pub(super) fn apart(&mut self) -> Blocks<'_> {
        Blocks { entries: self.entries, ends: self.ends, chains: self.chains }
    }

    /// Puts an entry in a bucket.
    #[inline(always)]
    pub(super) fn push(&mut self, bucket: u16, entry: Entry) {
        let end = &mut self.ends[usize::from(bucket)];
        if end.is_multiple_of(BLOCK_LEN as u32) {
            *end = self.chains.take(bucket);
        }
        self.entries[*end as usize] = entry;
        *end += 1;
    }

    /// Takes the newest block from a bucket: where its entries begin, and how many they are.
    fn pop(&mut self, bucket: u16) -> Option<(u32, Range<usize>)> {
        let newest = &mut self.chains.newest[usize::from(bucket)];
        let block = *newest;
        if block == 0 {
            return None;
        }
        *newest = self.chains.before[block as usize];
        // All blocks of a bucket but the newest are full.
        let end = std::mem::take(&mut self.ends[usize::from(bucket)]) as usize;
        let len = end.wrapping_sub(1) % BLOCK_LEN + 1;
        let first = block as usize * BLOCK_LEN;
        Some((block, first..first + len))
    }
}

impl Large {
    /// With room for all primes from `least` to `most`.
    pub(super) fn new(least: u64, most: u64) -> Large {
        let any = least <= most;
        let primes = if any { most_primes(most) } else { 0 };
        // Full ones, one that is begun in each bucket that can be ahead, the one that is being read, and
        // the one that is not used; and a block of slack, to begin with a cache line.
        let blocks = if any { primes / BLOCK_LEN + ahead(most as usize) + 2 } else { 0 };
        let entries = vec![0; if any { (blocks + 1) * BLOCK_LEN } else { 0 }];
        Large {
            skip: entries.as_ptr().align_offset(64).min(entries.len()),
            entries,
            ends: vec![0; if any { BUCKETS } else { 0 }],
            chains: Chains {
                newest: vec![0; if any { BUCKETS } else { 0 }],
                before: vec![0; blocks],
                free: (1..blocks as u32).rev().collect(),
            },
            current: 0,
        }
    }

    fn blocks(&mut self) -> Option<Blocks<'_>> {
        let ends = self.ends.first_chunk_mut()?;
        Some(Blocks { entries: &mut self.entries[self.skip..], ends, chains: &mut self.chains })
    }

    /// Goes on to the next part.
    pub(super) fn advance(&mut self) {
        self.current = self.current.wrapping_add(1);
    }

    /// Takes in primes whose squares lie before the end of the segment that begins with `base`.
    pub(super) fn insert(&mut self, base: u64, primes: &[u64]) {
        let current = self.current;
        let Some(mut blocks) = self.blocks() else { return };
        #[cfg(target_arch = "x86_64")]
        let primes = if isa::current() == Isa::Avx512 {
            let old = primes.partition_point(|&p| p * p <= base);
            let (vectors, _) = primes[..old].as_chunks();
            // SAFETY: the CPU has what is current.
            unsafe { segment_large_avx512::insert(&mut blocks, current, base, vectors) };
            &primes[vectors.as_flattened().len()..]
        } else {
            primes
        };
        for &p in primes {
            let (entry, ahead) = begin(base, p);
            blocks.push(current.wrapping_add(ahead), entry);
        }
    }

    /// Strikes the current part by all that is in its bucket, also by what comes back to it.
    pub(super) fn strike(&mut self, part: &mut [u8; PART_BYTES]) {
        let current = self.current;
        let Some(mut blocks) = self.blocks() else { return };
        while let Some((block, range)) = blocks.pop(current) {
            strike_block(&mut blocks, current, range, part);
            blocks.chains.free.push(block);
        }
    }
}

/// Strikes by the entries of `range`, and puts each in the bucket where it goes on.
fn strike_block(
    blocks: &mut Blocks<'_>,
    current: u16,
    range: Range<usize>,
    part: &mut [u8; PART_BYTES],
) {
    #[cfg(target_arch = "x86_64")]
    if isa::current() == Isa::Avx512 {
        // SAFETY: the CPU has what is current.
        return unsafe { segment_large_avx512::strike_block(blocks, current, range, part) };
    }
    strike_block_anywhere(blocks, current, range, part);
}

#[inline(never)]
fn strike_block_anywhere(
    blocks: &mut Blocks<'_>,
    current: u16,
    range: Range<usize>,
    part: &mut [u8; PART_BYTES],
) {
    let mut blocks = blocks.apart();
    for i in range {
        let entry = blocks.entries[i];
        let strike = &STRIKES[entry as usize % STATES];
        let at = entry as u32;
        part[(at >> BYTE) as usize] &= strike.keep;
        let next = u64::from(at) + u64::from(strike.rest) + (entry >> PART) * u64::from(strike.gap);
        let bucket = current.wrapping_add((next >> PART) as u16);
        blocks.push(bucket, (entry >> PART) << PART | next & u64::from(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_multiple_is_what_a_division_gives() {
        let mut x = 1u64;
        for i in 0..1_000_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let p = (1 << 19) + (x >> 20) % (MOST_BASE - (1 << 19));
            let any = ((x ^ x << 29) >> (x >> 40 & 31)).max(p);
            // Quotients next to an integer are where floats go astray.
            let base =
                [any, any - any % p, any - any % p - 1, any - any % p + 1][i % 4].min(u64::MAX - p);
            let least = base.div_ceil(p);
            assert_eq!(first_multiple(base, p), (least, least * p - base), "{base} {p}");
        }
    }

    #[test]
    fn there_is_room_for_all_primes() {
        for (x, primes) in [(1 << 19, 43_390), (1 << 20, 82_025), (1 << 30, 54_400_028)] {
            assert!((primes..primes + primes / 50).contains(&most_primes(x)), "{x}");
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn primes_begin_where_they_would_one_by_one() {
        use super::super::packed_avx512::{load, store};

        #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512vbmi,avx512ifma")]
        fn begin_all(base: u64, p: &[u64; 8]) -> ([u64; 8], [u64; 8]) {
            let (mut entries, mut aheads) = ([0; 8], [0; 8]);
            let (entry, ahead) = segment_large_avx512::begin(base, load(p));
            store(&mut entries, entry);
            store(&mut aheads, ahead);
            (entries, aheads)
        }

        if !Isa::Avx512.is_available() {
            return;
        }
        let mut x = 1u64;
        let mut draw = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            x ^ x >> 29
        };
        for _ in 0..200_000 {
            let p: [u64; 8] = std::array::from_fn(|_| {
                let p = (1 << 19) + draw() % ((1 << 30) - (1 << 19) - 30);
                p + [1, 7, 11, 13, 17, 19, 23, 29][(draw() % 8) as usize] - p % 30
            });
            let least = p.iter().max().map_or(0, |p| p * p);
            let base = least + (draw() >> (draw() % 64)) % (u64::MAX - least);
            // On a multiple, and beside one.
            let base = (base - base % p[0]).max(least) - 1 + draw() % 3;
            // SAFETY: the CPU has it.
            let (entries, aheads) = unsafe { begin_all(base, &p) };
            for i in 0..8 {
                let (entry, ahead) = begin(base, p[i]);
                assert_eq!((entries[i], aheads[i]), (entry, ahead.into()), "{base} {}", p[i]);
            }
        }
    }
}
