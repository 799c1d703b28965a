//! What does the undo copy cost? The flagship in place, with and without it.
//!
//! `chunks_out` promises to overwrite and so gets no undo copy; with the same kernel, which reads
//! all the same, it is the same work without the copy. The two in turn over the same 40,000,000
//! doubles in the default chunks; each pair gives a ratio, and what is printed is the median of
//! the ratios with a 95 % interval (of order statistics), which a neighbour's load shifts less
//! than the times.
//!
//! `cargo bench --bench undo [pairs]`

use std::time::Instant;

use pinpool::{Pool, SharedArray, kernels};

const N: usize = 40_000_000;
const ROUNDS: u32 = 3;

fn main() {
    let pairs: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(21);
    let pool = Pool::new().expect("a pool");
    let mut x = SharedArray::<f64, _>::zeros(N).expect("an array");
    let n = x.default_chunk();
    pool.for_each(x.chunks_out(n), |mut c, ctx| ctx.rng().fill_uniform(&mut c)).expect("filled");
    let mut run = |undo: bool| {
        let start = Instant::now();
        let sums = match undo {
            true => pool.map(x.chunks_mut(n), |mut c, _| {
                kernels::trig_power_in_place_sum(c.as_slice_mut(), ROUNDS)
            }),
            false => pool.map(x.chunks_out(n), |mut c, _| {
                kernels::trig_power_in_place_sum(c.as_slice_mut(), ROUNDS)
            }),
        };
        let seconds = start.elapsed().as_secs_f64();
        assert!(sums.expect("sums").as_slice()[0].is_finite());
        seconds * 1e9 / N as f64
    };
    run(true);
    run(false);
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..pairs {
        // Who goes first changes from pair to pair.
        let (first, second) = (run(pair % 2 == 0), run(pair % 2 != 0));
        let (a, b) = if pair % 2 == 0 { (first, second) } else { (second, first) };
        with.push(a);
        without.push(b);
        ratios.push(a / b);
    }
    for all in [&mut with, &mut without, &mut ratios] {
        all.sort_by(f64::total_cmp);
    }
    let half = pairs / 2;
    let off = (0.98 * (pairs as f64).sqrt()).round() as usize;
    let (low, high) = (half.saturating_sub(off), (half + off).min(pairs - 1));
    println!("{} workers, chunks of {n}, isa {}", pool.workers(), kernels::isa::current());
    println!("without undo copy {:>7.3} ns an element (least {:.3})", without[half], without[0]);
    println!("with undo copy    {:>7.3} ns an element (least {:.3})", with[half], with[0]);
    println!(
        "the copy costs {:+.1} % (median of {pairs} pairs; {:+.1} % to {:+.1} %)",
        100.0 * (ratios[half] - 1.0),
        100.0 * (ratios[low] - 1.0),
        100.0 * (ratios[high] - 1.0)
    );
}
