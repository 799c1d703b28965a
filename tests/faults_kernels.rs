//! F4: kernels that die in every way a kernel can, once or each time; F5: stopped workers.

mod faults;

use std::sync::mpsc::channel;
use std::time::Duration;

use faults::{alone, pool, serial, signal_child, stir, wait_until, watchdog};
use pinpool::ndarray::Ix1;
use pinpool::{
    ArgsError, Backend, ChunkMut, ChunkUndo, Ctx, Death, Error, JobError, OnDeath, Param, Pool,
    SharedArray, UndoLog, indices, kernels,
};
use rustix::process::Signal;

/// Dies in the way `how` says.
fn die(how: u64) {
    match how {
        // SAFETY: not safe: that is the point. The address is never mapped.
        0 => unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) },
        1 => {
            // SAFETY: ends this process by the signal of a page beyond a file's end.
            unsafe { libc::raise(libc::SIGBUS) };
        }
        2 => {
            // SAFETY: as above, of an illegal instruction.
            unsafe { libc::raise(libc::SIGILL) };
        }
        3 => {
            // SAFETY: as above, of a division by zero.
            unsafe { libc::raise(libc::SIGFPE) };
        }
        4 => std::process::abort(),
        5 => std::process::exit(3),
        _ => {
            let mut deep = [0u8; 1 << 16];
            deep[0] = how as u8;
            std::hint::black_box(&deep);
            // An overflow of the stack.
            die(std::hint::black_box(how + 1));
            std::hint::black_box(&deep);
        }
    }
}

const WAYS: [(u64, Death); 7] = [
    (0, Death::Signal(11)),
    (1, Death::Signal(7)),
    (2, Death::Signal(4)),
    (3, Death::Signal(8)),
    (4, Death::Signal(6)),
    (5, Death::Exit(3)),
    // Workers start before std sets its handler up, which would make it SIGABRT.
    (6, Death::Signal(11)),
];

const CHUNKS: usize = 40;
const ROWS: usize = 16;

