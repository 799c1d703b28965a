//! Factors of random numbers: results of any length, one list for each number.

use pinpool::{Pool, indices, kernels};

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::builder().seed(42).build()?;
    // Each chunk draws its own number from its own stream: no list of numbers has to travel.
    let numbers =
        pool.map(indices(200), |_, ctx| 10_000_000_000 + ctx.rng().next_u64() % 990_000_000_000)?;
    let factors = pool.map_vecs(numbers.chunks(1), 64, |n, _| {
        let factors = kernels::factor(n[0]);
        factors.iter().flat_map(|(p, times)| vec![p; times as usize]).collect::<Vec<u64>>()
    })?;
    for (n, factors) in numbers.as_slice().iter().zip(factors.iter()) {
        assert_eq!(factors.iter().product::<u64>(), *n);
        assert!(factors.iter().all(|&p| kernels::is_prime(p)));
        assert!(factors.is_sorted());
    }
    println!("{} = {:?}", numbers.as_slice()[0], factors.get(0));
    let primes = factors.iter().filter(|f| f.len() == 1).count();
    println!("{primes} of {} numbers are primes", numbers.len());
    assert!(primes < 40);
    Ok(())
}
