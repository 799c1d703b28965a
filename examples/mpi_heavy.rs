//! The flagship over all ranks of an MPI job: numbers drawn from the chunks' streams, three rounds
//! of (sin a + cos a)^(a·a), summed by chunk. Rank 0 does it again on its own pool: the same bits.
//!
//! `mpirun -n 2 --map-by ppr:1:node:PE=CORES target/release/examples/mpi_heavy [NUMBERS]`

use std::time::Instant;

use pinpool::{Cluster, Pool, SharedArray, kernels};

const CHUNK: usize = 32_768;

fn main() -> pinpool::Result<()> {
    let numbers = std::env::args().nth(1).map_or(4_000_000, |n| n.parse().expect("a number"));
    let cluster = Cluster::builder().pool(Pool::builder().seed(42)).build()?;
    if cluster.is_root() {
        cluster.warnings().for_each(|warning| eprintln!("{warning}"));
        println!("{} ranks, {} workers; {}", cluster.ranks(), cluster.workers(), cluster.mpi());
    }

    let mut x = cluster.zeros::<f64, _>(numbers, CHUNK)?;
    let draw = cluster.stream(0);
    draw.for_each(x.chunks_out(CHUNK), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
    let start = Instant::now();
    let sums = cluster.map(x.chunks(CHUNK), |c, _| kernels::trig_power_sum(&c, 3))?;
    let took = start.elapsed();

    if cluster.is_root() {
        let total = sums.total();
        println!("total {total}   (bits {:016x}) in {took:?}", total.to_bits());

        let pool = cluster.pool();
        let mut x = SharedArray::<f64, _>::zeros(numbers)?;
        let draw = pool.stream(0);
        draw.for_each(x.chunks_out(CHUNK), |mut c, ctx| ctx.rng().fill_uniform(&mut c))?;
        let alone = pool.map(x.chunks(CHUNK), |c, _| kernels::trig_power_sum(&c, 3))?;
        assert_eq!(total.to_bits(), alone.total().to_bits());
        println!("the same bits as one pool");
    }
    Ok(())
}