/// Half of the chunk, then death in chunk 17 up to `times` incarnations, then the other half.
fn dying_stir((mut c, (how, times)): (ChunkMut<'_, u64, Ix1>, (u64, u64)), ctx: &mut Ctx) {
    let (first, second) = c.as_slice_mut().split_at_mut(ROWS / 2);
    stir(first, ctx);
    if ctx.chunk() == 17 && u64::from(ctx.incarnation()) < times {
        die(how);
    }
    stir(second, ctx);
}

fn run(pool: &Pool, how: u64, times: u64, on_death: OnDeath) -> (Vec<u64>, pinpool::Result<()>) {
    let mut x = SharedArray::<u64, _>::zeros(CHUNKS * ROWS).expect("memory");
    let parameter = Param([how, times]);
    let end = pool.stream(3).on_death(on_death).for_each(
        (x.chunks_mut(ROWS), parameter),
        |(c, [how, times]): (ChunkMut<'_, u64, Ix1>, [u64; 2]), ctx| {
            dying_stir((c, (how, times)), ctx);
        },
    );
    (x.as_slice().to_vec(), end)
}

#[test]
fn a_kernel_that_dies_once_changes_no_bit() {
    let _watchdog = watchdog("kernels that die once", 120);
    let (expected, end) = run(&serial(), 0, 0, OnDeath::Retry);
    end.expect("nothing dies");
    for (how, death) in WAYS {
        // One worker, so that the second incarnation meets the same chunk.
        let pool = pool(1);
        let (got, end) = run(&pool, how, 1, OnDeath::Retry);
        end.unwrap_or_else(|e| panic!("{death}: {e}"));
        assert_eq!(got, expected, "{death}");
        assert_eq!(pool.deaths(), 1, "{death}");
    }
}

#[test]
fn a_kernel_that_dies_each_time_ends_its_job_and_nothing_else() {
    let _watchdog = watchdog("kernels that die each time", 120);
    let (expected, _) = run(&serial(), 0, 0, OnDeath::Retry);
    let pool = pool(2);
    for (how, expected_death) in WAYS {
        let (got, end) = run(&pool, how, u64::MAX, OnDeath::Retry);
        let error = end.expect_err("three deaths");
        let Error::Job(JobError::Died { kernel, chunk, death, deaths, note, .. }) = &error else {
            panic!("{error:?}");
        };
        assert_eq!((*chunk, *death, *deaths), (17, expected_death, 3));
        assert!(kernel.contains("faults_kernels"), "{kernel}");
        // A crash says where its core went, an exit whose fault it is.
        let about = if expected_death == Death::Exit(3) { "end its process" } else { "core" };
        assert!(note.contains(about), "{note}");
        let text = error.to_string();
        assert!(text.contains("chunk 17") && text.contains(&expected_death.to_string()), "{text}");
        // Each chunk is wholly old or wholly new.
        for (c, (got, new)) in got.chunks(ROWS).zip(expected.chunks(ROWS)).enumerate() {
            assert!(got == new && c != 17 || got.iter().all(|&v| v == 0), "chunk {c} is torn");
        }
        let squares = pool.map(indices(9), |i, _| i * i).expect("the pool lives on");
        assert_eq!(squares.as_slice()[8], 64);
    }
}

#[test]
fn a_job_that_asks_for_it_ends_at_the_first_death() {
    let _watchdog = watchdog("on_death(Fail)", 60);
    let pool = pool(2);
    let (got, end) = run(&pool, 4, u64::MAX, OnDeath::Fail);
    let error = end.expect_err("one death is enough");
    assert!(matches!(error, Error::Job(JobError::Died { deaths: 1, chunk: 17, .. })), "{error:?}");
    assert!(got[17 * ROWS..18 * ROWS].iter().all(|&v| v == 0), "the chunk is put back");
}

/// Says that it is half way, by a file, and goes on after a while.
fn sleepy((mut c, ms): (ChunkMut<'_, u64, Ix1>, u64), _: &mut Ctx) {
    let (first, second) = c.as_slice_mut().split_at_mut(ROWS / 2);
    first.iter_mut().for_each(|v| *v += 1);
    std::thread::sleep(Duration::from_millis(ms));
    second.iter_mut().for_each(|v| *v += 1);
}

type Three<'w> = (ChunkUndo<'w, u64, Ix1>, ChunkMut<'w, u8, Ix1>, u64, ChunkUndo<'w, u64, Ix1>);

/// Tiles of an odd length, and between two of them what `how` says: 1 a death, 2 a panic, in each
/// third chunk's first attempt (a panic in chunk 17 alone).
fn dying_tiles((mut a, mut b, how, mut c): Three<'_>, ctx: &mut Ctx) {
    let (chunk, incarnation) = (ctx.chunk(), ctx.incarnation());
    let mut tiles = 0;
    let mut trouble = || {
        tiles += 1;
        match how {
            // SAFETY: kills this worker.
            1 if tiles % 4 == 3 && chunk % 3 == 0 && incarnation < 2 => unsafe {
                libc::raise(libc::SIGKILL);
            },
            2 if tiles == 9 && chunk == 17 => panic!("in the middle"),
            _ => {}
        }
    };
    b.as_slice_mut().iter_mut().for_each(|v| *v = v.wrapping_mul(3).wrapping_add(1));
    for x in [&mut a, &mut c] {
        x.for_each_tile(3, |tile| {
            let (first, second) = tile.split_at_mut(1);
            first.iter_mut().for_each(|v| *v = v.wrapping_mul(5).wrapping_add(chunk));
            trouble();
            second.iter_mut().for_each(|v| *v = v.wrapping_mul(7).wrapping_add(chunk));
        });
        // In other tiles once more: what was kept first is what counts.
        x.for_each_tile(5, |tile| {
            tile.iter_mut().for_each(|v| *v ^= chunk << 7);
            trouble();
        });
    }
}

#[test]
fn undo_copies_that_the_kernel_takes_are_as_good_as_those_before_it() {
    let _watchdog = watchdog("chunks_undo", 60);
    let _alone = alone();
    let start = |i: usize| i as u64 * 11;
    let run = |pool: &Pool, how: u64| {
        let mut a = SharedArray::<u64, _>::zeros(CHUNKS * ROWS).expect("memory");
        let mut b = SharedArray::<u8, _>::zeros(CHUNKS * 5).expect("memory");
        let mut c = SharedArray::<u64, _>::zeros(CHUNKS * ROWS - 2).expect("memory");
        for x in [&mut a, &mut c] {
            x.as_mut_slice().iter_mut().enumerate().for_each(|(i, v)| *v = start(i));
        }
        let end = pool.for_each(
            (a.chunks_undo(ROWS), b.chunks_mut(5), Param(how), c.chunks_undo(ROWS)),
            dying_tiles,
        );
        (a.as_slice().to_vec(), b.as_slice().to_vec(), c.as_slice().to_vec(), end)
    };
    let expected = run(&serial(), 0);
    expected.3.expect("it works");
    let pool = pool(3);
    let got = run(&pool, 1);
    got.3.expect("it survives");
    assert!(pool.deaths() >= 4, "{} deaths", pool.deaths());
    assert_eq!((got.0, got.1, got.2), (expected.0, expected.1, expected.2));
    // After a panic its own chunk is as it was before the job, on each backend.
    let threads = Pool::builder().workers(2).oversubscribe(true).backend(Backend::Threads);
    for pool in [&pool, &serial(), &threads.build().expect("a pool")] {
        let (a, b, c, end) = run(pool, 2);
        assert!(end.expect_err("a panic").to_string().contains("in the middle"));
        let rows = 17 * ROWS..18 * ROWS;
        let old: Vec<_> = rows.clone().map(start).collect();
        assert_eq!((&a[rows.clone()], &c[rows]), (&old[..], &old[..]));
        assert_eq!(b[17 * 5..18 * 5], [0; 5]);
    }
}

/// The flagship, killed at random by itself: after each block's undo copy, in some chunks.
fn dying_flagship((c, _): (ChunkUndo<'_, f64, Ix1>, u64), ctx: &mut Ctx) -> f64 {
    struct Dying<'a>(UndoLog<'a, f64>, bool);
    impl kernels::Undo for Dying<'_> {
        fn old(&mut self) -> &mut [f64] {
            self.0.room()
        }

        fn kept(&mut self, n: usize) {
            self.0.kept(n);
            if self.1 && n > 1024 {
                // SAFETY: kills this worker.
                unsafe { libc::raise(libc::SIGKILL) };
            }
        }
    }
    let dies = ctx.chunk().is_multiple_of(5) && ctx.incarnation() < 3;
    let (a, old) = c.with_undo();
    kernels::trig_power_in_place_sum_undo(a, 3, Dying(old, dies))
}

