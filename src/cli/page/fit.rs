//! Amdahl's law and the universal scalability law, fitted to times by numbers of workers.
//!
//! Both are t(n) = t₁·(1/n + α·(n−1)/n + β·(n−1)): α is the part that workers do one after the
//! other (Amdahl's serial part, Gunther's contention), β what each pair of them costs (coherency;
//! 0 with Amdahl). Linear in t₁, t₁α and t₁β, so the least squares of the relative errors are
//! found by solving a system of three equations; a part below 0 has no meaning, and is 0.

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
    /// The speed-up that no number of workers exceeds; none where it is without bound.
    pub(in crate::cli) most: Option<f64>,
    /// The number of workers with which it is reached, where it is.
    pub(in crate::cli) most_at: Option<f64>,
    /// The largest difference between a time and the law, as a part of the time.
    pub(in crate::cli) worst: f64,
    /// Numbers of workers and speed-ups, for drawing.
    pub(in crate::cli) curve: Vec<(f64, f64)>,
}

/// Amdahl's law, from at least three numbers of workers.
pub(super) fn amdahl(times: &[(usize, f64)]) -> Result<Fit, String> {
    fit(times, 2)
}

/// The universal scalability law, from at least four.
pub(super) fn universal(times: &[(usize, f64)]) -> Result<Fit, String> {
    fit(times, 3)
}

/// What each of the terms is for so many workers.
fn terms(workers: f64) -> [f64; 3] {
    [1.0 / workers, (workers - 1.0) / workers, workers - 1.0]
}

fn fit(times: &[(usize, f64)], unknowns: usize) -> Result<Fit, String> {
    // One more than the unknowns: else any numbers at all would fit.
    if times.len() <= unknowns {
        return Err(format!(
            "needs {} numbers of workers with a place of their own each, and there are {}",
            unknowns + 1,
            times.len()
        ));
    }
    let candidates: &[&[usize]] =
        if unknowns == 3 { &[&[0, 1, 2], &[0, 2], &[0, 1], &[0]] } else { &[&[0, 1], &[0]] };
    let solved = candidates.iter().filter_map(|which| {
        let found = solve(times, which)?;
        let sensible = found[0] > 0.0 && found.iter().all(|&value| value >= 0.0);
        sensible.then(|| (found, errors(times, &found)))
    });
    let sum = |errors: &[f64]| errors.iter().map(|error| error * error).sum::<f64>();
    let best = solved.min_by(|a, b| sum(&a.1).total_cmp(&sum(&b.1)));
    let ([one, serial, coherency], errors) = best.ok_or("no law fits these times")?;
    let (serial, coherency) = (serial / one, coherency / one);
    let speed = |workers: f64| {
        let [own, after, between] = terms(workers);
        1.0 / (own + serial * after + coherency * between)
    };
    let last = times.iter().map(|&(workers, _)| workers).max().unwrap_or(1) as f64;
    let at = |sample: usize| 1.0 + (last - 1.0) * sample as f64 / (SAMPLES - 1) as f64;
    let peak = ((1.0 - serial).max(0.0) / coherency).sqrt().max(1.0);
    let (most, most_at) = match (serial > 0.0, coherency > 0.0) {
        (_, true) => (Some(speed(peak)), Some(peak)),
        (true, false) => (Some(1.0 / serial), None),
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

/// How far each time is from the law, as a part of the time.
fn errors(times: &[(usize, f64)], found: &[f64; 3]) -> Vec<f64> {
    let law = |workers: usize| {
        terms(workers as f64).iter().zip(found).map(|(term, value)| term * value).sum::<f64>()
    };
    times.iter().map(|&(workers, time)| law(workers) / time - 1.0).collect()
}

/// The least squares over the chosen terms, the others being 0; `None` where they are not told
/// apart by these numbers of workers.
fn solve(times: &[(usize, f64)], which: &[usize]) -> Option<[f64; 3]> {
    let k = which.len();
    // The normal equations, with the right side as the last column.
    let mut rows = [[0.0; 4]; 3];
    for &(workers, time) in times {
        let terms = terms(workers as f64);
        for (row, &i) in rows.iter_mut().zip(which) {
            for (column, &j) in which.iter().enumerate() {
                row[column] += terms[i] * terms[j] / (time * time);
            }
            row[k] += terms[i] / time;
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
    let mut found = [0.0; 3];
    for pivot in (0..k).rev() {
        let known: f64 =
            (pivot + 1..k).map(|column| rows[pivot][column] * found[which[column]]).sum();
        found[which[pivot]] = (rows[pivot][k] - known) / rows[pivot][pivot];
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
        let amdahl = amdahl(&times(0.05, 0.0)).unwrap();
        assert!((amdahl.serial - 0.05).abs() < 1e-9, "{amdahl:?}");
        assert!((amdahl.most.unwrap() - 20.0).abs() < 1e-6 && amdahl.worst < 1e-9);
        let universal = universal(&times(0.05, 0.002)).unwrap();
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
        let amdahl = amdahl(&times).unwrap();
        assert_eq!((amdahl.serial, amdahl.most), (0.0, None));
        let universal = universal(&times).unwrap();
        assert!(universal.serial >= 0.0 && universal.coherency >= 0.0);
    }

    #[test]
    fn too_few_points_are_said_and_not_fitted() {
        let two = [(1, 1.0), (2, 0.5)];
        assert!(amdahl(&two).unwrap_err().contains("needs 3 numbers of workers"));
        let three = [(1, 1.0), (2, 0.5), (4, 0.3)];
        assert!(amdahl(&three).is_ok());
        assert!(universal(&three).unwrap_err().contains("needs 4"));
    }
}
