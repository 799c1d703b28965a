//! Measures the largest error of every function on many arguments, in ULP, and where it lies.
//!
//! The reference is double-double (about 2^-95), itself proven against hundreds of digits by
//! `tests/accuracy.rs`. The fused steps of the reference want the CPU's:
//!
//! ```text
//! RUSTFLAGS=-Ctarget-cpu=native cargo run --release -p pinpool-kernels --example accuracy \
//!     --target-dir target/native -- 100000000 10000000
//! ```
//!
//! The first number is how many arguments a round of `trig_power` on [0, 1.5] gets, the second
//! how many everything else gets. The defaults take seconds.

#[path = "../tests/reference/mod.rs"]
mod reference;

use pinpool_kernels as k;
use reference::{Dd, ulps};

const BATCH: usize = 100_000;

/// The largest error so far and where it was.
struct Worst {
    ulp: f64,
    at: (f64, f64),
}

/// Fills a batch of arguments; the number is that of the batch.
type Draw<'a> = &'a (dyn Fn(&mut k::Lanes, &mut [f64]) + Sync);

/// Two arguments each into results.
type Kernel<'a> = &'a (dyn Fn(&[f64], &[f64], &mut [f64]) + Sync);

struct Case<'a> {
    name: &'a str,
    x: Draw<'a>,
    y: Option<Draw<'a>>,
    kernel: Kernel<'a>,
    exact: &'a (dyn Fn(f64, f64) -> Dd + Sync),
}

impl Case<'_> {
    fn batch(&self, number: u64, worst: &mut Worst) {
        let mut lanes = k::Lanes::new(std::array::from_fn(|l| [number, l as u64, 7, 1]));
        let mut warm = [0; 8 * 20];
        lanes.fill_u64(&mut warm);
        let (mut x, mut y, mut out) = (vec![0.0; BATCH], vec![0.0; BATCH], vec![0.0; BATCH]);
        (self.x)(&mut lanes, &mut x);
        if let Some(draw) = self.y {
            draw(&mut lanes, &mut y);
            // The second argument is drawn as the result's logarithm.
            for (x, y) in x.iter().zip(&mut y) {
                *y = if *x == 1.0 { 1.0 } else { *y / x.log2() };
            }
        }
        (self.kernel)(&x, &y, &mut out);
        for i in 0..BATCH {
            let ulp = ulps(out[i], (self.exact)(x[i], y[i]));
            if ulp > worst.ulp || ulp.is_nan() {
                *worst = Worst { ulp, at: (x[i], y[i]) };
            }
        }
    }

    fn measure(&self, n: usize) {
        let batches = n.div_ceil(BATCH) as u64;
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        let worst = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|t| {
                    scope.spawn(move || {
                        let mut worst = Worst { ulp: 0.0, at: (0.0, 0.0) };
                        for number in (t..batches).step_by(threads as usize) {
                            self.batch(number + 1, &mut worst);
                        }
                        worst
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|w| w.join().expect("a worker computes and does not panic"))
                .max_by(|a, b| a.ulp.total_cmp(&b.ulp))
                .expect("there is at least one worker")
        });
        let Worst { ulp, at } = worst;
        println!(
            "{:44} {:>11}  {ulp:.4} ULP at {:e} {:e}",
            self.name,
            batches as usize * BATCH,
            at.0,
            at.1
        );
    }
}

/// Uniform in [low, high).
fn uniform(low: f64, high: f64) -> impl Fn(&mut k::Lanes, &mut [f64]) {
    move |lanes, out| lanes.fill_range_f64(low, high, out)
}

/// ±2^u for u uniform in [low, high).
fn scales(low: f64, high: f64, both: bool) -> impl Fn(&mut k::Lanes, &mut [f64]) {
    move |lanes, out| {
        let mut u = vec![0.0; out.len()];
        lanes.fill_range_f64(low, high, &mut u);
        k::exp2(&u, out);
        for (i, x) in out.iter_mut().enumerate() {
            *x = if both && i % 2 == 1 { -*x } else { *x };
        }
    }
}

/// 1 ± 2^u for u uniform in [−50, −1).
fn near_one(lanes: &mut k::Lanes, out: &mut [f64]) {
    scales(-50.0, -1.0, true)(lanes, out);
    for x in out {
        *x += 1.0;
    }
}

