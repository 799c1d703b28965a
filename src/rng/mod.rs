//! The random streams: which generator state belongs to a job, a chunk, a lane, a worker.
//!
//! One Xoshiro256++ of period 2^256 − 1 is cut into pieces that cannot overlap. From the state that
//! the seed gives, job j, chunk c, lane l starts `j·2^192 + c·2^128 + l·2^64` steps ahead; worker w
//! in its incarnation i starts `(2^63 + w)·2^192 + i·2^128` steps ahead, where no job comes. So a
//! chunk's draws depend on the seed, the job's number and the chunk's number and on nothing else,
//! and a chunk that is run again after a death draws the same again.
//!
//! This file does no input or output and holds no global state. The pool's `Ctx` makes a
//! [`ChunkRng`] when a kernel asks for one, through the worker's [`ChunkCursor`], and owns the
//! worker's [`WorkerRng`].

#![forbid(unsafe_code)]

mod chunk;
mod jump;
mod worker;

pub use chunk::ChunkRng;
pub use rand_xoshiro::rand_core;
pub use worker::WorkerRng;

use jump::{NEXT_CHUNK, State};

/// Job and worker numbers lie below this; the upper half of the job numbers is the workers'.
const REGION: u64 = 1 << 63;

/// All random streams of one seed.
///
/// ```
/// use pinpool::rng::{ChunkRng, Streams};
///
/// let streams = Streams::new(42);
/// let mut rng = ChunkRng::new(&streams, 0, 0);
/// assert_eq!(rng.next_u64(), 0xd076_4d4f_4476_689f);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
    start: State,
}

impl Streams {
    /// The streams of `seed`: the generator starts at the first four outputs of SplitMix64.
    #[must_use]
    pub fn new(seed: u64) -> Streams {
        Streams { seed, start: split_mix(seed) }
    }

    /// The seed that these are the streams of.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The generator's state at the start of a lane of a chunk of a job; lane 0 is the chunk's own
    /// stream, lanes 1 to 8 are those of the vector fills.
    ///
    /// # Panics
    /// When `job` is 2^63 or more: those numbers are the workers' region.
    #[must_use]
    pub fn chunk_state(&self, job: u64, chunk: u64, lane: u64) -> [u64; 4] {
        assert!(job < REGION, "job {job} has no stream; number jobs below 2^63");
        jump::jump_by(self.start, [0, lane, chunk, job])
    }

    /// The generator's state at the start of a worker's stream; each incarnation has its own, so
    /// that a worker started again does not repeat the draws of the one that died.
    ///
    /// # Panics
    /// When `worker` is 2^63 or more.
    #[must_use]
    pub fn worker_state(&self, worker: u64, incarnation: u64) -> [u64; 4] {
        assert!(worker < REGION, "worker {worker} has no stream; number workers below 2^63");
        jump::jump_by(self.start, [0, 0, incarnation, REGION + worker])
    }
}

/// Walks from chunk to chunk: the next one is a single jump away from this one.
///
/// Each worker keeps one. It is a cache and nothing more: [`state`](ChunkCursor::state) gives what
/// [`Streams::chunk_state`] gives for lane 0, whatever was asked before.
#[derive(Debug, Clone)]
pub struct ChunkCursor {
    streams: Streams,
    job: u64,
    /// The state of the job's chunk 0.
    job_state: State,
    chunk: u64,
    /// The state of `chunk`.
    state: State,
}

impl ChunkCursor {
    /// A cursor over the streams of a seed, at chunk 0 of job 0.
    #[must_use]
    pub fn new(streams: Streams) -> ChunkCursor {
        let start = streams.start;
        ChunkCursor { streams, job: 0, job_state: start, chunk: 0, state: start }
    }

    /// The streams that it walks over.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The generator's state at the start of a chunk of a job.
    ///
    /// # Panics
    /// When `job` is 2^63 or more.
    pub fn state(&mut self, job: u64, chunk: u64) -> [u64; 4] {
        if job != self.job {
            self.job_state = self.streams.chunk_state(job, 0, 0);
            (self.job, self.chunk, self.state) = (job, 0, self.job_state);
        }
        if chunk != self.chunk {
            self.state = if self.chunk.checked_add(1) == Some(chunk) {
                jump::jump(self.state, &NEXT_CHUNK)
            } else {
                jump::jump_by(self.job_state, [0, 0, chunk, 0])
            };
            self.chunk = chunk;
        }
        self.state
    }

    /// The stream of a chunk of a job.
    ///
    /// # Panics
    /// When `job` is 2^63 or more.
    pub fn rng(&mut self, job: u64, chunk: u64) -> ChunkRng {
        ChunkRng::from_state(self.state(job, chunk))
    }
}

