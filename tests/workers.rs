//! What workers do to the host: their output, their idleness, their end.
use std::process::Command;
use std::time::{Duration, Instant};

use pinpool::{Backend, Pool, indices};

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).oversubscribe(true).build().unwrap()
}

/// Runs one ignored test of this file in a process of its own and gives what it wrote.
fn run_alone(test: &str) -> (String, String) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(child.stdout), text(child.stderr))
}

#[test]
#[ignore = "run by lines_of_workers_do_not_mix, in a process whose output is read"]
fn writes_many_lines() {
    // The harness has begun a line.
    println!();
    let pool = pool(3);
    pool.for_each(indices(300), |i, ctx| {
        // Each argument of eprintln! is a write of its own.
        eprintln!("err {} of {} by {}{}", i, 300, ctx.worker(), ".".repeat(50));
        println!("out {} of {} by {}{}", i, 300, ctx.worker(), ".".repeat(50));
    })
    .unwrap();
    pool.for_each(indices(1), |_, _| print!("out without an end")).unwrap();
}

#[test]
fn lines_of_workers_do_not_mix() {
    let (out, err) = run_alone("writes_many_lines");
    for (text, mark) in [(&out, "out "), (&err, "err ")] {
        let lines: Vec<_> = text.lines().filter(|l| l.contains(" of 300 by ")).collect();
        assert_eq!(lines.len(), 300);
        for line in lines {
            assert!(line.starts_with(mark) && line.ends_with(&".".repeat(50)), "{line}");
            assert_eq!(line.matches(mark).count(), 1, "{line}");
        }
    }
    assert!(out.contains("out without an end\n"));
}

#[test]
#[ignore = "run by a_kernels_panic_is_not_on_the_terminal, in a process whose output is read"]
fn panics_once() {
    for backend in [Backend::Processes, Backend::Threads, Backend::Serial] {
        let pool = Pool::builder().workers(1).backend(backend).build().unwrap();
        let error = pool.for_each(indices(1), |_, _| panic!("quite unexpected")).unwrap_err();
        assert!(error.to_string().contains("quite unexpected"));
    }
}

#[test]
fn a_kernels_panic_is_not_on_the_terminal() {
    let (out, err) = run_alone("panics_once");
    assert!(!out.contains("quite unexpected") && !err.contains("quite unexpected"), "{out}{err}");
}

/// User and system time of a process so far, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit(')').next().unwrap();
    let fields: Vec<_> = after.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_idle_pool_uses_no_cpu() {
    let pool = pool(2);
    pool.for_each(indices(100), |_, _| ()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let pids: Vec<u32> = pool.whereabouts().iter().map(|w| w.pid).collect();
    let before: u64 = pids.iter().map(|&p| ticks(p)).sum();
    std::thread::sleep(Duration::from_millis(600));
    let after: u64 = pids.iter().map(|&p| ticks(p)).sum();
    // Spinning would be 60 ticks a worker.
    assert!(after - before <= 2, "{} ticks", after - before);
}

#[test]
fn a_dropped_pool_leaves_no_process() {
    for busy in [false, true] {
        let pool = pool(3);
        if busy {
            pool.for_each(indices(1000), |_, _| ()).unwrap();
        }
        let pids: Vec<u32> = pool.whereabouts().iter().map(|w| w.pid).collect();
        assert!(pids.iter().all(|p| std::fs::exists(format!("/proc/{p}")).unwrap()));
        drop(pool);
        for p in pids {
            let cmdline = std::fs::read_to_string(format!("/proc/{p}/cmdline"));
            assert!(!cmdline.is_ok_and(|c| c.contains("pinpool worker")), "process {p} is left");
        }
    }
}

#[test]
fn workers_are_where_the_plan_says() {
    let pool = Pool::new().unwrap();
    assert!(pool.workers() >= 1);
    for (place, whereabouts) in pool.plan().workers.iter().zip(pool.whereabouts()) {
        assert!(place.pus.contains(&whereabouts.pu), "{place:?} {whereabouts:?}");
    }
    let masks = pool
        .map(indices(pool.workers() as u64), |_, _| {
            std::thread::available_parallelism().map_or(0, usize::from) as u64
        })
        .unwrap();
    assert!(masks.as_slice().iter().all(|&m| m == 1));
}

#[test]
fn a_worker_cannot_build_a_pool() {
    let pool = pool(1);
    let refused = pool
        .call((), |(), _| {
            u8::from(Pool::new().is_err_and(|e| e.to_string().contains("worker process")))
        })
        .unwrap();
    assert_eq!(refused, 1);
}

#[test]
fn the_marker_is_not_in_the_environment_of_kernels() {
    let pool = Pool::builder().workers(1).env("PINPOOL_TEST_VARIABLE", "7").build().unwrap();
    let seen = pool
        .call((), |(), _| {
            let marked = std::env::vars().any(|(k, _)| k == "PINPOOL_WORKER");
            let given = std::env::var("PINPOOL_TEST_VARIABLE").as_deref() == Ok("7");
            let one = std::env::var("OMP_NUM_THREADS").is_ok();
            [u8::from(marked), u8::from(given), u8::from(one)]
        })
        .unwrap();
    assert_eq!(seen, [0, 1, 1]);
}

#[test]
fn dropped_arrays_are_unmapped_in_the_workers() {
    let pool = pool(1);
    let pid = pool.whereabouts()[0].pid;
    let mapped = || {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        maps.lines().filter(|l| l.contains("memfd:")).count()
    };
    let run = || {
        let mut x = pinpool::SharedArray::<f64, _>::zeros(100_000).unwrap();
        pool.for_each(x.chunks_out(1000), |mut c, _| c.fill(1.0)).unwrap();
    };
    run();
    let base = mapped();
    for _ in 0..50 {
        run();
    }
    let start = Instant::now();
    while mapped() > base + 1 && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(mapped() <= base + 1, "{} mappings, {base} at first", mapped());
}

#[test]
fn many_arrays_at_once_reach_a_worker_that_is_busy() {
    // More descriptors than a socket takes at once, while the worker reads none.
    let pool = pool(1);
    let arrays: Vec<_> = (0..600)
        .map(|i| pinpool::SharedArray::<u64, _>::from_array(&ndarray::arr1(&[i]).view()).unwrap())
        .collect();
    let sum: u64 = std::thread::scope(|s| {
        s.spawn(|| {
            pool.for_each(indices(1), |_, _| std::thread::sleep(Duration::from_millis(300)))
        });
        arrays.iter().map(|a| pool.map(a.chunks(1), |c, _| c[0]).unwrap().as_slice()[0]).sum()
    });
    assert_eq!(sum, 600 * 599 / 2);
}
