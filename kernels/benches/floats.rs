//! What does an element cost, beside std and the best vector crate, and beside what the machine
//! can do at all?
//!
//! Contenders take turns, so that a noisy machine hits them alike; the median and the best of the
//! rounds are printed, and every answer is checked against std. The bounds are measured in the
//! same run: fused multiply-adds a second, and bytes read and written a second.
//!
//! ```text
//! RUSTFLAGS=-Ctarget-cpu=native cargo bench -p pinpool-kernels --bench floats [-- FILTER]
//! ```
//!
//! The flag is for the peers, which choose their instructions when they are compiled; ours does
//! the same without it.

use std::hint::black_box;
use std::time::Instant;

use pinpool_kernels as k;
use wide::f64x8;

/// Operations of one round of `trig_power` on eight elements, AVX-512, by disassembly: 14 fused
/// multiply-adds and a subtraction; 14 look-ups by permutation, on ports of their own in part.
const ROUND_FMA: f64 = 14.0;

const JOB: usize = 40_000_000;
const CACHED: usize = 4096;
const ROUNDS: u32 = 3;

struct Contender<'a> {
    name: &'a str,
    run: Box<dyn FnMut() -> f64 + 'a>,
    ns: Vec<f64>,
}

/// Contenders for the same work on `elements`; the first is ours, the answer is the last one's.
struct Contest<'a> {
    title: &'a str,
    elements: usize,
    /// How far an answer may be from the last contender's, relatively.
    tolerance: f64,
    contenders: Vec<Contender<'a>>,
}

impl<'a> Contest<'a> {
    fn new(title: &'a str, elements: usize, tolerance: f64) -> Contest<'a> {
        Contest { title, elements, tolerance, contenders: Vec::new() }
    }

    fn with(mut self, name: &'a str, run: impl FnMut() -> f64 + 'a) -> Contest<'a> {
        self.contenders.push(Contender { name, run: Box::new(run), ns: Vec::new() });
        self
    }

    /// Times all in turn and prints them; `bound_ns` is what an element costs at the bound.
    fn run(mut self, rounds: usize, repeats: usize, bound: Option<(&str, f64)>) {
        let mut answers = vec![0.0; self.contenders.len()];
        for round in 0..=rounds {
            for (contender, answer) in self.contenders.iter_mut().zip(&mut answers) {
                let start = Instant::now();
                for _ in 0..repeats {
                    *answer = black_box((contender.run)());
                }
                let ns = start.elapsed().as_secs_f64() * 1e9 / (repeats * self.elements) as f64;
                if round > 0 {
                    contender.ns.push(ns);
                }
            }
        }
        let truth = *answers.last().expect("a contest has contenders");
        println!("\n{}", self.title);
        let mut ours = None;
        for (contender, answer) in self.contenders.iter_mut().zip(answers) {
            contender.ns.sort_by(f64::total_cmp);
            let (best, median) = (contender.ns[0], contender.ns[contender.ns.len() / 2]);
            let ours = *ours.get_or_insert(median);
            let wrong = ((answer - truth) / truth).abs() > self.tolerance;
            print!("  {:34} {median:8.3} ns median {best:8.3} best", contender.name);
            print!("  {:6.2} x ours", median / ours);
            if let Some((what, bound_ns)) = bound {
                print!("  {:5.1} % of {what}", 100.0 * bound_ns / median);
            }
            println!("{}", if wrong { "   WRONG ANSWER" } else { "" });
            assert!(!wrong, "{}: {answer:e} is not {truth:e}", contender.name);
        }
    }
}

fn uniform(n: usize, low: f64, high: f64) -> Vec<f64> {
    let mut x = vec![0.0; n];
    k::Lanes::new(std::array::from_fn(|l| [l as u64 + 1, 2, 3, 4]))
        .fill_range_f64(low, high, &mut x);
    x
}

fn std_round(a: f64) -> f64 {
    (a.sin() + a.cos()).powf(a * a)
}

/// `wide` as its users would write it: tiles of 2 KB, a loop for each round.
fn wide_trig_power_sum(a: &[f64]) -> f64 {
    let mut total = f64x8::splat(0.0);
    let mut tile = [f64x8::splat(0.0); 32];
    for part in a.chunks_exact(256) {
        for (x, part) in tile.iter_mut().zip(part.as_chunks::<8>().0) {
            *x = f64x8::from(*part);
        }
        for _ in 0..ROUNDS {
            for x in &mut tile {
                let (sin, cos) = x.sin_cos();
                *x = (sin + cos).powf_simd(*x * *x);
            }
        }
        for x in &tile {
            total += *x;
        }
    }
    total.reduce_add()
}

