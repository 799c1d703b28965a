//! What does a trace cost? The same job on two pools, with and without, in turns; the slots are
//! compared. `cargo bench --bench trace`

use std::hint::black_box;
use std::time::{Duration, Instant};

use pinpool::{Pool, indices};

const CHUNKS: u64 = 2000;
const ROUNDS: usize = 41;

fn pool(trace: bool) -> Pool {
    let builder = Pool::builder().workers(2).oversubscribe(true);
    let builder = if trace { builder.trace(1 << 17) } else { builder };
    builder.build().expect("a pool starts")
}

/// A chunk of some tens of microseconds.
fn busy(chunk: u64) -> u64 {
    (0..20_000u64)
        .fold(chunk, |x, i| black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i)))
}

fn time(pool: &Pool) -> (Duration, Vec<u64>) {
    let start = Instant::now();
    let slots = pool.map(indices(CHUNKS), |i, _| busy(i)).expect("the job runs");
    (start.elapsed(), slots.as_slice().to_vec())
}

fn main() {
    let pools = [pool(false), pool(true), pool(false)];
    let expected: Vec<u64> = (0..CHUNKS).map(busy).collect();
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (pool, times) in pools.iter().zip(&mut times) {
            let (time, slots) = time(pool);
            assert_eq!(slots, expected);
            times.push(time);
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    });
    let [off, on, off_again] = medians;
    let ratio = |a: Duration| (a.as_secs_f64() / off.as_secs_f64() - 1.0) * 100.0;
    println!("{CHUNKS} chunks of {:?}: off {off:?}", off * 2 / CHUNKS as u32);
    println!("on        {on:?} ({:+.2} %)", ratio(on));
    println!("off again {off_again:?} ({:+.2} %: the noise)", ratio(off_again));
}
