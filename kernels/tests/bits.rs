//! The same bits on every instruction set, at every length and alignment, and on every machine.
//!
//! Instruction sets that this CPU lacks are named as skipped, never counted as passed. The
//! digests at the end are compared on every machine that runs the tests.

use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};

use pinpool_kernels as k;
use pinpool_kernels::isa::{self, Isa};

/// The choice of instruction set belongs to the process; one test at a time makes it.
fn choose() -> MutexGuard<'static, ()> {
    static CHOICE: Mutex<()> = Mutex::new(());
    CHOICE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn lanes(seed: u64) -> k::Lanes {
    k::Lanes::new(std::array::from_fn(|l| [seed, l as u64 + 1, 0x9e37_79b9_7f4a_7c15, 4]))
}

const SPECIAL: [f64; 44] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    2.0,
    -2.0,
    3.0,
    -3.0,
    4.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -1.5,
    5e-324,
    -5e-324,
    1e-310,
    -1e-310,
    f64::MIN_POSITIVE,
    -f64::MIN_POSITIVE,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    f64::EPSILON,
    1.0 + f64::EPSILON,
    1.0 - f64::EPSILON / 2.0,
    std::f64::consts::FRAC_PI_4,
    2.356_194_490_192_345,
    1e5,
    -1e5,
    1e22,
    -1e22,
    524_288.0,
    524_287.9,
    1023.9,
    1024.0,
    -1022.5,
    -1074.5,
    -1076.0,
    9_007_199_254_740_993.0,
    1e300,
    -1e300,
];

/// Values of every kind: special ones, the job's range, moderate, huge, any bit pattern.
fn mixed(n: usize, seed: u64) -> Vec<f64> {
    let mut lanes = lanes(seed);
    let (mut u, mut raw) = (vec![0.0; n], vec![0; n]);
    lanes.fill_uniform(&mut u);
    lanes.fill_u64(&mut raw);
    (0..n)
        .map(|i| match raw[i] % 64 {
            0 => SPECIAL[(raw[i] >> 8) as usize % SPECIAL.len()],
            1 => f64::from_bits(raw[i].rotate_left(11)),
            2..8 => (u[i] - 0.5) * 2e6,
            8..20 => (u[i] - 0.5) * 8.0,
            _ => u[i] * 1.5,
        })
        .collect()
}

/// Every kernel by name; each gives bits.
type Kernel = (&'static str, fn(&[f64], &[f64]) -> Vec<u64>);

fn map(f: impl Fn(&[f64], &mut [f64]), x: &[f64]) -> Vec<u64> {
    let mut out = vec![0.0; x.len()];
    f(x, &mut out);
    out.into_iter().map(f64::to_bits).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&x| x as f32).map(|x| if x.is_nan() { f32::NAN } else { x }).collect()
}

/// The same values without those that would turn every sum into a NaN.
fn tame(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| if x.abs() < 1e7 { x } else { 0.3 }).collect()
}

/// The same values without those whose base is negative.
fn positive_base(x: &[f64]) -> Vec<f64> {
    x.iter().map(|&x| if x > -0.78 && x < 2.35 { x } else { 0.7 }).collect()
}

fn fills(x: &[f64], f: impl Fn(&mut k::Lanes, &mut [f64])) -> Vec<u64> {
    let mut out = vec![0.0; x.len()];
    f(&mut lanes(x.len() as u64 + 1), &mut out);
    out.into_iter().map(f64::to_bits).collect()
}

/// An undo copy that is longer than it must be.
struct Kept {
    old: Vec<f64>,
    n: usize,
}

impl k::Undo for &mut Kept {
    fn old(&mut self) -> &mut [f64] {
        &mut self.old
    }

    fn kept(&mut self, n: usize) {
        assert!(n > self.n || n == 0, "{n} kept after {}", self.n);
        self.n = n;
    }
}

