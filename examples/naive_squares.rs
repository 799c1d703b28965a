//! A million (x + y)²: so little work that the tutorial's pool, which pickles each number, is many
//! times slower than a loop. Here the chunks stay where they are.

use std::time::Instant;

use pinpool::{Pool, SharedArray};

fn square_of_sum(x: &[f64], y: &[f64], z: &mut [f64]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = (x + y) * (x + y);
    }
}

pub(crate) fn main() -> pinpool::Result<()> {
    let n = 1_000_000;
    let pool = Pool::new()?;
    let x = SharedArray::collect((0..n).map(f64::from))?;
    let y = SharedArray::collect((0..n).map(|i| f64::from(2 * i)))?;
    let mut serial = vec![0.0; n as usize];
    let mut z = SharedArray::<f64, _>::zeros(n as usize)?;

    let (mut loops, mut pools) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        square_of_sum(x.as_slice(), y.as_slice(), &mut serial);
        loops.push(start.elapsed());

        let start = Instant::now();
        let rows = 32_768;
        pool.for_each((x.chunks(rows), y.chunks(rows), z.chunks_out(rows)), |(x, y, mut z), _| {
            square_of_sum(x.as_slice(), y.as_slice(), z.as_slice_mut());
        })?;
        pools.push(start.elapsed());
    }
    let (serial_time, pool_time) = (loops.iter().min(), pools.iter().min());
    println!("loop: {serial_time:?}, {} workers: {pool_time:?}", pool.workers());
    assert_eq!(z.as_slice(), serial);
    assert_eq!(z.as_slice()[1000], 9_000_000.0);
    Ok(())
}
