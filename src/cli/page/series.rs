//! Points with one policy, kind of pages and chunk length, by their number of workers: how far
//! more workers are faster, and which laws that follows.

#![forbid(unsafe_code)]

use serde::Serialize;

use super::Point;
use super::fit::{self, Fit};

/// A line of the plots over numbers of workers.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Scaling {
    pub(in crate::cli) bind: String,
    pub(in crate::cli) pages: Option<String>,
    pub(in crate::cli) chunk: usize,
    /// The workers of the point that speed-up is against, as which it counts: mostly 1.
    pub(in crate::cli) base_workers: usize,
    /// By number of workers.
    pub(in crate::cli) steps: Vec<Step>,
    pub(in crate::cli) amdahl: Law,
    pub(in crate::cli) universal: Law,
}

/// One number of workers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::cli) struct Step {
    /// The index of the point.
    pub(in crate::cli) point: usize,
    pub(in crate::cli) workers: usize,
    /// The base's median over this one's median, and over the ends of its interval.
    pub(in crate::cli) speedup: f64,
    pub(in crate::cli) low: f64,
    pub(in crate::cli) high: f64,
}

/// A law, or why there is none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum Law {
    Fit(Fit),
    Missing(String),
}

impl Law {
    pub(in crate::cli) fn fit(&self) -> Option<&Fit> {
        match self {
            Law::Fit(fit) => Some(fit),
            Law::Missing(_) => None,
        }
    }
}

impl Scaling {
    /// All lines, that of the fastest point first.
    pub(in crate::cli) fn of(points: &[Point]) -> Vec<Scaling> {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|&a, &b| points[a].seconds.total_cmp(&points[b].seconds));
        let key = |at: usize| (&points[at].bind, &points[at].pages, points[at].chunk);
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for at in order {
            match groups.iter_mut().find(|group| key(group[0]) == key(at)) {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        groups.into_iter().map(|group| Scaling::line(points, group)).collect()
    }

    fn line(points: &[Point], mut group: Vec<usize>) -> Scaling {
        group.sort_by_key(|&at| points[at].workers);
        let base = &points[group[0]];
        let whole = base.seconds * base.workers as f64;
        let steps = group.iter().map(|&at| {
            let point = &points[at];
            let (speedup, low, high) =
                (whole / point.seconds, whole / point.high, whole / point.low);
            Step { point: at, workers: point.workers, speedup, low, high }
        });
        let placed = group.iter().map(|&at| &points[at]).filter(|point| !point.oversubscribed);
        let times: Vec<(usize, f64)> = placed.map(|point| (point.workers, point.seconds)).collect();
        let law = |fit: Result<Fit, String>| fit.map_or_else(Law::Missing, Law::Fit);
        Scaling {
            bind: base.bind.clone(),
            pages: base.pages.clone(),
            chunk: base.chunk,
            base_workers: base.workers,
            steps: steps.collect(),
            amdahl: law(fit::amdahl(&times, whole)),
            universal: law(fit::universal(&times, whole)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::point;
    use super::*;

    #[test]
    fn speed_up_is_against_the_fewest_workers_of_the_same_line() {
        let points = [point(4, 10, 1.0), point(2, 10, 1.8), point(1, 99, 8.0), point(2, 99, 2.0)];
        let lines = Scaling::of(&points);
        assert_eq!(lines.iter().map(|line| line.chunk).collect::<Vec<_>>(), [10, 99]);
        assert_eq!((lines[0].base_workers, lines[1].base_workers), (2, 1));
        let steps: Vec<_> = lines[0].steps.iter().map(|s| (s.point, s.workers)).collect();
        assert_eq!(steps, [(1, 2), (0, 4)]);
        assert!((lines[0].steps[1].speedup - 3.6).abs() < 1e-12);
        assert!((lines[1].steps[1].speedup - 4.0).abs() < 1e-12);
        assert!(lines[0].steps[1].low < 3.6 && lines[0].steps[1].high > 3.6);
    }

    #[test]
    fn points_and_curves_are_against_the_same_time() {
        // The first time is off by a tenth, the others follow Amdahl's law.
        let mut points: Vec<_> =
            [1, 2, 4, 8, 16].map(|n| point(n, 10, 0.2 + 0.8 / n as f64)).to_vec();
        points[0].seconds *= 1.1;
        let line = &Scaling::of(&points)[0];
        let fit = line.amdahl.fit().unwrap();
        let (last, by_law) = (line.steps.last().unwrap(), fit.curve.last().unwrap());
        assert_eq!(by_law.0, 16.0);
        // In the plot, mark and curve are apart by the error of the fit and by nothing else.
        assert!((by_law.1 / last.speedup - 1.0).abs() <= 1.0 / (1.0 - fit.worst) - 1.0);
        assert!((by_law.1 / last.speedup - 1.0).abs() < 0.04, "{by_law:?} {last:?}");
        assert!((fit.curve[0].1 - 1.0).abs() > 0.01, "that is where the fit is off");
    }

    #[test]
    fn workers_that_take_turns_are_in_no_fit() {
        let mut points: Vec<_> = [1, 2, 4, 8].map(|n| point(n, 10, 1.0 / n as f64)).to_vec();
        assert!(Scaling::of(&points)[0].universal.fit().is_some());
        points[3].oversubscribed = true;
        let lines = Scaling::of(&points);
        assert!(lines[0].amdahl.fit().is_some() && lines[0].universal.fit().is_none());
        assert_eq!(lines[0].steps.len(), 4);
    }
}
