//! Much work on each number, a few large chunks: three rounds of (sin a + cos a)^(a·a), summed by
//! chunk. The sums have the same bits for any number of workers.

use std::time::Instant;

use pinpool::{Backend, Pool, SharedArray, kernels};

const NUMBERS: usize = 400_000;
const CHUNK: usize = 100_000;

fn run(pool: &Pool) -> pinpool::Result<f64> {
    let mut x = SharedArray::<f64, _>::zeros(NUMBERS)?;
    pool.stream(0).for_each(x.chunks_out(32_768), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
    let start = Instant::now();
    let sums = pool.map(x.chunks(CHUNK), |c, _| kernels::trig_power_sum(c, 3))?;
    println!("{:9} {} workers: {:?}", pool.backend(), pool.workers(), start.elapsed());
    assert_eq!(sums.len(), NUMBERS / CHUNK);
    Ok(sums.total())
}

pub(crate) fn main() -> pinpool::Result<()> {
    let serial = run(&Pool::builder().backend(Backend::Serial).seed(42).build()?)?;
    for workers in [1, 2, 4] {
        let pool = Pool::builder().workers(workers).oversubscribe(true).seed(42).build()?;
        assert_eq!(run(&pool)?.to_bits(), serial.to_bits());
    }
    println!("sum: {serial}");
    assert!((1.0..1.5).contains(&(serial / NUMBERS as f64)));
    Ok(())
}
