//! Processes that put random numbers into a queue, and a caller that takes them out. In Python each
//! forked process would draw the same numbers unless it is seeded anew.

use std::collections::HashSet;

use pinpool::{Process, Queue};

const EACH: usize = 50;

pub(crate) fn main() -> pinpool::Result<()> {
    // Smaller than what goes through it: putters wait for the getter.
    let queue = Queue::<[u64; 2]>::new(8)?;
    let processes = (0..4)
        .map(|seed| {
            Process::builder().seed(seed).spawn(queue.clone(), |queue, ctx| {
                for _ in 0..EACH {
                    let item = [u64::from(std::process::id()), ctx.rng().next_u64()];
                    if queue.put(item).is_err() {
                        return 0;
                    }
                }
                EACH as u64
            })
        })
        .collect::<pinpool::Result<Vec<_>>>()?;

    let items: Vec<_> = (0..4 * EACH).map_while(|_| queue.get().ok()).collect();
    let who: HashSet<_> = items.iter().map(|item| item[0]).collect();
    let draws: HashSet<_> = items.iter().map(|item| item[1]).collect();
    println!("{} numbers from {} processes, all different", draws.len(), who.len());
    assert_eq!((draws.len(), who.len()), (4 * EACH, 4));
    for process in processes {
        assert_eq!(process.join()?, EACH as u64);
    }
    assert!(queue.is_empty());
    Ok(())
}
