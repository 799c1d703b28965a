//! [`WorkerRng`]: the stream of a worker, which goes on from call to call.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use rand_xoshiro::Xoshiro256PlusPlus;

use super::rand_core::{Rng as _, TryRng};
use super::{Streams, generator, unit_f64};

/// The random stream of one worker: different in every worker, and it goes on from call to call.
///
/// What is computed from it depends on which worker got which chunk, so it is outside the promise
/// of equal bits; [`ChunkRng`](super::ChunkRng) is inside.
#[derive(Debug, Clone)]
pub struct WorkerRng(Xoshiro256PlusPlus);

impl WorkerRng {
    /// The stream of a worker in its given incarnation (0 for the first).
    ///
    /// # Panics
    /// When `worker` is 2^63 or more.
    #[must_use]
    pub fn new(streams: &Streams, worker: u64, incarnation: u64) -> WorkerRng {
        WorkerRng(generator(streams.worker_state(worker, incarnation)))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The next draw as a number in [0, 1), a multiple of 2^-53.
    pub fn next_f64(&mut self) -> f64 {
        unit_f64(self.0.next_u64())
    }
}

impl TryRng for WorkerRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_incarnation_of_each_worker_draws_other_numbers() {
        let streams = Streams::new(42);
        let mut draws: Vec<u64> = (0..3)
            .flat_map(|worker| (0..3).map(move |incarnation| (worker, incarnation)))
            .map(|(worker, incarnation)| WorkerRng::new(&streams, worker, incarnation).next_u64())
            .collect();
        draws.sort_unstable();
        draws.dedup();
        assert_eq!(draws.len(), 9);
    }
}