fn flagship(fma_per_ns: f64) {
    let a = uniform(JOB, 0.0, 1.0);
    let bound = f64::from(ROUNDS) * ROUND_FMA / 8.0 / fma_per_ns;
    let bound = Some(("peak FMA", bound));
    let title = "trig_power, 40 M doubles, three rounds, summed, one core";
    let mut b = a.clone();
    Contest::new(title, JOB, 1e-11)
        .with("ours, sum only", || k::trig_power_sum(&a, ROUNDS))
        .with("ours, in place and sum", || {
            b.copy_from_slice(&a);
            let start = Instant::now();
            let sum = k::trig_power_in_place_sum(&mut b, ROUNDS);
            eprintln!(
                "    (in place without the copy: {:.3} ns)",
                start.elapsed().as_secs_f64() * 1e9 / JOB as f64
            );
            sum
        })
        .with("ours, two threads", || {
            let (x, y) = a.split_at(JOB / 2);
            std::thread::scope(|scope| {
                let other = scope.spawn(|| k::trig_power_sum(y, ROUNDS));
                k::trig_power_sum(x, ROUNDS) + other.join().expect("a kernel does not panic")
            })
        })
        .with("wide f64x8, tiles", || wide_trig_power_sum(&a))
        .with("std sin, cos, powf", || {
            k::sum(&a.iter().map(|&a| (0..ROUNDS).fold(a, |a, _| std_round(a))).collect::<Vec<_>>())
        })
        .run(3, 1, bound);
    let wide = uniform(CACHED, 2.0, 2.3);
    Contest::new("trig_power, one round, arguments in [2, 2.3], in L1", CACHED, 1e-13)
        .with("ours", || k::trig_power_sum(&wide, 1))
        .with("std sin, cos, powf", || wide.iter().map(|&a| std_round(a)).sum())
        .run(15, 100, None);
}

/// Ours, `wide` and std on the same arguments in L1, the answer a sum.
fn unary(
    title: &str,
    x: &[f64],
    ours: fn(&[f64], &mut [f64]),
    vector: impl Fn(f64x8) -> f64x8,
    scalar: impl Fn(f64) -> f64,
) {
    let n = x.len();
    let (mut a, mut b, mut c) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
    Contest::new(title, n, 1e-12)
        .with("ours", || {
            ours(x, &mut a);
            k::sum(&a)
        })
        .with("wide f64x8", || {
            for (x, out) in x.as_chunks::<8>().0.iter().zip(b.as_chunks_mut::<8>().0) {
                *out = vector(f64x8::from(*x)).to_array();
            }
            k::sum(&b)
        })
        .with("std", || {
            for (x, out) in x.iter().zip(&mut c) {
                *out = scalar(*x);
            }
            k::sum(&c)
        })
        .run(15, 100, None);
}

fn elementary() {
    let angles = uniform(CACHED, -3.0, 4.0);
    unary("sin, [-3, 4], in L1", &angles, k::sin, f64x8::sin, f64::sin);
    unary("cos, [-3, 4], in L1", &angles, k::cos, f64x8::cos, f64::cos);
    unary("exp2, [-20, 20], in L1", &uniform(CACHED, -20.0, 20.0), k::exp2, f64x8::exp2, f64::exp2);
    unary("log2, [0.1, 10], in L1", &uniform(CACHED, 0.1, 10.0), k::log2, f64x8::log2, f64::log2);
    let (x, y) = (uniform(CACHED, 0.1, 10.0), uniform(CACHED, -8.0, 8.0));
    let (mut a, mut b, mut c) = (vec![0.0; CACHED], vec![0.0; CACHED], vec![0.0; CACHED]);
    Contest::new("pow, [0.1, 10]^[-8, 8], in L1", CACHED, 1e-12)
        .with("ours", || {
            k::pow(&x, &y, &mut a);
            k::sum(&a)
        })
        .with("wide f64x8", || {
            let pairs = x.as_chunks::<8>().0.iter().zip(y.as_chunks::<8>().0);
            for ((x, y), out) in pairs.zip(b.as_chunks_mut::<8>().0) {
                *out = f64x8::from(*x).powf_simd(f64x8::from(*y)).to_array();
            }
            k::sum(&b)
        })
        .with("std", || {
            for ((x, y), out) in x.iter().zip(&y).zip(&mut c) {
                *out = x.powf(*y);
            }
            k::sum(&c)
        })
        .run(15, 100, None);
}

