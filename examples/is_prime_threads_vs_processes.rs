//! Which numbers are primes: serial, by threads and by processes. In Python threads do not help
//! here; in Rust they do, and processes cost no more, since they share the arrays as well.

use std::time::Instant;

use pinpool::{Backend, Pool, SharedArray, kernels};

pub(crate) fn main() -> pinpool::Result<()> {
    let numbers = SharedArray::collect((0..50_000u64).map(|i| 100_000_000_000_000 + i))?;
    let mut counts = Vec::new();
    for backend in [Backend::Serial, Backend::Threads, Backend::Processes] {
        let pool = Pool::builder().backend(backend).build()?;
        let mut prime = SharedArray::<u8, _>::zeros(numbers.len())?;
        let start = Instant::now();
        pool.for_each((numbers.chunks(1000), prime.chunks_out(1000)), |(n, mut prime), _| {
            kernels::is_prime_slice(n.as_slice(), prime.as_slice_mut());
        })?;
        println!("{backend:9} {} workers: {:?}", pool.workers(), start.elapsed());
        let primes = numbers.as_slice().iter().zip(prime.as_slice());
        counts.push(primes.filter(|(_, prime)| **prime != 0).map(|(n, _)| *n).collect::<Vec<_>>());
    }
    println!("{} primes, the first is {}", counts[0].len(), counts[0][0]);
    assert_eq!(counts[0][0], 100_000_000_000_031);
    assert!(counts[0].iter().all(|&n| kernels::is_prime(n)));
    assert!(counts[0] == counts[1] && counts[1] == counts[2]);
    Ok(())
}
