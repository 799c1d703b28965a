//! Two functions, one pool: square an array in place, then sum it. In Python the squares of a
//! worker are lost with its copy of the list; here they are in the caller's array.

use pinpool::{Pool, SharedArray};

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let mut x = SharedArray::collect(1..=1000u64)?;
    pool.for_each(x.chunks_mut(64), |mut c, _| c.iter_mut().for_each(|v| *v *= *v))?;
    assert_eq!(x.as_slice()[999], 1_000_000);

    let sums = pool.map(x.chunks(64), |c, _| c.sum())?;
    let total = sums.total();
    let largest = pool.map_reduce(x.chunks(64), |c, _| c[c.len() - 1], u64::max)?;
    println!("sum of squares: {total}, the largest: {largest:?}");
    assert_eq!(total, 333_833_500);
    assert_eq!(largest, Some(1_000_000));
    Ok(())
}