fn memory() {
    let (x, mut y) = (uniform(JOB, 0.0, 1.0), uniform(JOB, 0.0, 1.0));
    let mut out = vec![0.0; JOB];
    // The bounds: what memory gives to the plainest reader and writer.
    let read = best_of(5, || {
        black_box(x.iter().fold(0, |acc, x| acc ^ x.to_bits()));
    });
    let write = best_of(5, || out.fill(black_box(1.0)));
    println!("\nmemory: reads {:.1} GB/s, writes {:.1} GB/s", 8.0 / read, 8.0 / write);
    Contest::new("sum, 320 MB", JOB, 1e-9)
        .with("ours", || k::sum(&x))
        .with("std iterator", || x.iter().sum())
        .run(3, 1, Some(("read bandwidth", read)));
    Contest::new("dot, 2 x 320 MB", JOB, 1e-9)
        .with("ours", || k::dot(&x, &y))
        .with("std iterator", || x.iter().zip(&y).map(|(x, y)| x * y).sum())
        .run(3, 1, Some(("read bandwidth", 2.0 * read)));
    Contest::new("sum_exact, 320 MB", JOB, 1e-9)
        .with("ours", || k::sum_exact(&x))
        .with("std iterator", || x.iter().sum())
        .run(3, 1, Some(("read bandwidth", read)));
    Contest::new("axpy, 2 x 320 MB", JOB, 1.0)
        .with("ours", || {
            k::axpy(1e-9, &x, &mut y);
            y[7]
        })
        .run(3, 1, Some(("read and write bandwidth", 2.0 * read + write)));
    let mut lanes = k::Lanes::new(std::array::from_fn(|l| [l as u64 + 1, 2, 3, 4]));
    for (title, fill) in [
        ("fill_uniform, 320 MB", k::Lanes::fill_uniform as fn(&mut k::Lanes, &mut [f64])),
        ("fill_normal, 320 MB", k::Lanes::fill_normal),
        ("fill_range_f64, 320 MB", |lanes, out| lanes.fill_range_f64(-1.0, 1.0, out)),
    ] {
        Contest::new(title, JOB, 1e9)
            .with("ours", || {
                fill(&mut lanes, &mut out);
                1.0 + out[9].abs()
            })
            .run(3, 1, Some(("write bandwidth", write)));
    }
}

/// The best time of `n` runs over the job's elements, in ns an element.
fn best_of(n: usize, mut f: impl FnMut()) -> f64 {
    (0..n)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64() * 1e9 / JOB as f64
        })
        .fold(f64::INFINITY, f64::min)
}

/// Fused multiply-adds of eight elements a nanosecond, at best; 1 where it is not measured.
fn peak_fma() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if k::isa::Isa::Avx512.is_available() {
        // SAFETY: the CPU has AVX-512.
        return (0..20).map(|_| unsafe { avx512_fma() }).fold(0.0, f64::max);
    }
    1.0
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512_fma() -> f64 {
    use std::arch::x86_64::{_mm512_fmadd_pd, _mm512_set1_pd};
    const STEPS: usize = 100_000;
    let (x, y) = (_mm512_set1_pd(black_box(0.999)), _mm512_set1_pd(black_box(1e-3)));
    let mut chains = [_mm512_set1_pd(1.0); 12];
    let start = Instant::now();
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = _mm512_fmadd_pd(*chain, x, y);
        }
    }
    let ns = start.elapsed().as_secs_f64() * 1e9;
    black_box(chains);
    (STEPS * 12) as f64 / ns
}

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let fma = peak_fma();
    println!("instruction set {}, peak {fma:.2} 512-bit FMA a ns", k::isa::current());
    if "flagship".contains(&filter) {
        flagship(fma);
    }
    if "elementary".contains(&filter) {
        elementary();
    }
    if "memory".contains(&filter) {
        memory();
    }
}
