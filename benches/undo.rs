//! What does the undo copy cost? The flagship in place, with and without it.
//!
//! `chunks_out` promises to overwrite and so gets no undo copy; with the same kernel, which reads
//! all the same, it is the same work without the copy. Beside it `chunks_undo`, whose kernel keeps
//! each element as it reads it, and `chunks_mut`, which copies the chunk before its kernel. All in
//! turn over the same 40,000,000 doubles in the default chunks; each turn gives ratios to the one
//! without, and what is printed is their median with a 95 % interval (of order statistics), which a
//! neighbour's load shifts less than the times. The sums of all three are compared bit by bit.
//!
//! `cargo bench --bench undo [turns]`

use std::time::Instant;

use pinpool::{Pool, SharedArray, kernels};

const N: usize = 40_000_000;
const ROUNDS: u32 = 3;

#[derive(Clone, Copy)]
enum Form {
    Without,
    Kept,
    Ahead,
}

fn main() {
    let turns: usize = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(21);
    let pool = Pool::new().expect("a pool");
    let mut x = SharedArray::<f64, _>::zeros(N).expect("an array");
    let n = x.default_chunk();
    let mut run = |form: Form| {
        // The same elements each time, so that the sums can be compared.
        let fill = pool.job().stream(1);
        fill.for_each(x.chunks_out(n), |mut c, ctx| ctx.rng().fill_uniform(&mut c))
            .expect("filled");
        let start = Instant::now();
        let sums = match form {
            Form::Without => pool.map(x.chunks_out(n), |mut c, _| {
                kernels::trig_power_in_place_sum(c.as_slice_mut(), ROUNDS)
            }),
            Form::Kept => pool.map(x.chunks_undo(n), |c, _| {
                let (a, undo) = c.with_undo();
                kernels::trig_power_in_place_sum_undo(a, ROUNDS, undo)
            }),
            Form::Ahead => pool.map(x.chunks_mut(n), |mut c, _| {
                kernels::trig_power_in_place_sum(c.as_slice_mut(), ROUNDS)
            }),
        };
        let seconds = start.elapsed().as_secs_f64();
        (seconds * 1e9 / N as f64, sums.expect("sums").total().to_bits())
    };
    let forms = [Form::Without, Form::Kept, Form::Ahead];
    let bits = forms.map(|form| run(form).1);
    assert!(bits.iter().all(|&b| b == bits[0]), "the forms differ: {bits:x?}");
    let mut times = [const { Vec::new() }; 3];
    for turn in 0..turns {
        // Who goes first changes from turn to turn.
        for i in 0..3 {
            let form = (turn + i) % 3;
            times[form].push(run(forms[form]).0);
        }
    }
    println!("{} workers, chunks of {n}, isa {}", pool.workers(), kernels::isa::current());
    let names = ["without undo copy", "kept by the kernel", "copied before it"];
    for (name, own) in names.iter().zip(&times) {
        let mut ratios: Vec<_> = own.iter().zip(&times[0]).map(|(a, b)| a / b).collect();
        let mut own = own.clone();
        for all in [&mut own, &mut ratios] {
            all.sort_by(f64::total_cmp);
        }
        let half = turns / 2;
        let off = (0.98 * (turns as f64).sqrt()).round() as usize;
        let (low, high) = (half.saturating_sub(off), (half + off).min(turns - 1));
        println!(
            "{name:<18} {:>7.3} ns an element (least {:.3}), {:+5.1} % ({:+.1} % to {:+.1} %)",
            own[half],
            own[0],
            100.0 * (ratios[half] - 1.0),
            100.0 * (ratios[low] - 1.0),
            100.0 * (ratios[high] - 1.0)
        );
    }
}