#[test]
fn the_flagship_that_keeps_its_undo_copies_survives_deaths_between_its_blocks() {
    let _watchdog = watchdog("the flagship, killed", 60);
    let _alone = alone();
    const N: usize = 100_000;
    let run = |pool: &Pool, kernel: fn(&Pool, &mut SharedArray<f64, Ix1>) -> Vec<f64>| {
        let mut x = SharedArray::<f64, _>::zeros(N).expect("memory");
        let fill = pool.job().stream(9);
        fill.for_each(x.chunks_out(4_000), |mut c, ctx| ctx.rng().fill_uniform(&mut c))
            .expect("filled");
        let sums = kernel(pool, &mut x);
        (x.as_slice().to_vec(), sums)
    };
    let expected = run(&serial(), |pool, x| {
        let sums = pool.map(x.chunks_mut(4_000), |mut c, _| {
            kernels::trig_power_in_place_sum(c.as_slice_mut(), 3)
        });
        sums.expect("it works").as_slice().to_vec()
    });
    let pool = pool(3);
    let got = run(&pool, |pool, x| {
        let sums = pool.map((x.chunks_undo(4_000), Param(0)), dying_flagship);
        sums.expect("it survives").as_slice().to_vec()
    });
    assert!(pool.deaths() >= 3, "{} deaths", pool.deaths());
    assert_eq!(got, expected);
}

#[test]
fn a_stopped_worker_is_not_taken_for_dead_and_no_chunk_is_applied_twice() {
    let _alone = alone();
    let _watchdog = watchdog("stopped workers", 120);
    let pool = pool(3);
    let me = std::process::id();
    let mut x = SharedArray::<u64, _>::zeros(60 * ROWS).expect("memory");
    let (send, over) = channel();
    std::thread::scope(|s| {
        let (pool, x) = (&pool, &mut x);
        s.spawn(move || {
            let end = pool.for_each((x.chunks_mut(ROWS), Param(20u64)), sleepy);
            send.send(end).expect("the test waits");
        });
        std::thread::sleep(Duration::from_millis(60));
        let victim = pool.whereabouts()[1].pid;
        assert!(signal_child(victim, me, Signal::STOP));
        // Long enough for the other two to do all the rest.
        assert!(over.recv_timeout(Duration::from_millis(1_500)).is_err(), "it holds a chunk");
        assert_eq!(pool.deaths(), 0, "a silent worker is not dead");
        assert!(signal_child(victim, me, Signal::CONT));
        over.recv_timeout(Duration::from_secs(30)).expect("it goes on").expect("and ends well");
    });
    assert!(x.as_slice().iter().all(|&v| v == 1), "applied once");
    assert_eq!(pool.deaths(), 0);
}