/// Some thousand doubles on both sides of each multiple of 1/64 below 1.5.
fn around_grid(lanes: &mut k::Lanes, out: &mut [f64]) {
    let mut raw = vec![0; out.len()];
    lanes.fill_range_u64(0, 96 * 4096, &mut raw);
    for (x, r) in out.iter_mut().zip(raw) {
        let grid = (1.0 + (r / 4096) as f64) / 64.0;
        *x = f64::from_bits(grid.to_bits() - 4096 + r % 4096);
    }
}

fn main() {
    let mut counts = std::env::args().skip(1).map(|n| n.parse().expect("counts are numbers"));
    let many: usize = counts.next().unwrap_or(1_000_000);
    let few: usize = counts.next().unwrap_or(100_000);
    let round = |x: &[f64], _: &[f64], out: &mut [f64]| {
        out.copy_from_slice(x);
        k::trig_power(out, 1);
    };
    let exact_round = |x: f64, _: f64| reference::trig_power(x);
    let case = |name, x: Draw<'_>, n| {
        Case { name, x, y: None, kernel: &round, exact: &exact_round }.measure(n);
    };
    case("trig_power, one round, [0, 1.5)", &uniform(0.0, 1.5), many);
    case("trig_power, one round, 2^[-60, 0.58)", &scales(-60.0, 0.58, false), few);
    case("trig_power, one round, around k/64", &around_grid, few);
    case("trig_power, one round, [1.5, 2.35)", &uniform(1.5, 2.35), few);
    case("trig_power, one round, [-0.78, 0)", &uniform(-0.78, 0.0), few);

    let three = |x: &[f64], _: &[f64], out: &mut [f64]| {
        out.copy_from_slice(x);
        k::trig_power(out, 3);
    };
    let exact_three = |x: f64, _: f64| {
        let once = reference::trig_power_of(Dd(x, 0.0));
        reference::trig_power_of(reference::trig_power_of(once))
    };
    let name = "trig_power, three rounds, [0, 1)";
    Case { name, x: &uniform(0.0, 1.0), y: None, kernel: &three, exact: &exact_three }.measure(few);

    type Unary = fn(&[f64], &mut [f64]);
    let unary = |name, x: Draw<'_>, kernel: Unary, exact: &(dyn Fn(f64, f64) -> Dd + Sync)| {
        let kernel = move |x: &[f64], _: &[f64], out: &mut [f64]| kernel(x, out);
        Case { name, x, y: None, kernel: &kernel, exact }.measure(few);
    };
    let sin = |x: f64, _: f64| reference::sin_cos(x).0;
    let cos = |x: f64, _: f64| reference::sin_cos(x).1;
    unary("sin, [-4, 4)", &uniform(-4.0, 4.0), k::sin, &sin);
    unary("sin, ±2^[-40, 19.9)", &scales(-40.0, 19.9, true), k::sin, &sin);
    unary("cos, [-4, 4)", &uniform(-4.0, 4.0), k::cos, &cos);
    unary("cos, ±2^[-40, 19.9)", &scales(-40.0, 19.9, true), k::cos, &cos);
    unary("exp2, [-2, 2)", &uniform(-2.0, 2.0), k::exp2, &|x, _| reference::exp2(x));
    unary("exp2, [-1021, 1023)", &uniform(-1021.0, 1023.0), k::exp2, &|x, _| reference::exp2(x));
    unary("log2, [0.5, 2)", &uniform(0.5, 2.0), k::log2, &|x, _| reference::log2(x));
    unary("log2, 1 ± 2^[-50, -1)", &near_one, k::log2, &|x, _| reference::log2(x));
    unary("log2, 2^[-1000, 1000)", &scales(-1000.0, 1000.0, false), k::log2, &|x, _| {
        reference::log2(x)
    });

    let power = |name, x: Draw<'_>, y: Draw<'_>| {
        let kernel = |x: &[f64], y: &[f64], out: &mut [f64]| k::pow(x, y, out);
        let exact = |x: f64, y: f64| reference::pow(x, y);
        Case { name, x, y: Some(y), kernel: &kernel, exact: &exact }.measure(few);
    };
    power("pow, [0, 10), result 2^[-20, 20)", &uniform(0.01, 10.0), &uniform(-20.0, 20.0));
    power(
        "pow, 2^[-1000, 1000), result 2^[-1000, 1000)",
        &scales(-1000.0, 1000.0, false),
        &uniform(-1000.0, 1000.0),
    );
    power("pow, 1 ± 2^[-50, -1), result 2^[-1000, 1000)", &near_one, &uniform(-1000.0, 1000.0));
}
