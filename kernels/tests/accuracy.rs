//! Error in ULP against multi-precision values, and against the double-double reference that they
//! prove. `examples/accuracy.rs` does the same with 10^8 arguments.

mod reference;

use pinpool_kernels as k;
use reference::{Dd, Row, table, ulps};

fn ours(row: &Row) -> f64 {
    let mut out = [0.0];
    match row.function {
        "sin" => k::sin(&[row.x], &mut out),
        "cos" => k::cos(&[row.x], &mut out),
        "exp2" => k::exp2(&[row.x], &mut out),
        "log2" => k::log2(&[row.x], &mut out),
        "pow" => k::pow(&[row.x], &[row.y], &mut out),
        _ => {
            out = [row.x];
            k::trig_power(&mut out, 1);
        }
    }
    out[0]
}

/// What the documentation promises for a row.
fn bound(row: &Row) -> f64 {
    match row.function {
        "trig_power" if (0.0..=1.5).contains(&row.x) => 0.60,
        "trig_power" => 1.0 + row.x * row.x * (1.0 + (row.x.sin() + row.x.cos()).abs().ln().abs()),
        _ => 0.80,
    }
}

#[test]
fn every_value_of_the_multi_precision_table_is_within_its_bound() {
    let rows = table();
    assert!(rows.len() > 2000, "the table has only {} rows", rows.len());
    for row in rows {
        let got = ours(&row);
        let error = ulps(got, row.exact);
        assert!(error <= bound(&row), "{row:?} gave {got:e}, off by {error:.3} ULP");
    }
}

/// The reference for a row, where the row is in the reference's range.
fn by_reference(row: &Row) -> Option<Dd> {
    let normal = row.exact.0.abs() > 1e-290 && row.exact.0.abs() < 1e290;
    let usual = row.x.abs() < 1e6 && row.x.abs() > 1e-290;
    (normal && usual).then_some(())?;
    Some(match row.function {
        "sin" => reference::sin_cos(row.x).0,
        "cos" => reference::sin_cos(row.x).1,
        "exp2" => reference::exp2(row.x),
        "log2" => reference::log2(row.x),
        "pow" if row.x > 0.0 => reference::pow(row.x, row.y),
        // Where the base all but vanishes, so do the reference's digits.
        "trig_power" if row.x.sin() + row.x.cos() > 0.01 => reference::trig_power(row.x),
        _ => return None,
    })
}

#[test]
fn the_reference_agrees_with_the_multi_precision_table() {
    let mut checked = 0;
    for row in table() {
        let Some(got) = by_reference(&row) else { continue };
        let difference = (got.0 - row.exact.0) + (got.1 - row.exact.1);
        let relative = (difference / row.exact.0).abs();
        assert!(relative < 2f64.powi(-75), "{row:?}: {got:?} is off by {relative:e}");
        checked += 1;
    }
    assert!(checked > 1200, "only {checked} rows are in the reference's range");
}

/// The largest error over `n` arguments of a fixed sequence in [low, high).
fn worst(
    n: usize,
    (low, high): (f64, f64),
    kernel: impl Fn(&[f64], &mut [f64]),
    exact: impl Fn(f64) -> Dd,
) -> f64 {
    let states = std::array::from_fn(|l| [l as u64 + 17, 2, 3, 4]);
    let (mut x, mut out) = (vec![0.0; n], vec![0.0; n]);
    k::Lanes::new(states).fill_range_f64(low, high, &mut x);
    kernel(&x, &mut out);
    x.iter().zip(&out).map(|(&x, &y)| ulps(y, exact(x))).fold(0.0, f64::max)
}

fn check(worst: f64, bound: f64) {
    assert!(worst <= bound, "{worst} ULP, where {bound} is promised");
}

#[test]
fn random_arguments_stay_within_the_bounds() {
    const N: usize = 20_000;
    let trig_power = |x: &[f64], out: &mut [f64]| {
        out.copy_from_slice(x);
        k::trig_power(out, 1);
    };
    check(worst(N, (0.0, 1.5), trig_power, reference::trig_power), 0.6);
    check(worst(N, (-0.7, 0.0), trig_power, reference::trig_power), 0.8);
    for range in [(-4.0, 4.0), (-1e5, 1e5)] {
        check(worst(N, range, k::sin, |x| reference::sin_cos(x).0), 0.80);
        check(worst(N, range, k::cos, |x| reference::sin_cos(x).1), 0.80);
    }
    check(worst(N, (-2.0, 2.0), k::exp2, reference::exp2), 0.7);
    check(worst(N, (0.5, 2.0), k::log2, reference::log2), 0.52);
}

#[test]
fn powers_near_one_keep_their_digits() {
    // A large exponent shows an error of the logarithm that a small one hides.
    let n = 20_000;
    let (mut u, mut e) = (vec![0.0; n], vec![0.0; n]);
    let mut lanes = k::Lanes::new(std::array::from_fn(|l| [l as u64 + 5, 2, 3, 4]));
    lanes.fill_range_f64(-20.0, -1.0, &mut u);
    lanes.fill_range_f64(-1000.0, 1000.0, &mut e);
    let x: Vec<f64> = u.iter().map(|u| 1.0 + u.exp2()).collect();
    let y: Vec<f64> = x.iter().zip(&e).map(|(x, e)| e / x.log2()).collect();
    let mut out = vec![0.0; n];
    k::pow(&x, &y, &mut out);
    for i in 0..n {
        check(ulps(out[i], reference::pow(x[i], y[i])), 0.7);
    }
}