#[test]
fn a_stopped_worker_that_is_killed_is_recovered() {
    let _alone = alone();
    let _watchdog = watchdog("stopped and killed", 120);
    let pool = pool(2);
    let me = std::process::id();
    let mut x = SharedArray::<u64, _>::zeros(40 * ROWS).expect("memory");
    std::thread::scope(|s| {
        let (pool, x) = (&pool, &mut x);
        let job = s.spawn(move || pool.for_each((x.chunks_mut(ROWS), Param(10u64)), sleepy));
        std::thread::sleep(Duration::from_millis(50));
        let victim = pool.whereabouts()[0].pid;
        assert!(signal_child(victim, me, Signal::STOP));
        std::thread::sleep(Duration::from_millis(100));
        assert!(signal_child(victim, me, Signal::KILL));
        job.join().expect("no panic").expect("it ends well");
    });
    assert!(x.as_slice().iter().all(|&v| v == 1), "applied once");
    assert!(wait_until(10, || pool.deaths() == 1));
}

#[test]
fn a_worker_stopped_while_idle_keeps_no_job_from_the_others() {
    let _alone = alone();
    let _watchdog = watchdog("stopped while idle", 60);
    let pool = pool(3);
    pool.call((), |(), _| 0u8).expect("it works");
    let victim = pool.whereabouts()[2].pid;
    assert!(signal_child(victim, std::process::id(), Signal::STOP));
    for i in 0..20u64 {
        assert_eq!(pool.call(Param(i), |i, _| i + 1).expect("others do it"), i + 1);
    }
    assert!(signal_child(victim, std::process::id(), Signal::CONT));
}

#[test]
fn a_chunk_that_kills_each_worker_is_skipped_where_the_caller_asks_for_all_outcomes() {
    let _watchdog = watchdog("skipped chunks", 60);
    let pool = pool(2);
    let mut x = SharedArray::<u64, _>::zeros(CHUNKS * ROWS).expect("memory");
    let outcomes = pool
        .try_map_all(x.chunks_mut(ROWS), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
            c.iter_mut().for_each(|v| *v += 1);
            match ctx.chunk() {
                17 | 30 => std::process::abort(),
                20 => Err("twenty"),
                n => Ok(n * 2),
            }
        })
        .expect("the job goes on");
    let bad: Vec<_> = outcomes.failures().map(|e| (e.chunk, e.died, e.panicked)).collect();
    assert_eq!(bad, [(17, true, false), (20, false, false), (30, true, false)]);
    let error = outcomes.get(17).expect_err("it died");
    assert!(error.to_string().contains("SIGABRT"), "{error}");
    assert_eq!(outcomes.values().count(), CHUNKS - 3);
    assert_eq!(outcomes.get(39).expect("a good one"), 78);
    for (i, c) in x.as_slice().chunks(ROWS).enumerate() {
        let expected = u64::from(![17, 20, 30].contains(&i));
        assert!(c.iter().all(|&v| v == expected), "chunk {i} is wholly old or wholly new");
    }
    assert_eq!(pool.deaths(), 6);
}

#[test]
fn a_chunk_that_takes_long_is_told_of_and_goes_on() {
    let _watchdog = watchdog("stalls that are told", 60);
    let kernel = |i: u64, _: &mut Ctx| {
        std::thread::sleep(Duration::from_millis(if i == 7 { 1_500 } else { 1 }));
        i
    };
    let threads = Pool::builder().backend(Backend::Threads).workers(2).oversubscribe(true).build();
    for pool in [pool(2), threads.expect("a pool")] {
        let told = std::cell::RefCell::new(Vec::new());
        let all = pool
            .job()
            .on_stall(Duration::from_millis(400), &|s| told.borrow_mut().push(s))
            .map(indices(12), kernel)
            .expect("it goes on");
        assert_eq!(all.as_slice()[7], 7);
        assert_eq!(pool.deaths(), 0);
        let told = told.into_inner();
        // Another chunk is told of only where the machine has kept its worker from running.
        let [stall] = told.iter().filter(|s| s.chunk == 7).collect::<Vec<_>>()[..] else {
            panic!("once, and not {told:?}");
        };
        assert!(stall.elapsed >= Duration::from_millis(400));
        assert_eq!(stall.pid, pool.whereabouts()[stall.worker].pid);
    }
}

