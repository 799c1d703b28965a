//! F3: workers killed at random instants, a thousand in one job, and the result has the same bits.
//!
//! What the walk (`walk.rs`) cannot reach: real parallelism, restarts, futexes.

mod faults;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faults::{Dice, alone, kill_worker, open_descriptors, pool, serial, stir, watchdog};
use pinpool::{Chunk, ChunkMut, Ctx, Param, Pool, SharedArray};

const ROWS: usize = 64;

/// In place, with a rest in the middle, so that most kills meet a chunk that is half new.
fn slow_stir(mut c: ChunkMut<'_, u64, pinpool::ndarray::Ix1>, rest_us: u64, ctx: &mut Ctx) {
    let (first, second) = c.as_slice_mut().split_at_mut(ROWS / 2);
    stir(first, ctx);
    if rest_us > 0 {
        std::thread::sleep(Duration::from_micros(rest_us));
    }
    stir(second, ctx);
}

fn run(pool: &Pool, chunks: usize, rest_us: u64) -> Vec<u64> {
    let mut x = SharedArray::<u64, _>::zeros(chunks * ROWS).expect("memory");
    pool.stream(3)
        .for_each((x.chunks_mut(ROWS), Param(rest_us)), |(c, rest), ctx| slow_stir(c, rest, ctx))
        .expect("the job survives");
    let sums = pool.map(x.chunks(ROWS), |c: Chunk<'_, u64, _>, _| c[0] ^ c[ROWS - 1]);
    let mut all = x.as_slice().to_vec();
    all.extend_from_slice(sums.expect("and so does the next").as_slice());
    all
}

/// Kills random workers while `work` runs; gives how many.
fn storm<R>(
    pool: &Pool,
    dice: &mut Dice,
    target: u64,
    pause_us: u64,
    work: impl FnOnce() -> R,
) -> (R, u64) {
    let (over, kills) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|s| {
        s.spawn(|| {
            while !over.load(Ordering::Relaxed) && kills.load(Ordering::Relaxed) < target {
                let all = pool.whereabouts();
                let one = &all[dice.below(all.len() as u64) as usize];
                kills.fetch_add(kill_worker(one.pid).into(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_micros(dice.below(2 * pause_us + 1)));
            }
        });
        let result = work();
        over.store(true, Ordering::Relaxed);
        result
    });
    (result, kills.into_inner())
}

#[test]
fn a_thousand_kills_in_one_job_change_no_bit() {
    let _alone = alone();
    let _watchdog = watchdog("the thousand kills", 240);
    let mut dice = Dice::new("a_thousand_kills_in_one_job_change_no_bit");
    let chunks = 16_000;
    let expected = run(&serial(), chunks, 0);
    let before = open_descriptors();
    let start = Instant::now();
    let pool = pool(8);
    let (got, kills) = storm(&pool, &mut dice, 1_000, 2_000, || run(&pool, chunks, 1_000));
    let deaths = pool.deaths();
    drop(pool);
    println!("8 workers: {kills} kills, {deaths} deaths recovered, {:?}", start.elapsed());
    assert!(got == expected, "the storm changed the result");
    assert!(kills >= 1_000, "only {kills} kills: make the job longer");
    assert!(deaths <= kills + 8);
    assert_eq!(faults::children(std::process::id()), [], "workers are left");
    assert_eq!(open_descriptors(), before, "descriptors are left");
}

#[test]
fn kills_of_one_worker_or_several_change_no_bit() {
    let _alone = alone();
    let _watchdog = watchdog("the small storms", 240);
    let mut dice = Dice::new("kills_of_one_worker_or_several_change_no_bit");
    for workers in 1..=7 {
        let chunks = 300 * workers;
        let expected = run(&serial(), chunks, 0);
        let pool = pool(workers);
        let (got, kills) = storm(&pool, &mut dice, 60, 4_000, || run(&pool, chunks, 1_000));
        println!("{workers} workers: {kills} kills, {} deaths recovered", pool.deaths());
        assert!(got == expected, "the storm changed the result on {workers} workers");
        assert!(kills > 0);
    }
}

#[test]
fn arrays_that_come_and_go_during_a_storm_hang_nothing() {
    let _alone = alone();
    let _watchdog = watchdog("arrays during a storm", 120);
    let mut dice = Dice::new("arrays_that_come_and_go_during_a_storm_hang_nothing");
    let pool = pool(3);
    let (_, kills) = storm(&pool, &mut dice, 150, 3_000, || {
        std::thread::scope(|s| {
            for thread in 0..3u64 {
                let pool = &pool;
                s.spawn(move || {
                    for round in 0..1_500u64 {
                        let mut x = SharedArray::<u64, _>::zeros(600).expect("memory");
                        let each = (x.chunks_mut(8), Param(thread * 1_000 + round));
                        let add = |(mut c, p): (ChunkMut<'_, u64, _>, u64), _: &mut Ctx| {
                            c.iter_mut().for_each(|v| *v += p);
                        };
                        pool.for_each(each, add).expect("the job survives");
                        assert!(x.as_slice().iter().all(|&v| v == thread * 1_000 + round));
                    }
                });
            }
        });
    });
    println!("arrays and jobs from 3 threads: {kills} kills");
}