/// The first four outputs of SplitMix64 started at `seed`.
fn split_mix(mut seed: u64) -> State {
    std::array::from_fn(|_| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// The top 53 bits of a draw as a number in [0, 1).
fn unit_f64(x: u64) -> f64 {
    (x >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// The generator that continues from `state`.
fn generator(state: State) -> rand_xoshiro::Xoshiro256PlusPlus {
    let mut seed = [0; 32];
    for (bytes, word) in seed.chunks_exact_mut(8).zip(state) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    rand_core::SeedableRng::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::{Rng, SeedableRng};
    use std::collections::HashSet;

    fn first_two(state: State) -> [u64; 2] {
        let mut rng = generator(state);
        [rng.next_u64(), rng.next_u64()]
    }

    #[test]
    fn a_seed_is_spread_as_rand_xoshiro_spreads_it() {
        let words = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
            0xf88b_b8a8_724c_81ec,
        ];
        assert_eq!(Streams::new(0).chunk_state(0, 0, 0), words);
        assert_eq!(first_two(words), [5_987_356_902_031_041_503, 7_051_070_477_665_621_255]);
        for seed in [0, 1, 42, u64::MAX] {
            let peer = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
            assert_eq!(generator(split_mix(seed)), peer);
        }
    }

    #[test]
    fn seed_42_draws_the_published_numbers() {
        let streams = Streams::new(42);
        let table = [
            ((0, 0, 0), [0xd076_4d4f_4476_689f, 0x519e_4174_576f_3791]),
            ((0, 0, 1), [0x1499_01d4_cd9a_4755, 0x8967_f889_6b25_0b9a]),
            ((0, 0, 7), [0x5206_9006_65af_72e1, 0xb0a6_a6b1_7a2a_38fc]),
            ((0, 1, 0), [0xc0b6_f4be_293b_1ae5, 0x5db3_dd96_83e7_bb33]),
            ((0, 1000, 5), [0x390f_5792_81dd_c982, 0xc1f4_a730_e196_a79c]),
            ((1, 0, 0), [0x0201_9a87_bfc0_bb07, 0x25be_e492_0971_7963]),
            ((3, 123_456_789, 6), [0xe698_fa5f_8f01_2c91, 0x89ce_f189_9658_ada2]),
        ];
        for ((job, chunk, lane), draws) in table {
            assert_eq!(first_two(streams.chunk_state(job, chunk, lane)), draws);
        }
    }

    #[test]
    fn the_cursor_gives_every_chunk_its_state_in_any_order() {
        let streams = Streams::new(7);
        let mut cursor = ChunkCursor::new(streams.clone());
        let walk = [(0, 0), (0, 1), (0, 2), (0, 2), (0, 900), (0, 901), (0, 1), (5, 0), (5, 1)];
        let edges = [(5, u64::MAX), (5, 0), (2, 6), (2, 7), (REGION - 1, u64::MAX), (0, 0)];
        for (job, chunk) in walk.into_iter().chain(edges) {
            assert_eq!(cursor.state(job, chunk), streams.chunk_state(job, chunk, 0));
        }
    }

    #[test]
    fn no_two_streams_share_a_draw() {
        let streams = Streams::new(42);
        let mut states = Vec::new();
        for job in 0..4 {
            for chunk in 0..16 {
                for lane in 0..=8 {
                    states.push(streams.chunk_state(job, chunk, lane));
                }
            }
        }
        for worker in 0..16 {
            for incarnation in 0..4 {
                states.push(streams.worker_state(worker, incarnation));
            }
        }
        let mut seen = HashSet::new();
        for state in states {
            let mut rng = generator(state);
            for _ in 0..50 {
                assert!(seen.insert(rng.next_u64()), "a draw came twice");
            }
        }
    }

    #[test]
    fn a_workers_stream_starts_at_its_place_in_the_upper_half() {
        let streams = Streams::new(42);
        let by_jobs = jump::jump_by(streams.start, [0, 0, 0, REGION - 1]);
        let mut peer = generator(by_jobs);
        peer.long_jump();
        assert_eq!(peer, generator(streams.worker_state(0, 0)));
        peer.long_jump();
        peer.jump();
        assert_eq!(peer, generator(streams.worker_state(1, 1)));
    }

    #[test]
    #[should_panic(expected = "number jobs below 2^63")]
    fn a_job_number_in_the_workers_region_is_refused() {
        let _ = Streams::new(0).chunk_state(REGION, 0, 0);
    }

    #[test]
    fn a_draw_of_all_ones_is_still_below_one() {
        assert_eq!(unit_f64(0), 0.0);
        assert_eq!(unit_f64(u64::MAX), 1.0 - f64::EPSILON / 2.0);
    }
}
