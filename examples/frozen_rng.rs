//! The frozen generator: a copy handed to every task gives every task the same "random" number.
//!
//! It happens wherever a generator is an argument: each task gets it as it was when the job was
//! submitted. The cure is not to hand one over: every chunk and every worker has a stream of its
//! own here, and the chunks' streams do not depend on who runs them.

use std::collections::HashSet;

use pinpool::rng::rand_core::{Rng, SeedableRng};
use pinpool::{Param, Pool, indices};
use rand_xoshiro::Xoshiro256PlusPlus;

const CHUNKS: u64 = 12;

fn pool(workers: usize) -> pinpool::Result<Pool> {
    Pool::builder().workers(workers).oversubscribe(true).seed(42).build()
}

fn distinct(draws: &[u64]) -> usize {
    draws.iter().collect::<HashSet<_>>().len()
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool_of_3 = pool(3)?;

    // The pitfall: one generator, copied into every chunk.
    let seed = Xoshiro256PlusPlus::seed_from_u64(42).state();
    let frozen = pool_of_3.map((indices(CHUNKS), Param(seed)), |(_, seed), _| {
        Xoshiro256PlusPlus::from_seed(seed).next_u64()
    })?;
    println!("copied generator: {} different draws of {CHUNKS}", distinct(frozen.as_slice()));
    assert_eq!(distinct(frozen.as_slice()), 1);

    // The cure: the chunk's own stream, and the worker's own, which goes on from call to call.
    let chunks = pool_of_3.stream(0).map(indices(CHUNKS), |_, ctx| ctx.rng().next_u64())?;
    let mut all = chunks.as_slice().to_vec();
    for _ in 0..2 {
        let workers = pool_of_3.map(indices(CHUNKS), |_, ctx| ctx.worker_rng().next_u64())?;
        all.extend(workers.as_slice());
    }
    println!("streams:          {} different draws of {}", distinct(&all), all.len());
    assert_eq!(distinct(&all), all.len());

    // The chunks' draws are the same for any number of workers; the workers' own are not meant to be.
    for workers in [1, 2, 5] {
        let again = pool(workers)?.stream(0).map(indices(CHUNKS), |_, ctx| ctx.rng().next_u64())?;
        assert_eq!(again.as_slice(), chunks.as_slice());
    }
    println!("and the chunks' draws are the same bits with 1, 2, 3 and 5 workers");
    Ok(())
}
