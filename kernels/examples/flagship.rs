//! The flagship job on one core and on two threads: 40 M doubles in [0, 1), three rounds of
//! (sin a + cos a)^(a²), summed by chunk of 10 M. Prints seconds; `benches/peers.py` runs it beside
//! the peers. Checks that one thread and two give the same bits.

use std::time::Instant;

use pinpool_kernels::{Lanes, isa, tree_fold, trig_power_sum};

const N: usize = 40_000_000;
const CHUNK: usize = 10_000_000;

/// Median and best seconds of seven runs, and the sum.
fn time(mut f: impl FnMut() -> f64) -> (f64, f64, f64) {
    let mut sum = 0.0;
    let mut seconds: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            sum = f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[3], seconds[0], sum)
}

fn sums(chunks: &[f64]) -> Vec<f64> {
    chunks.chunks(CHUNK).map(|chunk| trig_power_sum(chunk, 3)).collect()
}

fn main() {
    let mut a = vec![0.0; N];
    Lanes::new(std::array::from_fn(|l| [l as u64 + 1, 2, 3, 4])).fill_uniform(&mut a);
    let one = time(|| tree_fold(&sums(&a)));
    let two = time(|| {
        let (left, right) = a.split_at(N / 2);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| sums(right));
            let mut slots = sums(left);
            slots.extend(other.join().expect("a kernel does not panic"));
            tree_fold(&slots)
        })
    });
    assert_eq!(one.2.to_bits(), two.2.to_bits());
    println!("{} 1 {} {} {:.6}", isa::current(), one.0, one.1, one.2);
    println!("{} 2 {} {} {:.6}", isa::current(), two.0, two.1, two.2);
}
