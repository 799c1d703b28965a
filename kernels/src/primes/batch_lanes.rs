//! `is_prime` over a slice on AVX2, and in part on NEON.
//!
//! ```text
//! numbers -> odd ones -> no prime to 23 -> below 2^49 -> base 2 and Lucas as floats
//!                                       \-> no prime to 139 -> base 2 and Lucas as halves
//! ```
//! The filters are scalar, as the multiplier there divides one number a cycle. What they leave waits
//! in queues until whole groups are there. NEON has products of floats but none of halves that would
//! beat its scalar multiplier, so there the large numbers take the interleaved tests.

#![forbid(unsafe_code)]

use super::factor::TRIAL_DIVISORS;
use super::interleaved::{self, BLOCK_LEN, keep_odd, pack};
use super::is_prime::Divisor;
use super::lanes::{GROUP, VECTORS};
use super::{lanes_floats, lanes_halves};
use crate::isa::Isa;
use crate::simd::{LANES, dispatch};

/// Shorter slices would leave most lanes empty.
const LEAST_LEN: usize = 12;

/// Numbers between two emptyings of all queues: indices in the queues are 32 bits wide.
const CHUNK_LEN: usize = 1 << 24;

/// Room in a queue: a block on top of what is less than a group.
const QUEUE_LEN: usize = BLOCK_LEN + GROUP;

/// How many of the odd primes the first, the second and, for large numbers, the third filter take.
const FIRST: usize = 3;
const SECOND: usize = 8;
const THIRD: usize = 33;

/// See [`super::is_prime_slice`]; the slices are of one length.
pub(super) fn is_prime_slice(isa: Isa, n: &[u64], out: &mut [u8]) {
    if n.len() < LEAST_LEN {
        return interleaved::is_prime_slice(n, out);
    }
    let halves = if isa == Isa::Avx2 { VECTORS_OF_HALVES } else { SCALARS };
    for (n, out) in n.chunks(CHUNK_LEN).zip(out.chunks_mut(CHUNK_LEN)) {
        out.fill(0);
        let mut floats = Pipeline::new(VECTORS_OF_FLOATS);
        let mut halves = Pipeline::new(halves);
        let mut kept = [0; BLOCK_LEN];
        for (i, n) in n.chunks(BLOCK_LEN).enumerate() {
            let first = i * BLOCK_LEN;
            let len = keep_odd(n, &mut out[first..], &mut kept);
            let len = pack(n, &mut kept, len, &TRIAL_DIVISORS[..FIRST]);
            let len = pack(n, &mut kept, len, &TRIAL_DIVISORS[FIRST..SECOND]);
            let mut large = [0; BLOCK_LEN];
            let mut large_len = 0;
            for &index in &kept[..len] {
                let number = n[index as usize];
                floats.candidates.put(number, first as u32 + index, number < lanes_floats::BELOW);
                large[large_len] = index;
                large_len += usize::from(number >= lanes_floats::BELOW);
            }
            let large_len = pack(n, &mut large, large_len, LARGE_DIVISORS);
            for &index in &large[..large_len] {
                halves.candidates.put(n[index as usize], first as u32 + index, true);
            }
            floats.advance(out);
            halves.advance(out);
        }
        floats.finish(out);
        halves.finish(out);
    }
}

/// The divisors from 29 on: they pay only where base 2 costs more.
const LARGE_DIVISORS: &[Divisor] = TRIAL_DIVISORS.split_at(THIRD).0.split_at(SECOND).1;

/// A test on groups: a bit for each number that passes.
type Test = fn(&[[u64; GROUP]], &mut [[u8; VECTORS]]);

/// The two halves of the proof.
#[derive(Debug, Clone, Copy)]
struct Tests {
    base_2: Test,
    lucas: Test,
}

const VECTORS_OF_FLOATS: Tests = Tests {
    base_2: |n, passed| dispatch(lanes_floats::Base2 { n, passed }),
    lucas: |n, passed| dispatch(lanes_floats::Lucas { n, passed }),
};

