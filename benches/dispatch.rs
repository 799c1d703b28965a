//! What does it cost to hand work to a worker and get its end back?
//!
//! Rows: an empty call while the worker spins, and parked, beside the same through rayon and
//! beside a raw futex between two processes on two cores; 100,000 calls, one by one and in flight;
//! a million empty chunks; a million elements through a trivial kernel, beside the serial loop; a
//! pool's start and end. Every row checks its answer. Medians and best of many. `benches/pools.py`
//! puts Python's pools beside them.
//!
//! `cargo bench --bench dispatch`

use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pinpool::{Backend, Bind, Pool, SharedArray, indices};
use rustix::thread::futex;

/// Idle before a call to a worker that is parked: long enough that its core sleeps too, and the
/// same for the raw futex, whose cost hangs on how deep the core sleeps.
const GAP: Duration = Duration::from_millis(2);

struct Row {
    name: &'static str,
    times: Vec<f64>,
}

impl Row {
    fn print(mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        let at = |q: f64| self.times[((self.times.len() - 1) as f64 * q) as usize];
        println!(
            "{:<50} best {:>9.2}  median {:>9.2}  p90 {:>9.2}  p99 {:>9.2}  mean {:>9.2} µs",
            self.name,
            at(0.0),
            at(0.5),
            at(0.9),
            at(0.99),
            self.times.iter().sum::<f64>() / self.times.len() as f64
        );
        at(0.5)
    }
}

fn time(name: &'static str, n: usize, mut f: impl FnMut()) -> f64 {
    for _ in 0..n / 10 + 1 {
        f();
    }
    let times = (0..n)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    Row { name, times }.print()
}

