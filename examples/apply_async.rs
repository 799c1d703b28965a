//! `apply_async`: single calls of different functions, all in flight at once.

use pinpool::{Param, Pool};

fn cube(x: u64) -> u64 {
    x * x * x
}

fn hypotenuse([a, b]: [f64; 2]) -> f64 {
    a.hypot(b)
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::new()?;
    let (cubes, c, who) = pool.scope(|s| {
        let cubes: Vec<_> =
            (1..=6).map(|x| s.call(Param(x), |x, _| cube(x))).collect::<pinpool::Result<_>>()?;
        let c = s.call(Param([3.0, 4.0]), |sides, _| hypotenuse(sides))?;
        let who = s.call((), |(), ctx| ctx.worker())?;
        let cubes = cubes.into_iter().map(|x| x.get()).collect::<pinpool::Result<Vec<_>>>()?;
        Ok::<_, pinpool::Error>((cubes, c.get()?, who.get()?))
    })?;
    println!("{cubes:?}, {c}, by worker {who} of {}", pool.workers());
    assert_eq!(cubes, [1, 8, 27, 64, 125, 216]);
    assert_eq!(c, 5.0);
    assert!(who < pool.workers());
    Ok(())
}
