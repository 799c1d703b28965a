//! Who runs what: the chunks run in other processes, each bound to a place of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use pinpool::{Pool, Process, indices};

pub(crate) fn main() -> pinpool::Result<()> {
    let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    println!("the caller is process {}", std::process::id());
    for worker in pool.whereabouts() {
        println!("worker {} is process {} on PU {}", worker.worker, worker.pid, worker.pu);
    }
    let ids = pool.map(indices(20), |_, _| {
        std::thread::sleep(Duration::from_millis(2));
        std::process::id()
    })?;
    let mut chunks = BTreeMap::new();
    ids.as_slice().iter().for_each(|id| *chunks.entry(*id).or_insert(0) += 1);
    println!("chunks by process: {chunks:?}");
    let workers: Vec<_> = pool.whereabouts().iter().map(|worker| worker.pid).collect();
    assert!(chunks.keys().all(|id| workers.contains(id) && *id != std::process::id()));

    // `Process`: one process for one function, and its value comes back.
    let process = Process::spawn((), |(), _| std::process::id())?;
    let pid = process.pid();
    assert_eq!(process.join()?, pid);
    Ok(())
}