const KERNELS: [Kernel; 24] = [
    ("sin", |x, _| map(k::sin, x)),
    ("cos", |x, _| map(k::cos, x)),
    ("sin_cos", |x, _| {
        let (mut a, mut b) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        k::sin_cos(x, &mut a, &mut b);
        a.into_iter().chain(b).map(f64::to_bits).collect()
    }),
    ("exp2", |x, _| map(k::exp2, x)),
    ("log2", |x, _| map(k::log2, x)),
    ("pow", |x, y| map(|x, out| k::pow(x, y, out), x)),
    ("trig_power 1", |x, _| map(|x, out| in_place(x, out, 1), x)),
    ("trig_power 3", |x, _| map(|x, out| in_place(x, out, 3), x)),
    ("trig_power_sum", |x, _| vec![k::trig_power_sum(positive_base(x), 3).to_bits()]),
    ("trig_power_in_place_sum", |x, _| {
        let mut x = positive_base(x);
        let (mut a, mut undo) = (x.clone(), Kept { old: vec![0.0; x.len() + 1], n: 0 });
        let kept = k::trig_power_in_place_sum_undo(&mut a, 2, &mut undo);
        assert_eq!((undo.n, &undo.old[..x.len()], undo.old[x.len()]), (x.len(), &x[..], 0.0));
        let sum = k::trig_power_in_place_sum(&mut x, 2);
        assert_eq!(sum.to_bits(), k::sum(&x).to_bits());
        assert_eq!((sum.to_bits(), x), (kept.to_bits(), a));
        vec![sum.to_bits()]
    }),
    ("sum", |x, _| vec![k::sum(&tame(x)).to_bits()]),
    ("sum f32", |x, _| vec![k::sum(&narrow(&tame(x))).to_bits().into()]),
    ("dot", |x, y| vec![k::dot(&tame(x), &tame(y)).to_bits()]),
    ("dot f32", |x, y| vec![k::dot(&narrow(&tame(x)), &narrow(&tame(y))).to_bits().into()]),
    ("axpy", |x, y| {
        let mut y = y.to_vec();
        k::axpy(1.0 / 3.0, x, &mut y);
        y.into_iter().map(f64::to_bits).collect()
    }),
    ("axpy f32", |x, y| {
        let mut y = narrow(y);
        k::axpy(1.0 / 3.0, &narrow(x), &mut y);
        y.into_iter().map(|y| y.to_bits().into()).collect()
    }),
    ("mean_and_variance", |x, _| {
        let (mean, variance) = k::mean_and_variance(&tame(x));
        vec![mean.to_bits(), variance.to_bits()]
    }),
    ("sum_exact", |x, _| vec![k::sum_exact(&tame(x)).to_bits()]),
    ("fill_uniform", |x, _| fills(x, k::Lanes::fill_uniform)),
    ("fill_normal", |x, _| fills(x, k::Lanes::fill_normal)),
    ("fill_range_f64", |x, _| fills(x, |l, out| l.fill_range_f64(-3.0, 7.5, out))),
    ("fill_u64", |x, _| {
        let mut out = vec![0; x.len()];
        lanes(5).fill_u64(&mut out);
        out
    }),
    ("fill_range_u64", |x, _| {
        let mut out = vec![0; x.len()];
        lanes(6).fill_range_u64(10, u64::MAX / 3 * 2, &mut out);
        out
    }),
    ("fill_uniform_f32", |x, _| {
        let mut out = vec![0.0; x.len()];
        lanes(7).fill_uniform_f32(&mut out);
        out.into_iter().map(|x| x.to_bits().into()).collect()
    }),
];

fn in_place(x: &[f64], out: &mut [f64], rounds: u32) {
    out.copy_from_slice(x);
    k::trig_power(out, rounds);
}

/// FNV-1a over the bytes of the values.
fn digest(values: &[u64]) -> u64 {
    values.iter().flat_map(|v| v.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Runs `f` on every instruction set but the scalar one, then puts the choice back.
fn on_each(f: impl Fn(Isa)) {
    for isa in Isa::ALL {
        if isa::force(isa).is_ok() {
            f(isa);
        } else {
            eprintln!("skipped: this CPU lacks {isa}");
        }
    }
    isa::force(isa::best()).expect("the best is available");
}

#[test]
fn every_instruction_set_gives_the_scalar_bits_at_every_length_and_alignment() {
    let _chosen = choose();
    let buffer = mixed(4 * 1024 + 80, 1);
    let other = mixed(4 * 1024 + 80, 2);
    let mut cases: Vec<(usize, usize)> =
        (0..40).flat_map(|n| (0..8).map(move |o| (n, o))).collect();
    for blocks in 1..=4 {
        for near in [-9i64, -8, -1, 0, 1, 7, 8, 9] {
            let length = (blocks * 1024 + near) as usize;
            cases.push((length, (near & 7) as usize));
        }
    }
    cases.extend((0..8).map(|offset| (4 * 1024 + 17, offset)));
    for (name, kernel) in KERNELS {
        for &(length, offset) in &cases {
            let (x, y) = (&buffer[offset..][..length], &other[offset..][..length]);
            isa::force(Isa::Scalar).expect("scalar code runs everywhere");
            let expected = kernel(x, y);
            on_each(|isa| {
                assert!(kernel(x, y) == expected, "{name} on {isa}, {length} from {offset} on");
            });
        }
    }
}

#[test]
fn an_element_does_not_depend_on_its_neighbours() {
    let _chosen = choose();
    let x = mixed(3000, 3);
    let y = mixed(3000, 4);
    for (name, kernel) in &KERNELS[..8] {
        if *name == "sin_cos" {
            continue;
        }
        let together = kernel(&x, &y);
        for i in 0..x.len() {
            let alone = kernel(&x[i..=i], &y[i..=i]);
            assert_eq!(alone[0], together[i], "{name} of {:e}", x[i]);
        }
    }
}

#[test]
fn digests_are_the_ones_in_the_table() {
    let _chosen = choose();
    let table = include_str!("digests.txt");
    let (x, y) = (mixed(5000, 11), mixed(5000, 12));
    on_each(|isa| {
        let mut found = String::new();
        for (name, kernel) in KERNELS {
            writeln!(found, "{:016x} {name}", digest(&kernel(&x, &y))).expect("a string takes it");
        }
        assert!(found == table, "digests on {isa} (the table is tests/digests.txt):\n{found}");
    });
}

#[test]
#[ignore = "10^8 arguments take minutes"]
fn every_instruction_set_gives_the_scalar_bits_on_10_8_arguments() {
    let _chosen = choose();
    for part in 0..1000 {
        let (x, y) = (mixed(100_000, 2 * part), mixed(100_000, 2 * part + 1));
        isa::force(Isa::Scalar).expect("scalar code runs everywhere");
        let expected: Vec<_> = KERNELS[..8].iter().map(|(_, kernel)| kernel(&x, &y)).collect();
        on_each(|isa| {
            for ((name, kernel), expected) in KERNELS[..8].iter().zip(&expected) {
                assert!(kernel(&x, &y) == *expected, "{name} on {isa}, part {part}");
            }
        });
    }
}