const VECTORS_OF_HALVES: Tests = Tests {
    base_2: |n, passed| dispatch(lanes_halves::Base2 { n, passed }),
    lucas: |n, passed| dispatch(lanes_halves::Lucas { n, passed }),
};

const SCALARS: Tests = Tests {
    base_2: |n, passed| by_scalars(n, passed, interleaved::base_2),
    lucas: |n, passed| by_scalars(n, passed, interleaved::lucas_test),
};

fn by_scalars(
    n: &[[u64; GROUP]],
    passed: &mut [[u8; VECTORS]],
    test: impl Fn(&[u64; interleaved::LANES]) -> [bool; interleaved::LANES],
) {
    for (n, passed) in n.iter().zip(passed) {
        *passed = [0; VECTORS];
        for (i, n) in n.as_chunks().0.iter().enumerate() {
            for (k, pass) in test(n).into_iter().enumerate() {
                let lane = i * interleaved::LANES + k;
                passed[lane / LANES] |= u8::from(pass) << (lane % LANES);
            }
        }
    }
}

/// Numbers with their indices.
#[derive(Debug)]
struct Queue {
    n: [u64; QUEUE_LEN],
    index: [u32; QUEUE_LEN],
    len: usize,
}

impl Queue {
    fn new() -> Queue {
        Queue { n: [0; QUEUE_LEN], index: [0; QUEUE_LEN], len: 0 }
    }

    /// Appends a number, if it is to stay; else the place stays free.
    #[inline(always)]
    fn put(&mut self, n: u64, index: u32, stays: bool) {
        self.n[self.len] = n;
        self.index[self.len] = index;
        self.len += usize::from(stays);
    }

    /// Runs a test on the groups that are full, hands on what passes, and keeps the rest.
    fn run(&mut self, test: Test, mut pass: impl FnMut(u64, u32, bool)) {
        let mut passed = [[0; VECTORS]; QUEUE_LEN / GROUP];
        let groups = self.n[..self.len].as_chunks().0;
        test(groups, &mut passed[..groups.len()]);
        let done = groups.len() * GROUP;
        let bits = passed.as_flattened();
        for k in 0..done {
            let bit = (bits[k / LANES] >> (k % LANES)) & 1;
            pass(self.n[k], self.index[k], bit == 1);
        }
        self.n.copy_within(done..self.len, 0);
        self.index.copy_within(done..self.len, 0);
        self.len -= done;
    }

    /// Fills up what is less than a group with copies of the first number.
    fn pad(&mut self) {
        let end = self.len.next_multiple_of(GROUP);
        let (n, index) = (self.n[0], self.index[0]);
        self.n[self.len..end].fill(n);
        self.index[self.len..end].fill(index);
        self.len = end;
    }
}

/// The queues before the two tests.
#[derive(Debug)]
struct Pipeline {
    candidates: Queue,
    survivors: Queue,
    tests: Tests,
}

impl Pipeline {
    fn new(tests: Tests) -> Pipeline {
        Pipeline { candidates: Queue::new(), survivors: Queue::new(), tests }
    }

    /// Takes the groups that are full through the tests, and marks the primes.
    fn advance(&mut self, out: &mut [u8]) {
        if self.candidates.len < GROUP {
            return;
        }
        self.candidates.run(self.tests.base_2, |n, index, pass| self.survivors.put(n, index, pass));
        self.mark(out);
    }

    fn mark(&mut self, out: &mut [u8]) {
        if self.survivors.len >= GROUP {
            self.survivors.run(self.tests.lucas, |_, index, pass| {
                out[index as usize] = u8::from(pass);
            });
        }
    }

    /// Empties the queues.
    fn finish(&mut self, out: &mut [u8]) {
        self.candidates.pad();
        self.advance(out);
        self.survivors.pad();
        self.mark(out);
    }
}
