//! Primes below a bound, counted by all ranks of an MPI job: chunks of the range, no array.
//!
//! `mpirun -n 2 --map-by ppr:1:node:PE=CORES target/release/examples/mpi_primes`

use pinpool::{Cluster, Param, kernels::primes};

const BOUND: u64 = 100_000_000;
const SPAN: u64 = 1_000_000;

fn main() -> pinpool::Result<()> {
    let cluster = Cluster::new()?;
    let ranges = cluster.indices(BOUND / SPAN);
    // Folded on the way: ranks send sums and not slots. Every rank gets the value.
    let count = cluster.map_reduce(
        (ranges, Param(SPAN)),
        |(i, span), _| primes::count_primes(i * span, (i + 1) * span),
        |a, b| a + b,
    )?;

    // Whole numbers one by one: each rank holds its own, and the flags beside them.
    let mut numbers = cluster.zeros::<u64, _>(10_000, 500)?;
    let mut prime = cluster.zeros::<u8, _>(10_000, 500)?;
    cluster.for_each(numbers.chunks_out(500), |mut c, ctx| {
        let first = ctx.chunk() * 500;
        c.iter_mut().zip(first..).for_each(|(n, i)| *n = i);
    })?;
    cluster.for_each((numbers.chunks(500), prime.chunks_out(500)), |(c, mut p), _| {
        p.iter_mut().zip(c.iter()).for_each(|(p, &n)| *p = u8::from(primes::is_prime(n)));
    })?;
    let prime = cluster.gather(prime.local())?;

    assert_eq!(count, Some(5_761_455));
    if let Some(prime) = prime {
        let small = prime.as_slice().iter().filter(|&&p| p == 1).count();
        assert_eq!((small, prime.as_slice()[9_973]), (1_229, 1));
        println!("{} primes below {BOUND}, by {} ranks", 5_761_455, cluster.ranks());
    }
    Ok(())
}
