//! The large primes of the sieve: each has one entry, in the bucket of the segment that it strikes
//! next.
//!
//! Cofactors go round a wheel of 210, so that multiples of 7, which the patterns have struck, cost
//! nothing. A bucket is a chain of blocks; a block that is done goes on the pile from which the next
//! is taken, so that what is written to is still in the cache.
//!
//! Source: T. Oliveira e Silva, "Fast implementation of the segmented sieve of Eratosthenes" (2001).

#![forbid(unsafe_code)]

use super::segment::{BIT, RESIDUES, SEGMENT_BYTES};
use super::sieve::MOST_BASE;

/// Entries of a block: 8 KiB.
const BLOCK_LEN: u32 = 1024;

/// Buckets, used in turn; a strike is never so far ahead that they would not do.
const BUCKETS: usize = 512;
const _: () = assert!((MOST_BASE as usize / 30 + 2) * 10 / SEGMENT_BYTES + 2 < BUCKETS);

/// Cofactors of a round of the wheel.
const SPOKES: usize = 48;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// From bit 40 on p / 30, which has 24 bits. From [`BYTE`] on the byte in the segment, and with it, above
/// [`SEGMENT`], how many segments ahead: of an entry in its bucket, 0. Below, the state: the residue class
/// of p times [`SPOKES`] and the spoke of the cofactor.
type Entry = u64;

const Q: u32 = 40;
const BYTE: u32 = 9;
const SEGMENT: u32 = BYTE + SEGMENT_BYTES.trailing_zeros();
const AHEAD: u64 = (1 << Q) - (1 << SEGMENT);
const _: () = assert!(SEGMENT_BYTES.is_power_of_two() && MOST_BASE / 30 < 1 << (64 - Q));
// A gap of the wheel is 10 at most.
const _: () = assert!((MOST_BASE / 30 + 2) * 10 + (SEGMENT_BYTES as u64) < 1 << (Q - BYTE));

/// The numbers below 210 without a prime to 7.
const WHEEL: [u64; SPOKES] = {
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

/// The spoke of each number below 210, or the next one.
const SPOKE: [u8; 210] = {
    let mut spoke = [0; 210];
    let (mut m, mut k) = (0, 0);
    while m < 210 {
        if k < SPOKES && WHEEL[k] < m {
            k += 1;
        }
        spoke[m as usize] = k as u8;
        m += 1;
    }
    spoke
};

/// What a state does.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Strike {
    /// The bits of the byte that stay.
    keep: u8,
    /// The step to the next cofactor, as of bytes for each of p / 30.
    gap: u16,
    /// The bytes to add for the residue of p, and the next state less this one.
    rest: i32,
}

/// States end before 512, which is what an index of nine bits needs.
static STRIKES: [Strike; 1 << BYTE] = {
    let mut strikes = [Strike { keep: 0, gap: 0, rest: 0 }; 1 << BYTE];
    let mut state = 0;
    while state < 8 * SPOKES {
        let (r, k) = (RESIDUES[state / SPOKES], state % SPOKES);
        let m = WHEEL[k];
        let gap = if k + 1 < SPOKES { WHEEL[k + 1] - m } else { 211 - m };
        let extra = r * (m + gap) / 30 - r * m / 30;
        let next = state / SPOKES * SPOKES + (k + 1) % SPOKES;
        strikes[state] = Strike {
            keep: !BIT[(r * m % 30) as usize],
            gap: (gap << BYTE) as u16,
            rest: (extra << BYTE) as i32 + next as i32 - state as i32,
        };
        state += 1;
    }
    strikes
};

/// The entries of all large primes.
#[derive(Debug)]
pub(super) struct Large {
    /// All blocks, one after the other: as many as all primes can need.
    entries: Vec<Entry>,
    chains: Chains,
    /// Where each bucket's next entry goes; at the start of a block, one has to be taken first.
    ends: Box<[u32; BUCKETS]>,
    /// The bucket of the current segment.
    current: usize,
}