#[test]
fn a_chunk_that_is_told_of_and_then_killed_is_told_of_at_each_attempt() {
    let _watchdog = watchdog("stalls that are told and killed", 60);
    let pool = pool(1);
    let told = std::cell::RefCell::new(Vec::new());
    let end = pool
        .job()
        .chunk_timeout(Duration::from_millis(600))
        .on_stall(Duration::from_millis(150), &|s| told.borrow_mut().push(s))
        .for_each(indices(3), |i, _| {
            if i == 1 {
                std::thread::sleep(Duration::from_secs(30));
            }
        });
    let error = end.expect_err("three attempts");
    let overdue = matches!(
        error,
        Error::Job(JobError::Died { chunk: 1, death: Death::Overdue, deaths: 3, .. })
    );
    assert!(overdue, "{error:?}");
    let told = told.into_inner();
    let pids: Vec<u32> = told.iter().filter(|s| s.chunk == 1).map(|s| s.pid).collect();
    assert_eq!(pids.len(), 3, "{told:?}");
    assert!(pids[0] != pids[1] && pids[1] != pids[2], "{told:?}");
}

#[test]
fn a_chunk_of_a_part_that_takes_long_is_told_of_by_its_number_in_the_whole() {
    let _watchdog = watchdog("stalls of a part", 60);
    let told = std::cell::RefCell::new(Vec::new());
    pool(2)
        .job()
        .part_of(6, 10)
        .on_stall(Duration::from_millis(100), &|s| told.borrow_mut().push(s.chunk))
        .for_each(indices(4), |i, _| {
            std::thread::sleep(Duration::from_millis(if i == 8 { 600 } else { 1 }));
        })
        .expect("it goes on");
    assert!(told.into_inner().contains(&8));
}

#[test]
fn a_chunk_lost_with_its_file_is_one_verdict_of_a_job_that_keeps_going() {
    let _watchdog = watchdog("a truncated file, kept going", 60);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("array.npy");
    // SAFETY: not kept: that somebody truncates it is what is tested.
    let made = unsafe { SharedArray::<u64, Ix1>::create_file(&path, 64 * 1024) };
    let mut x = made.expect("a file");
    let pool = pool(2);
    let outcomes = std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("ours");
            file.set_len(4_096).expect("ours");
        });
        // All but the first chunk are through before the file is cut.
        pool.try_map_all(x.chunks_mut(8 * 1024), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
            if ctx.chunk() == 0 {
                std::thread::sleep(Duration::from_millis(800));
            }
            c[0] += 1;
            Ok::<u64, String>(ctx.chunk())
        })
    });
    let outcomes = outcomes.expect("the job goes on");
    let failures: Vec<_> = outcomes.failures().map(|e| (e.chunk, e.died, e.to_string())).collect();
    let [(0, true, text)] = &failures[..] else { panic!("{failures:?}") };
    assert!(text.contains("1 deaths") && text.contains("SIGBUS"), "{text}");
    assert_eq!(outcomes.values().count(), 7);
}

#[test]
fn a_file_truncated_under_a_job_is_a_clear_error_and_the_pool_lives_on() {
    let _watchdog = watchdog("a truncated file", 60);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("array.npy");
    // SAFETY: not kept: that somebody truncates it is what is tested.
    let made = unsafe { SharedArray::<u64, Ix1>::create_file(&path, 64 * 1024) };
    let mut x = made.expect("a file");
    let pool = pool(2);
    let sleepy_touch = |mut c: ChunkMut<'_, u64, Ix1>, _: &mut Ctx| {
        c[0] += 1;
        std::thread::sleep(Duration::from_millis(800));
        let last = c.len() - 1;
        c[last] += 1;
    };
    let end = std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            let file = std::fs::OpenOptions::new().write(true).open(&path).expect("ours");
            file.set_len(4_096).expect("ours");
        });
        pool.for_each(x.chunks_mut(8 * 1024), sleepy_touch)
    });
    // The parent would have met the same fault, had it put the chunk back.
    let error = end.expect_err("its memory is gone");
    let text = error.to_string();
    assert!(matches!(error, Error::Job(JobError::Died { death: Death::Signal(7), .. })), "{text}");
    assert!(text.contains("SIGBUS") && text.contains("truncated"), "{text}");
    // What can be seen beforehand is refused beforehand.
    let next = pool.for_each(x.chunks_mut(8 * 1024), sleepy_touch).expect_err("still");
    let refused = matches!(next, Error::Args(ArgsError::Truncated { .. }));
    assert!(refused && next.to_string().contains("array.npy"), "{next}");
    let squares = pool.map(indices(9), |i, _| i * i).expect("the pool lives on");
    assert_eq!(squares.as_slice()[8], 64);
}