/// The floor of the machine: a wake-up of another process on another core and its answer, by
/// nothing but a futex in shared memory; the caller sleeps, or spins as the pool's caller does.
fn futex_ping_pong(pool: &Pool, spin: bool, name: &'static str) -> f64 {
    const N: u32 = 300;
    /// Ping and pong on cache lines of their own.
    fn words(x: &[u32]) -> [&AtomicU32; 2] {
        [0, 64].map(|i| {
            // SAFETY: inside the array, aligned, and used by both processes as atomics alone.
            unsafe { AtomicU32::from_ptr(x[i..].as_ptr().cast_mut()) }
        })
    }
    let flags = futex::Flags::empty();
    let x = SharedArray::<u32, _>::zeros(128).expect("an array");
    let mut times = Vec::new();
    pool.scope(|s| {
        let answer = s.call(x.whole(), |x, _| {
            let [ping, pong] = words(x.as_slice().expect("one run"));
            for i in 1..=N {
                while ping.load(Ordering::SeqCst) < i {
                    let _ = futex::wait(ping, futex::Flags::empty(), i - 1, None);
                }
                pong.store(i, Ordering::SeqCst);
                let _ = futex::wake(pong, futex::Flags::empty(), 1);
            }
            N
        });
        let [ping, pong] = words(x.as_slice());
        for i in 1..=N {
            std::thread::sleep(GAP);
            let start = Instant::now();
            ping.store(i, Ordering::SeqCst);
            let _ = futex::wake(ping, flags, 1);
            while pong.load(Ordering::SeqCst) < i {
                if spin {
                    std::hint::spin_loop();
                } else {
                    let _ = futex::wait(pong, flags, i - 1, None);
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        assert_eq!(answer.expect("a job").get().expect("a number"), N);
    });
    Row { name, times }.print()
}

fn pool(workers: usize, backend: Backend) -> Pool {
    Pool::builder().workers(workers).bind(Bind::Close).backend(backend).build().expect("a pool")
}

fn calls(pool: &Pool, what: [&'static str; 3]) {
    time(what[0], 20_000, || assert_eq!(pool.call((), |(), _| 7u64).expect("a result"), 7));
    let mut times = Vec::new();
    for _ in 0..300 {
        std::thread::sleep(GAP);
        let start = Instant::now();
        assert_eq!(pool.call((), |(), _| 7u64).expect("a result"), 7);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Row { name: what[1], times }.print();
    time(what[2], 5, || {
        for _ in 0..100_000 {
            assert_eq!(pool.call((), |(), _| 7u64).expect("a result"), 7);
        }
    });
}

/// All submitted before the first result is asked for.
fn in_flight(pool: &Pool, name: &'static str) {
    time(name, 5, || {
        pool.scope(|s| {
            let calls: Vec<_> =
                (0..100_000).map(|_| s.call((), |(), _| 7u64).expect("a job")).collect();
            for call in calls {
                assert_eq!(call.get().expect("a result"), 7);
            }
        });
    });
}

fn main() {
    // The caller on one core, the only worker of the one-worker pool on the other.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores; the caller on the last one");

    let one =
        Pool::builder().workers(1).bind("list:0".parse().expect("a list")).build().expect("a pool");
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: cores - 1 }));
    for _ in 0..2 {
        futex_ping_pong(&one, false, "raw futex between processes, both asleep");
        futex_ping_pong(&one, true, "raw futex between processes, caller spins");
    }
    calls(&one, ["call, 1 process, awake", "call, 1 process, parked", "100,000 calls, 1 process"]);
    in_flight(&one, "100,000 calls in flight, 1 process");
    million(&one, "1 process");
    drop(one);
    rayon(1);
    let two = pool(2, Backend::Processes);
    calls(
        &two,
        ["call, 2 processes, awake", "call, 2 processes, parked", "100,000 calls, 2 processes"],
    );
    in_flight(&two, "100,000 calls in flight, 2 processes");
    million(&two, "2 processes");
    chunks(&two, "1,000,000 empty chunks, 2 processes");
    drop(two);
    let threads = pool(2, Backend::Threads);
    calls(
        &threads,
        ["call, 2 threads, awake", "call, 2 threads, parked", "100,000 calls, 2 threads"],
    );
    million(&threads, "2 threads");
    chunks(&threads, "1,000,000 empty chunks, 2 threads");
    drop(threads);
    rayon(2);
    time("pool of 2 processes up and down", 20, || drop(pool(2, Backend::Processes)));
    let mut up = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let p = pool(2, Backend::Processes);
        up.push(start.elapsed().as_secs_f64() * 1e6);
        drop(p);
    }
    Row { name: "pool of 2 processes up", times: up }.print();
}

fn chunks(pool: &Pool, name: &'static str) {
    time(name, 10, || {
        let r = pool.map(indices(1_000_000), |i, _| i).expect("results");
        assert_eq!(r.as_slice()[999_999], 999_999);
    });
}

fn million(pool: &Pool, who: &str) {
    let n = 1_000_000;
    let mut x = SharedArray::<f64, _>::zeros(n).expect("an array");
    let mut y = vec![0.0f64; n];
    let serial = time("1,000,000 x += 1, serial loop", 200, || {
        black_box(&mut y).iter_mut().for_each(|v| *v += 1.0);
    });
    println!("   the pool: {who}");
    let chunk = x.default_chunk();
    let pooled = time("1,000,000 x += 1, in place with undo copies", 200, || {
        pool.for_each(x.chunks_mut(chunk), |mut c, _| {
            c.as_slice_mut().iter_mut().for_each(|v| *v += 1.0);
        })
        .expect("done");
    });
    let mut z = SharedArray::<f64, _>::zeros(n).expect("an array");
    let out = time("1,000,000 z = x + 1, out of place", 200, || {
        pool.for_each((x.chunks(chunk), z.chunks_out(chunk)), |(c, mut z), _| {
            for (z, x) in z.as_slice_mut().iter_mut().zip(c.as_slice()) {
                *z = x + 1.0;
            }
        })
        .expect("done");
    });
    assert_eq!(x.as_slice()[n - 1] as usize, 221);
    assert_eq!(z.as_slice()[n - 1] as usize, 222);
    println!(
        "   pool - serial: in place {:.1}, out of place {:.1} µs",
        pooled - serial,
        out - serial
    );
}

fn rayon(threads: usize) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    println!("   rayon, {threads} threads");
    time("rayon install, awake", 20_000, || assert_eq!(pool.install(|| black_box(7u64)), 7));
    let mut times = Vec::new();
    for _ in 0..300 {
        std::thread::sleep(GAP);
        let start = Instant::now();
        assert_eq!(pool.install(|| black_box(7u64)), 7);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Row { name: "rayon install, parked", times }.print();
    time("rayon scope, 100,000 spawns in flight", 5, || {
        let mut results = vec![0u64; 100_000];
        pool.scope(|s| {
            for result in &mut results {
                s.spawn(move |_| *result = black_box(7));
            }
        });
        assert!(results.iter().all(|&r| r == 7));
    });
    use rayon::prelude::*;
    time("rayon, 1,000,000 empty items", 10, || {
        let v: Vec<usize> =
            pool.install(|| (0..1_000_000usize).into_par_iter().with_max_len(1).collect());
        assert_eq!(v[999_999], 999_999);
    });
}