/// The blocks that are in use, and those that are not.
#[derive(Debug)]
struct Chains {
    /// For each block, the one before it in its chain.
    before: Vec<u32>,
    free: Vec<u32>,
    /// The newest block of each bucket.
    newest: Box<[u32; BUCKETS]>,
}

impl Chains {
    /// A block for a bucket: where its entries begin.
    #[cold]
    #[inline(never)]
    fn take(&mut self, bucket: usize) -> u32 {
        let block = self.free.pop().expect("each prime has one entry");
        self.before[block as usize] = self.newest[bucket];
        self.newest[bucket] = block;
        block * BLOCK_LEN
    }
}

impl Large {
    /// With room for so many primes.
    pub(super) fn new(primes: usize) -> Large {
        // Full ones, one that is begun in each bucket, and the one that is being read.
        let blocks = if primes == 0 { 0 } else { primes / BLOCK_LEN as usize + BUCKETS + 1 };
        Large {
            entries: vec![0; blocks * BLOCK_LEN as usize],
            chains: Chains {
                before: vec![NONE; blocks],
                free: (0..blocks as u32).rev().collect(),
                newest: Box::new([NONE; BUCKETS]),
            },
            ends: Box::new([0; BUCKETS]),
            current: 0,
        }
    }

    /// Goes on to the next segment.
    pub(super) fn advance(&mut self) {
        self.current = (self.current + 1) % BUCKETS;
    }

    /// Takes in a prime of residue `RESIDUES[class]`, to strike from the cofactor `least` on.
    pub(super) fn insert(&mut self, base: u64, p: u64, class: usize, least: u64) {
        let spoke = usize::from(SPOKE[(least % 210) as usize]);
        let step = WHEEL.get(spoke).copied().unwrap_or(211) - least % 210;
        // Modulo 2^64: both products may be beyond, and their difference is small.
        let byte = p.wrapping_mul(least.wrapping_add(step)).wrapping_sub(base) / 30;
        let state = class * SPOKES + spoke % SPOKES;
        let entry = (p / 30) << Q | byte << BYTE | state as u64;
        let Large { entries, chains, ends, current } = self;
        push(entries, chains, ends, *current, entry);
    }

    /// Strikes the current segment by all that is in its bucket, also by what comes back to it.
    #[inline(never)]
    pub(super) fn strike(&mut self, sieve: &mut [u8; SEGMENT_BYTES]) {
        // All apart, so that none is loaded again after each store.
        let Large { entries, chains, ends, current } = self;
        let (entries, ends, current) = (&mut entries[..], &mut **ends, *current);
        loop {
            let block = chains.newest[current];
            if block == NONE {
                return;
            }
            // All blocks but the newest are full.
            let end = ends[current];
            let count = (end + BLOCK_LEN - 1) % BLOCK_LEN + 1;
            chains.newest[current] = chains.before[block as usize];
            ends[current] = 0;
            for i in 0..count {
                let entry = entries[(block * BLOCK_LEN + i) as usize];
                let strike = &STRIKES[(entry % (1 << BYTE)) as usize];
                sieve[(entry >> BYTE) as usize % SEGMENT_BYTES] &= strike.keep;
                // The sum has no carries from one part to the next but what goes ahead.
                let bytes = (entry >> Q) * u64::from(strike.gap);
                let next = entry.wrapping_add(bytes).wrapping_add_signed(strike.rest.into());
                push(entries, chains, ends, current, next);
            }
            chains.free.push(block);
        }
    }
}

/// Puts an entry in the bucket that is so far ahead as it says.
#[inline(always)]
fn push(
    entries: &mut [Entry],
    chains: &mut Chains,
    ends: &mut [u32; BUCKETS],
    current: usize,
    entry: Entry,
) {
    let bucket = (current + (entry >> SEGMENT) as usize) % BUCKETS;
    let mut end = ends[bucket];
    if end.is_multiple_of(BLOCK_LEN) {
        end = chains.take(bucket);
    }
    entries[end as usize] = entry & !AHEAD;
    ends[bucket] = end + 1;
}
