//! xⁿ − 1 for a list of x and one n: the parameter that is the same for all is a `Param`.

use pinpool::{Param, Pool, items};

fn power_minus_one(x: u64, n: u32) -> u64 {
    x.pow(n) - 1
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    for n in 1..=5u32 {
        let powers = pool.map((items(1..=9u64)?, Param(n)), |(x, n), _| power_minus_one(x, n))?;
        println!("x^{n} - 1: {:?}", powers.as_slice());
        for (x, power) in (1..=9u64).zip(powers.as_slice()) {
            assert_eq!(power + 1, (0..n).map(|_| x).product::<u64>());
        }
    }
    Ok(())
}
