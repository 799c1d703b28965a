//! How fast are the floating-point kernels over the pool, beside one core and beside rayon?
//!
//! Each kernel runs over the same 40,000,000 doubles, in the default chunks: in a loop over chunks
//! on one core, in worker processes, and in rayon's threads bound to the same cores. The three in
//! turn, medians of several rounds; the answers must have the same bits. ns an element, and the
//! ratios.
//!
//! `cargo bench --bench kernels`

use std::time::Instant;

use pinpool::kernels::{self, Lanes, tree_fold};
use pinpool::{Pool, SharedArray};
use rayon::prelude::*;

const N: usize = 40_000_000;
const ROUNDS: usize = 7;

/// What one way of running gave: seconds, and a number that must be the same for all.
type Run<'a> = Box<dyn FnMut() -> u64 + 'a>;

fn row(name: &str, ways: [Run<'_>; 3]) {
    let mut ways = ways;
    let mut times = [const { Vec::new() }; 3];
    let mut answers = Vec::new();
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            answers.push(way());
            times.push(start.elapsed().as_secs_f64() * 1e9 / N as f64);
        }
    }
    assert!(answers.iter().all(|a| *a == answers[0]), "{name}: not the same bits");
    let [serial, pool, rayon] = times.map(|mut t| {
        t.sort_by(f64::total_cmp);
        t[ROUNDS / 2]
    });
    println!(
        "{name:<34} {serial:>8.3} {pool:>8.3} {rayon:>8.3}   {:>6.2} {:>6.2}",
        serial / pool,
        rayon / pool
    );
}

fn lanes(chunk: u64) -> Lanes {
    Lanes::new(std::array::from_fn(|l| [chunk + 1, l as u64 + 1, 3, 4]))
}

fn total(slots: &[f64]) -> u64 {
    tree_fold(slots).to_bits()
}

fn main() {
    let pool = Pool::new().expect("a pool");
    let pus: Vec<usize> = pool.whereabouts().iter().map(|w| w.pu).collect();
    let threads = rayon::ThreadPoolBuilder::new()
        .num_threads(pool.workers())
        .start_handler(move |i| {
            core_affinity::set_for_current(core_affinity::CoreId { id: pus[i] });
        })
        .build()
        .expect("threads");
    let mut x = SharedArray::<f64, _>::zeros(N).expect("an array");
    let n = x.default_chunk();
    pool.for_each(x.chunks_out(n), |mut c, ctx| ctx.rng().fill_uniform(&mut c)).expect("filled");
    println!("{} workers, ns an element; isa {}", pool.workers(), kernels::isa::current());
    println!("{:<34}   1 core     pool    rayon   speed-up  against rayon", "");

    let sums = |f: fn(&[f64]) -> f64| -> Run<'_> {
        let x = x.as_slice();
        Box::new(move || total(&x.chunks(n).map(f).collect::<Vec<_>>()))
    };
    let rayon_sums = |f: fn(&[f64]) -> f64| -> Run<'_> {
        let (x, threads) = (x.as_slice(), &threads);
        Box::new(move || total(&threads.install(|| x.par_chunks(n).map(f).collect::<Vec<_>>())))
    };
    let (p, a) = (&pool, &x);
    row(
        "trig_power_sum, three rounds",
        [
            sums(|c| kernels::trig_power_sum(c, 3)),
            Box::new(move || {
                total(
                    p.map(a.chunks(n), |c, _| kernels::trig_power_sum(c, 3))
                        .expect("sums")
                        .as_slice(),
                )
            }),
            rayon_sums(|c| kernels::trig_power_sum(c, 3)),
        ],
    );
    row(
        "sum",
        [
            sums(kernels::sum),
            Box::new(move || {
                total(
                    p.map(a.chunks(n), |c, _| kernels::sum(c.as_slice())).expect("sums").as_slice(),
                )
            }),
            rayon_sums(kernels::sum),
        ],
    );
    row(
        "dot of an array with itself",
        [
            sums(|c| kernels::dot(c, c)),
            Box::new(move || {
                let dots = p.map(a.chunks(n), |c, _| kernels::dot(c.as_slice(), c.as_slice()));
                total(dots.expect("sums").as_slice())
            }),
            rayon_sums(|c| kernels::dot(c, c)),
        ],
    );

    // Kernels that write: each way into an array of its own.
    let mut y = SharedArray::<f64, _>::zeros(N).expect("an array");
    let mut ys = vec![0.0; N];
    let mut yr = vec![0.0; N];
    let last = |y: &[f64]| y[N - 1].to_bits() ^ y[N / 2].to_bits().rotate_left(1);
    let (src, t) = (x.as_slice(), &threads);
    row(
        "sin, out of place",
        [
            Box::new(|| {
                for (c, o) in src.chunks(n).zip(ys.chunks_mut(n)) {
                    kernels::sin(c, o);
                }
                last(&ys)
            }),
            Box::new(|| {
                p.for_each((a.chunks(n), y.chunks_out(n)), |(c, mut o), _| {
                    kernels::sin(c.as_slice(), o.as_slice_mut());
                })
                .expect("done");
                last(y.as_slice())
            }),
            Box::new(|| {
                t.install(|| {
                    let pairs = src.par_chunks(n).zip(yr.par_chunks_mut(n));
                    pairs.for_each(|(c, o)| kernels::sin(c, o));
                });
                last(&yr)
            }),
        ],
    );
    row(
        "fill_uniform",
        [
            Box::new(|| {
                for (i, o) in ys.chunks_mut(n).enumerate() {
                    lanes(i as u64).fill_uniform(o);
                }
                last(&ys)
            }),
            Box::new(|| {
                p.for_each(y.chunks_out(n), |mut o, ctx| {
                    lanes(ctx.chunk()).fill_uniform(o.as_slice_mut());
                })
                .expect("done");
                last(y.as_slice())
            }),
            Box::new(|| {
                t.install(|| {
                    let chunks = yr.par_chunks_mut(n).enumerate();
                    chunks.for_each(|(i, o)| lanes(i as u64).fill_uniform(o));
                });
                last(&yr)
            }),
        ],
    );
    row(
        "trig_power in place, one round",
        [
            Box::new(|| {
                for (i, o) in ys.chunks_mut(n).enumerate() {
                    lanes(i as u64).fill_uniform(o);
                    kernels::trig_power(o, 1);
                }
                last(&ys)
            }),
            Box::new(|| {
                p.for_each(y.chunks_mut(n), |mut o, ctx| {
                    lanes(ctx.chunk()).fill_uniform(o.as_slice_mut());
                    kernels::trig_power(o.as_slice_mut(), 1);
                })
                .expect("done");
                last(y.as_slice())
            }),
            Box::new(|| {
                t.install(|| {
                    yr.par_chunks_mut(n).enumerate().for_each(|(i, o)| {
                        lanes(i as u64).fill_uniform(o);
                        kernels::trig_power(o, 1);
                    });
                });
                last(&yr)
            }),
        ],
    );
    println!("(in place: filled first, with undo copies in the pool, none elsewhere)");
}
