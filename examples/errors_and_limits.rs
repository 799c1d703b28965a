//! What goes wrong, and where it ends: errors by chunk, an initializer, workers that are replaced,
//! time limits, cancelling, closing.

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use pinpool::{Error, JobError, Param, Pool, indices};

static TABLE: OnceLock<Vec<u64>> = OnceLock::new();

fn root(n: u64) -> Result<u64, String> {
    let root = n.isqrt();
    if root * root == n { Ok(root) } else { Err(format!("{n} is no square")) }
}

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::builder()
        .workers(2)
        .oversubscribe(true)
        // `initializer=f, initargs=(10,)` and `maxtasksperchild=3`
        .initializer(10u64, |n, _| TABLE.set((0..n).map(|i| i * i).collect()).unwrap())
        .max_chunks_per_worker(3)
        .build()?;
    let look_up = pool.map(indices(10), |i, _| TABLE.get().unwrap()[i as usize])?;
    assert_eq!(look_up.total(), 285);

    // An error ends the job, the lowest chunk's of those that failed until then; or all of them.
    let first = pool.try_map(indices(6), |i, _| root(i)).unwrap_err();
    assert!(matches!(&first, Error::Job(JobError::Failed { chunk: 2..6, .. })), "{first}");
    let all = pool.try_map_all(indices(6), |i, _| root(i))?;
    let failed: Vec<_> = all.failures().map(|failure| failure.chunk).collect();
    assert_eq!((all.get(4).ok(), failed), (Some(2), vec![2, 3, 5]));

    // Libraries with threads of their own get one a worker, unless somebody said otherwise.
    let threads = pool.call((), |(), _| {
        std::env::var("OMP_NUM_THREADS").map_or(0, |n| n.parse().unwrap_or(0u64))
    })?;
    assert!(threads == 1 || std::env::var_os("OMP_NUM_THREADS").is_some());

    // A function that never returns: its worker is killed, and the pool goes on.
    let limit = Duration::from_millis(50);
    let end = pool.job().time_limit(limit).call((), |(), _| sleep(Duration::MAX)).unwrap_err();
    assert!(matches!(end, Error::Job(JobError::Overran { .. })), "{end}");
    let end = pool.job().chunk_timeout(limit).call((), |(), _| sleep(Duration::MAX)).unwrap_err();
    assert!(matches!(end, Error::Job(JobError::Died { .. })), "{end}");
    pool.scope(|s| {
        let job = s.call((), |(), _| sleep(Duration::MAX))?;
        assert!(job.wait_timeout(limit).is_err());
        job.cancel();
        assert!(matches!(job.get(), Err(Error::Job(JobError::Cancelled))));
        Ok::<_, Error>(())
    })?;
    assert_eq!(pool.call(Param(6u64), |n, _| n * 7)?, 42);
    pool.close();
    pool.join();
    assert!(matches!(pool.call((), |(), _| 0u8), Err(Error::Job(JobError::Closed))));
    Ok(())
}
