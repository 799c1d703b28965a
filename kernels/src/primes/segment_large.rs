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

/// p / 30 above bit 32, the byte in the segment above bit 9, the state: the residue class of p times
/// [`SPOKES`] and the spoke of the cofactor.
type Entry = u64;

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

/// What a state does: bit 0, the bits to keep (8); bit 8, the step to the next cofactor (4); bit 12,
/// the bytes to add for the residue of p (4); bit 16, the next state. States end
/// before 512, which is what an index of nine bits needs.
static STRIKES: [u32; 512] = {
    let mut strikes = [0; 512];
    let mut state = 0;
    while state < 8 * SPOKES {
        let (r, k) = (RESIDUES[state / SPOKES], state % SPOKES);
        let m = WHEEL[k];
        let gap = if k + 1 < SPOKES { WHEEL[k + 1] - m } else { 211 - m };
        let keep = !BIT[(r * m % 30) as usize] as u32;
        let extra = (r * (m + gap) / 30 - r * m / 30) as u32;
        let next = (state / SPOKES * SPOKES + (k + 1) % SPOKES) as u32;
        strikes[state] = keep | (gap as u32) << 8 | extra << 12 | next << 16;
        state += 1;
    }
    strikes
};

/// The entries of all large primes.
#[derive(Debug)]
pub(super) struct Large {
    /// All blocks, one after the other.
    entries: Vec<Entry>,
    /// For each block, the one before it in its chain.
    before: Vec<u32>,
    free: Vec<u32>,
    /// The newest block of each bucket.
    newest: Box<[u32; BUCKETS]>,
    /// Where each bucket's next entry goes; at the start of a block, one has to be taken first.
    ends: Box<[u32; BUCKETS]>,
    /// The bucket of the current segment.
    current: usize,
}

impl Large {
    pub(super) fn new() -> Large {
        Large {
            entries: Vec::new(),
            before: Vec::new(),
            free: Vec::new(),
            newest: Box::new([NONE; BUCKETS]),
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
        self.push(byte as usize, p / 30, state as u64);
    }

    /// Puts an entry that strikes `byte` bytes from the start of the current segment in its bucket.
    #[inline(always)]
    fn push(&mut self, byte: usize, q: u64, state: u64) {
        let bucket = (self.current + byte / SEGMENT_BYTES) % BUCKETS;
        let mut end = self.ends[bucket];
        if end.is_multiple_of(BLOCK_LEN) {
            end = self.take_block(bucket);
        }
        self.entries[end as usize] = q << 32 | ((byte % SEGMENT_BYTES) as u64) << 9 | state;
        self.ends[bucket] = end + 1;
    }

    /// A block for a bucket: where its entries begin.
    #[cold]
    #[inline(never)]
    fn take_block(&mut self, bucket: usize) -> u32 {
        let block = self.free.pop().unwrap_or_else(|| {
            self.entries.resize(self.entries.len() + BLOCK_LEN as usize, 0);
            self.before.push(NONE);
            self.before.len() as u32 - 1
        });
        self.before[block as usize] = self.newest[bucket];
        self.newest[bucket] = block;
        block * BLOCK_LEN
    }

    /// Strikes the current segment by all that is in its bucket, also by what comes back to it.
    #[inline(never)]
    pub(super) fn strike(&mut self, sieve: &mut [u8; SEGMENT_BYTES]) {
        loop {
            let block = self.newest[self.current];
            if block == NONE {
                return;
            }
            // All blocks but the newest are full.
            let end = self.ends[self.current];
            let count = (end + BLOCK_LEN - 1) % BLOCK_LEN + 1;
            self.newest[self.current] = self.before[block as usize];
            self.ends[self.current] = 0;
            for i in 0..count {
                let entry = self.entries[(block * BLOCK_LEN + i) as usize];
                let strike = STRIKES[(entry & 511) as usize];
                let at = (entry >> 9) as usize % SEGMENT_BYTES;
                let q = entry >> 32;
                sieve[at] &= strike as u8;
                let (gap, extra) = (strike >> 8 & 15, strike >> 12 & 15);
                let next = at + q as usize * gap as usize + extra as usize;
                self.push(next, q, u64::from(strike >> 16));
            }
            self.free.push(block);
        }
    }
}
