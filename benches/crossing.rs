//! From which size on does the pool beat a serial loop at next to nothing of work?
//!
//! z = (x + y)² over n elements, the tutorial's naive case: a serial vectorised loop, the pool with
//! its workers awake, the pool with its workers asleep; medians in µs, and what the pool costs
//! beside the loop. Answers are checked.
//!
//! `cargo bench --bench crossing`

use std::time::{Duration, Instant};

use pinpool::{Pool, SharedArray};

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn measure(rounds: usize, pause: Duration, mut f: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64() * 1e6
    });
    median(times.collect())
}

fn squares(x: &[f64], y: &[f64], z: &mut [f64]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        let s = x + y;
        *z = s * s;
    }
}

fn main() {
    let pool = Pool::new().expect("a pool");
    println!("{} workers; µs", pool.workers());
    println!("{:>10} {:>10} {:>10} {:>10}", "n", "serial", "awake", "parked");
    for n in [1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000] {
        let mut x = SharedArray::<f64, _>::zeros(n).expect("an array");
        let mut y = SharedArray::<f64, _>::zeros(n).expect("an array");
        let mut z = SharedArray::<f64, _>::zeros(n).expect("an array");
        x.view_mut().indexed_iter_mut().for_each(|(i, v)| *v = i as f64);
        y.view_mut().fill(1.0);
        let rounds = (20_000_000 / n).clamp(9, 2_001);
        let mut own = vec![0.0; n];
        let serial = measure(rounds, Duration::ZERO, || {
            squares(x.as_slice(), y.as_slice(), std::hint::black_box(&mut own));
        });
        // Chunks that are worth a claim: a function of the call, not of the workers.
        let chunk = (n / 64).clamp(1_024, 32_768);
        let mut job = || {
            let args = (x.chunks(chunk), y.chunks(chunk), z.chunks_out(chunk));
            pool.for_each(args, |(x, y, mut z), _| {
                squares(x.as_slice(), y.as_slice(), z.as_slice_mut());
            })
            .expect("done");
        };
        job();
        let awake = measure(rounds, Duration::ZERO, &mut job);
        let parked = measure(rounds.min(101), Duration::from_millis(2), &mut job);
        assert_eq!(z.as_slice(), own);
        let mark = |t: f64| if t < serial { "*" } else { "" };
        println!(
            "{n:>10} {serial:>10.1} {:>10} {:>10}",
            format!("{awake:.1}{}", mark(awake)),
            format!("{parked:.1}{}", mark(parked))
        );
    }
    println!("* faster than the loop");
}
