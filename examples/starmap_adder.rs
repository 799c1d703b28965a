//! `Pool.starmap`: a function of several arguments over several lists at once is a tuple here.

use pinpool::{Pool, SharedArray, items};

fn add(x: f64, y: f64) -> f64 {
    x + y
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let sums =
        pool.map((items([1.0, 2.0, 3.0])?, items([4.0, 5.0, 6.0])?), |(x, y), _| add(x, y))?;
    println!("{:?}", sums.as_slice());
    assert_eq!(sums.as_slice(), [5.0, 7.0, 9.0]);

    // The same over whole chunks of arrays, written into a third one: no pickles, no copies.
    let n = 100_000;
    let x = SharedArray::collect((0..n).map(f64::from))?;
    let y = SharedArray::collect((0..n).map(|i| f64::from(n - i)))?;
    let mut z = SharedArray::<f64, _>::zeros(n as usize)?;
    let rows = x.default_chunk();
    pool.for_each((x.chunks(rows), y.chunks(rows), z.chunks_out(rows)), |(x, y, mut z), _| {
        for ((z, &x), &y) in z.iter_mut().zip(x.iter()).zip(y.iter()) {
            *z = add(x, y);
        }
    })?;
    assert!(z.as_slice().iter().all(|&z| z == f64::from(n)));
    Ok(())
}
