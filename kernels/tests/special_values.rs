//! Special values as IEEE 754 and C's `pow` have them, exact results, and what is documented to
//! panic.

use pinpool_kernels as k;

const NAN_BITS: u64 = 0x7ff8_0000_0000_0000;
const INF: f64 = f64::INFINITY;

fn same(got: f64, expected: f64) -> bool {
    if expected.is_nan() { got.to_bits() == NAN_BITS } else { got.to_bits() == expected.to_bits() }
}

fn check(name: &str, f: impl Fn(&[f64], &mut [f64]), cases: &[(f64, f64)]) {
    let x: Vec<f64> = cases.iter().map(|c| c.0).collect();
    let mut out = vec![0.0; x.len()];
    f(&x, &mut out);
    for ((x, expected), got) in cases.iter().zip(out) {
        assert!(same(got, *expected), "{name}({x:e}) is {got:e}, expected {expected:e}");
    }
}

#[test]
fn sine_and_cosine_keep_signed_zeros_and_reject_infinities() {
    let tiny = 5e-324;
    let nan = f64::from_bits(0xfff0_0000_0000_0001);
    check(
        "sin",
        k::sin,
        &[
            (0.0, 0.0),
            (-0.0, -0.0),
            (tiny, tiny),
            (-tiny, -tiny),
            (1e-310, 1e-310),
            (INF, f64::NAN),
        ],
    );
    check("sin", k::sin, &[(-INF, f64::NAN), (nan, f64::NAN), (1e-20, 1e-20)]);
    check("cos", k::cos, &[(0.0, 1.0), (-0.0, 1.0), (tiny, 1.0), (INF, f64::NAN), (nan, f64::NAN)]);
}

#[test]
fn exp2_is_exact_at_integers_and_goes_over_to_zero_and_infinity() {
    let integers: Vec<(f64, f64)> =
        (-1074..1024).map(|n| (f64::from(n), 2f64.powi(n / 2) * 2f64.powi(n - n / 2))).collect();
    check("exp2", k::exp2, &integers);
    check(
        "exp2",
        k::exp2,
        &[
            (INF, INF),
            (-INF, 0.0),
            (f64::NAN, f64::NAN),
            (1024.0, INF),
            (f64::MAX, INF),
            (f64::MIN, 0.0),
            (-1075.1, 0.0),
            (-0.0, 1.0),
            (5e-324, 1.0),
        ],
    );
}

#[test]
fn log2_is_exact_at_powers_of_two_and_undefined_below_zero() {
    let powers: Vec<(f64, f64)> =
        (-1074..1024).map(|n| (2f64.powi(n / 2) * 2f64.powi(n - n / 2), f64::from(n))).collect();
    check("log2", k::log2, &powers);
    check(
        "log2",
        k::log2,
        &[
            (0.0, -INF),
            (-0.0, -INF),
            (INF, INF),
            (-INF, f64::NAN),
            (-1.0, f64::NAN),
            (-5e-324, f64::NAN),
            (f64::NAN, f64::NAN),
            (f64::MAX, 1024.0),
        ],
    );
}

#[test]
fn pow_has_the_special_values_of_c() {
    let nan = f64::NAN;
    let odd = 9_007_199_254_740_991.0;
    let cases = [
        (1.0, nan, 1.0),
        (nan, 0.0, 1.0),
        (nan, -0.0, 1.0),
        (nan, 1.0, nan),
        (2.0, nan, nan),
        (0.0, 3.0, 0.0),
        (-0.0, 3.0, -0.0),
        (-0.0, 2.0, 0.0),
        (0.0, -3.0, INF),
        (-0.0, -3.0, -INF),
        (-0.0, -2.0, INF),
        (-0.0, 0.5, 0.0),
        (0.0, INF, 0.0),
        (0.0, -INF, INF),
        (-1.0, INF, 1.0),
        (-1.0, -INF, 1.0),
        (-1.0, odd, -1.0),
        (-1.0, odd + 1.0, 1.0),
        (-1.0, 1e300, 1.0),
        (0.5, INF, 0.0),
        (0.5, -INF, INF),
        (-0.5, -INF, INF),
        (2.0, INF, INF),
        (2.0, -INF, 0.0),
        (INF, 2.0, INF),
        (INF, -2.0, 0.0),
        (INF, 5e-324, INF),
        (-INF, 3.0, -INF),
        (-INF, 2.0, INF),
        (-INF, -3.0, -0.0),
        (-INF, -2.0, 0.0),
        (-INF, 0.5, INF),
        (-2.0, 0.5, nan),
        (-5e-324, 1.5, nan),
        (-2.0, 3.0, -8.0),
        (-2.0, -1.0, -0.5),
        (-2.0, 2.0, 4.0),
        (5e-324, 1.0, 5e-324),
        (5e-324, 0.5, 2.222_758_749_485_077_5e-162),
        (2.0, -1074.0, 5e-324),
        (2.0, 1024.0, INF),
        (2.0, 1e300, INF),
        (2.0, -1e300, 0.0),
        (-2.0, 1025.0, -INF),
        (f64::MAX, 1.0, f64::MAX),
        (f64::MIN_POSITIVE, 1.0, f64::MIN_POSITIVE),
        (10.0, 15.0, 1e15),
        (3.0, 5.0, 243.0),
        (7.0, -0.0, 1.0),
    ];
    for (x, y, expected) in cases {
        let mut out = [0.0];
        k::pow(&[x], &[y], &mut out);
        assert!(same(out[0], expected), "pow({x:e}, {y:e}) is {:e}, expected {expected:e}", out[0]);
    }
}

#[test]
fn a_round_of_trig_power_has_its_edge_values() {
    let round = |x: &[f64], out: &mut [f64]| {
        out.copy_from_slice(x);
        k::trig_power(out, 1);
    };
    check(
        "round",
        round,
        &[
            (0.0, 1.0),
            (-0.0, 1.0),
            (5e-324, 1.0),
            (-1e-310, 1.0),
            (INF, f64::NAN),
            (-INF, f64::NAN),
            (f64::NAN, f64::NAN),
            (2.5, f64::NAN),
            (1e5, 0.0),
            (1e22, 0.0),
            (-1e5, INF),
            (-1e22, INF),
        ],
    );
    let close = [(-1.0, -0.30117), (-2.0, 3.08636), (3.0, -0.22887), (4.0, 245.304)];
    for (a, expected) in close {
        let mut out = [a];
        k::trig_power(&mut out, 1);
        assert!((out[0] / expected - 1.0f64).abs() < 1e-4, "{a}: {} is not {expected}", out[0]);
    }
}

#[test]
fn no_rounds_change_nothing_and_rounds_add_up() {
    let mut a = [0.25, -0.0, 7.0];
    k::trig_power(&mut a, 0);
    assert_eq!(a.map(f64::to_bits), [0.25f64, -0.0, 7.0].map(f64::to_bits));
    let (mut once, mut together) = ([0.1, 0.9], [0.1, 0.9]);
    for _ in 0..5 {
        k::trig_power(&mut once, 1);
    }
    k::trig_power(&mut together, 5);
    assert_eq!(once, together);
    assert_eq!(k::trig_power_sum([0.1, 0.9], 5), together[0] + together[1]);
}

#[test]
#[should_panic(expected = "equal lengths")]
fn unequal_lengths_are_refused() {
    k::sin(&[1.0, 2.0], &mut [0.0]);
}

#[test]
#[should_panic(expected = "x and y must have equal lengths")]
fn unequal_lengths_of_a_power_are_refused() {
    k::pow(&[1.0, 2.0], &[1.0], &mut [0.0, 0.0]);
}
