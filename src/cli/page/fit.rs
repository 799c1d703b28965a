//! Amdahl's law and the universal scalability law, fitted to times by numbers of workers.
//!
//! Both are t(n) = t₁·(1/n + α·(n−1)/n + β·(n−1)): α is the part that workers do one after the
//! other (Amdahl's serial part, Gunther's contention), β what each pair of them costs (coherency;
//! 0 with Amdahl). Linear in t₁, t₁α and t₁β, so the least squares of the relative errors are
//! found by solving systems of at most three equations. Only 0 ≤ α ≤ 1 and β ≥ 0 have a meaning: the
//! best law within these bounds is the best of those on each of them and between them.

#![forbid(unsafe_code)]

use serde::Serialize;

/// Points of a drawn curve.
const SAMPLES: usize = 64;

/// A fitted law.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(in crate::cli) struct Fit {
    /// α.
    pub(in crate::cli) serial: f64,
    /// β; 0 with Amdahl.
    pub(in crate::cli) coherency: f64,
    /// The speed-up that no number of workers exceeds, against what the points' is against; none
    /// where it is without bound.
    pub(in crate::cli) most: Option<f64>,
    /// The number of workers with which it is reached, where it is.
    pub(in crate::cli) most_at: Option<f64>,
    /// The largest difference between a time and the law, as a part of the time.
    pub(in crate::cli) worst: f64,
    /// Numbers of workers and speed-ups, for drawing.
    pub(in crate::cli) curve: Vec<(f64, f64)>,
}

/// The terms of a law that are one unknown together.
type Term = [f64; 3];
/// t₁, with α = 0.
const OWN: Term = [1.0, 0.0, 0.0];
/// t₁α.
const SERIAL: Term = [0.0, 1.0, 0.0];
/// t₁, with α = 1.
const ALL_SERIAL: Term = [1.0, 1.0, 0.0];
/// t₁β.
const COHERENCY: Term = [0.0, 0.0, 1.0];

const AMDAHL: [&[Term]; 3] = [&[OWN, SERIAL], &[OWN], &[ALL_SERIAL]];
const UNIVERSAL: [&[Term]; 6] = [
    &[OWN, SERIAL, COHERENCY],
    &[OWN, COHERENCY],
    &[ALL_SERIAL, COHERENCY],
    &[OWN, SERIAL],
    &[OWN],
    &[ALL_SERIAL],
];

/// Amdahl's law, from at least three numbers of workers; `whole` is the time that speed-up is
/// against.
pub(super) fn amdahl(times: &[(usize, f64)], whole: f64) -> Result<Fit, String> {
    fit(times, whole, &AMDAHL)
}

/// The universal scalability law, from at least four.
pub(super) fn universal(times: &[(usize, f64)], whole: f64) -> Result<Fit, String> {
    fit(times, whole, &UNIVERSAL)
}

/// What each of the terms is for so many workers.
fn terms(workers: f64) -> [f64; 3] {
    [1.0 / workers, (workers - 1.0) / workers, workers - 1.0]
}

/// The best of some laws, the first of which has the most unknowns.
fn fit(times: &[(usize, f64)], whole: f64, laws: &[&[Term]]) -> Result<Fit, String> {
    // One more than the unknowns: else any numbers at all would fit.
    let needed = laws[0].len() + 1;
    if times.len() < needed {
        return Err(format!(
            "needs {needed} numbers of workers with a place of their own each, and there are {}",
            times.len()
        ));
    }
    let solved = laws.iter().filter_map(|law| {
        let found = solve(times, law)?;
        let [one, serial, coherency] = found;
        let sensible = one > 0.0 && (0.0..=one).contains(&serial) && coherency >= 0.0;
        sensible.then(|| (found, errors(times, &found)))
    });
    let sum = |errors: &[f64]| errors.iter().map(|error| error * error).sum::<f64>();
    let best = solved.min_by(|a, b| sum(&a.1).total_cmp(&sum(&b.1)));
    let (found, errors) = best.ok_or("no law fits these times")?;
    let [one, serial, coherency] = found;
    let (serial, coherency) = (serial / one, coherency / one);
    let speed = |workers: f64| whole / time(&found, workers);
    let last = times.iter().map(|&(workers, _)| workers).max().unwrap_or(1) as f64;
    let at = |sample: usize| 1.0 + (last - 1.0) * sample as f64 / (SAMPLES - 1) as f64;
    let peak = ((1.0 - serial) / coherency).sqrt().max(1.0);
    let (most, most_at) = match (serial > 0.0, coherency > 0.0) {
        (_, true) => (Some(speed(peak)), Some(peak)),
        (true, false) => (Some(whole / (one * serial)), None),
        (false, false) => (None, None),
    };
    Ok(Fit {
        serial,
        coherency,
        most,
        most_at,
        worst: errors.iter().fold(0.0, |worst, error| error.abs().max(worst)),
        curve: (0..SAMPLES).map(|sample| (at(sample), speed(at(sample)))).collect(),
    })
}

/// The law's time.
fn time(found: &[f64; 3], workers: f64) -> f64 {
    terms(workers).iter().zip(found).map(|(term, value)| term * value).sum()
}

/// How far each time is from the law, as a part of the time.
fn errors(times: &[(usize, f64)], found: &[f64; 3]) -> Vec<f64> {
    times.iter().map(|&(workers, measured)| time(found, workers as f64) / measured - 1.0).collect()
}

