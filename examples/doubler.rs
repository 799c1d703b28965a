//! `Pool.map` over a list: each worker doubles numbers; the results are in the order of the list.

use pinpool::{Pool, items};

fn double(x: i64) -> i64 {
    2 * x
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let numbers = [5, 10, 20];
    let doubled = pool.map(items(numbers)?, |x, _| double(x))?;
    println!("{numbers:?} doubled is {:?}", doubled.as_slice());
    assert_eq!(doubled.as_slice(), [10, 20, 40]);
    Ok(())
}
