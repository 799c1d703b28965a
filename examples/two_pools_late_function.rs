//! Two pools at once, and functions that stand behind them in the text. In Python a worker that was
//! forked before a function was defined does not know it; here it is all one executable.

use pinpool::{Param, Pool, indices};

pub(crate) fn main() -> pinpool::Result<()> {
    let few = Pool::builder().workers(1).seed(1).build()?;
    let many = Pool::builder().workers(3).oversubscribe(true).seed(1).build()?;

    fn late(i: u64, shift: u64) -> u64 {
        (i << shift) + later(i)
    }

    let a = few.map((indices(50), Param(3)), |(i, shift), _| late(i, shift))?;
    let b = many.map((indices(50), Param(3)), |(i, shift), _| late(i, shift))?;
    println!("{} workers: {:?}", few.workers(), &a.as_slice()[..5]);
    println!("{} workers: {:?}", many.workers(), &b.as_slice()[..5]);
    assert_eq!(a.as_slice(), b.as_slice());
    assert_eq!(a.as_slice()[7], 57);
    assert_ne!(few.whereabouts()[0].pid, many.whereabouts()[0].pid);
    Ok(())
}

fn later(i: u64) -> u64 {
    i % 5 - i % 5 / 2
}