/// The least squares over the unknowns of a law; `None` where they are not told apart by these
/// numbers of workers.
fn solve(times: &[(usize, f64)], law: &[Term]) -> Option<[f64; 3]> {
    let k = law.len();
    // The normal equations, with the right side as the last column.
    let mut rows = [[0.0; 4]; 3];
    for &(workers, measured) in times {
        let of: Vec<f64> = law.iter().map(|term| time(term, workers as f64) / measured).collect();
        for (row, own) in rows.iter_mut().zip(&of) {
            row.iter_mut().zip(&of).for_each(|(sum, other)| *sum += own * other);
            row[k] += own;
        }
    }
    for pivot in 0..k {
        let most =
            (pivot..k).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs()))?;
        rows.swap(pivot, most);
        let upper = rows[pivot];
        if upper[pivot] == 0.0 {
            return None;
        }
        for row in rows.iter_mut().take(k).skip(pivot + 1) {
            let factor = row[pivot] / upper[pivot];
            (0..=k).for_each(|column| row[column] -= factor * upper[column]);
        }
    }
    let mut unknowns = [0.0; 3];
    for pivot in (0..k).rev() {
        let known: f64 = (pivot + 1..k).map(|column| rows[pivot][column] * unknowns[column]).sum();
        unknowns[pivot] = (rows[pivot][k] - known) / rows[pivot][pivot];
    }
    let mut found = [0.0; 3];
    for (term, unknown) in law.iter().zip(unknowns) {
        found.iter_mut().zip(term).for_each(|(sum, part)| *sum += part * unknown);
    }
    found.iter().all(|value| value.is_finite()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(serial: f64, coherency: f64) -> Vec<(usize, f64)> {
        let time = |n: usize| {
            let [own, after, between] = terms(n as f64);
            (n, 2.5 * (own + serial * after + coherency * between))
        };
        [1, 2, 4, 8, 16, 32].map(time).to_vec()
    }

    #[test]
    fn the_laws_find_the_numbers_that_made_the_times() {
        let amdahl = amdahl(&times(0.05, 0.0), 2.5).unwrap();
        assert!((amdahl.serial - 0.05).abs() < 1e-9, "{amdahl:?}");
        assert!((amdahl.most.unwrap() - 20.0).abs() < 1e-6 && amdahl.worst < 1e-9);
        let universal = universal(&times(0.05, 0.002), 2.5).unwrap();
        assert!((universal.serial - 0.05).abs() < 1e-9, "{universal:?}");
        assert!((universal.coherency - 0.002).abs() < 1e-9, "{universal:?}");
        let peak = (0.95f64 / 0.002).sqrt();
        assert!((universal.most_at.unwrap() - peak).abs() < 1e-4);
        assert!((universal.curve[0].1 - 1.0).abs() < 1e-9 && universal.curve[63].0 == 32.0);
    }

    #[test]
    fn a_part_below_zero_is_zero() {
        // Faster than ideal: nothing serial, and no bound.
        let times: Vec<_> = [1, 2, 4, 8].map(|n| (n, 1.0 / (n as f64).powf(1.1))).to_vec();
        let amdahl = amdahl(&times, 1.0).unwrap();
        assert_eq!((amdahl.serial, amdahl.most), (0.0, None));
        let universal = universal(&times, 1.0).unwrap();
        assert!(universal.serial >= 0.0 && universal.coherency >= 0.0);
    }

    #[test]
    fn no_more_than_all_of_the_work_is_serial() {
        // Slower with each worker: all of it is serial, and what is more is coherency.
        let times: Vec<_> = [1, 2, 4, 8].map(|n| (n, 1.0 + 0.2 * (n - 1) as f64)).to_vec();
        let amdahl = amdahl(&times, 1.0).unwrap();
        assert_eq!(amdahl.serial, 1.0, "{amdahl:?}");
        assert!((amdahl.most.unwrap() - 1.0).abs() < 0.5);
        let universal = universal(&times, 1.0).unwrap();
        assert!((universal.serial - 1.0).abs() < 1e-9, "{universal:?}");
        assert!((universal.coherency - 0.2).abs() < 1e-9, "{universal:?}");
        assert!((universal.most_at.unwrap() - 1.0).abs() < 1e-3, "{universal:?}");
        let steeper: Vec<_> = [1, 2, 4, 8].map(|n| (n, (n as f64).sqrt())).to_vec();
        let universal = super::universal(&steeper, 1.0).unwrap();
        assert!(universal.serial <= 1.0 && universal.coherency >= 0.0, "{universal:?}");
    }

    #[test]
    fn the_best_law_within_the_bounds_is_found() {
        let noisy = [(1, 1.0), (2, 1.3), (4, 1.1), (8, 1.9), (16, 2.2)];
        let square = |found: &[f64; 3]| errors(&noisy, found).iter().map(|e| e * e).sum::<f64>();
        let fitted = universal(&noisy, 1.0).unwrap();
        let one = 1.0 / fitted.curve[0].1;
        let best = square(&[one, one * fitted.serial, one * fitted.coherency]);
        for step in 0..50 * 51 * 60 {
            let (a, b, c) = (step % 51, step / 51 % 50, step / 51 / 50);
            let one = 0.5 + f64::from(c) / 40.0;
            let other = [one, one * f64::from(a) / 50.0, one * f64::from(b) / 200.0];
            assert!(square(&other) >= best - 1e-12, "{other:?} {fitted:?}");
        }
    }

    #[test]
    fn too_few_points_are_said_and_not_fitted() {
        let two = [(1, 1.0), (2, 0.5)];
        assert!(amdahl(&two, 1.0).unwrap_err().contains("needs 3 numbers of workers"));
        let three = [(1, 1.0), (2, 0.5), (4, 0.3)];
        assert!(amdahl(&three, 1.0).is_ok());
        assert!(universal(&three, 1.0).unwrap_err().contains("needs 4"));
    }
}
