//! What a few times say: the median, how sure it is, which of them are outliers, and whether two
//! medians are told apart.

#![forbid(unsafe_code)]

/// The most that an interval is to cover; with few times the widest one covers less.
const CONFIDENCE: f64 = 0.95;
/// An outlier is further from the median than so many standard deviations, estimated by the
/// median of all such distances (Iglewicz and Hoaglin, 1993).
const FAR: f64 = 3.5;
/// From that median to a standard deviation, for a normal distribution.
const TO_SIGMA: f64 = 1.4826;

/// What is known of a median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    /// The probability that it covers the median.
    pub(super) confidence: f64,
}

/// What is known of the difference of two medians.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Difference {
    /// Their intervals do not overlap, and each covers its median in all likelihood.
    Real,
    /// Their intervals overlap.
    BelowTheNoise,
    /// Their intervals do not overlap, and mean little: there are too few times.
    Unsure,
}

impl Interval {
    pub(super) fn is_sure(self) -> bool {
        self.confidence >= CONFIDENCE
    }

    pub(super) fn difference(self, other: Interval) -> Difference {
        // An interval that were surer would be wider: what overlaps now, would then.
        if self.low <= other.high && other.low <= self.high {
            Difference::BelowTheNoise
        } else if self.is_sure() && other.is_sure() {
            Difference::Real
        } else {
            Difference::Unsure
        }
    }
}

/// Order statistics of some times; they presume nothing of the distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Statistics {
    pub(super) median: f64,
    /// From the time of rank `k` to that of rank `n − 1 − k`.
    pub(super) low: f64,
    pub(super) high: f64,
    /// The probability that the interval covers the true median.
    pub(super) confidence: f64,
    pub(super) outliers: usize,
}

/// The statistics of at least one time.
pub(super) fn statistics(times: &[f64]) -> Option<Statistics> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let median = median(&sorted)?;
    let mut far: Vec<f64> = sorted.iter().map(|time| (time - median).abs()).collect();
    far.sort_by(f64::total_cmp);
    let limit = FAR * TO_SIGMA * self::median(&far)?;
    let outliers = far.iter().filter(|&&distance| limit > 0.0 && distance > limit).count();
    let mut best = (0, coverage(n, 0));
    for rank in 1..n.div_ceil(2) {
        let confidence = coverage(n, rank);
        if confidence >= CONFIDENCE {
            best = (rank, confidence);
        }
    }
    let (rank, confidence) = best;
    Some(Statistics { median, low: sorted[rank], high: sorted[n - 1 - rank], confidence, outliers })
}

/// So many times have an interval that is sure.
pub(super) fn least_runs() -> usize {
    (1..)
        .find(|&n| coverage(n, 0) >= CONFIDENCE)
        .expect("the range of many times covers the median")
}

/// The probability that the median lies between ranks `rank` and `n − 1 − rank`: that of `n` coins
/// more than `rank` and fewer than `n − rank` fall on heads.
fn coverage(n: usize, rank: usize) -> f64 {
    let (mut term, mut tail) = (0.5f64.powi(n as i32), 0.0);
    for heads in 0..=rank {
        tail += term;
        term *= (n - heads) as f64 / (heads + 1) as f64;
    }
    (1.0 - 2.0 * tail).max(0.0)
}

fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let upper = *sorted.get(n / 2)?;
    Some(if n % 2 == 1 { upper } else { f64::midpoint(sorted[n / 2 - 1], upper) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_intervals_are_those_of_the_tables() {
        assert_eq!(statistics(&[]), None);
        let one = statistics(&[2.0]).unwrap();
        assert_eq!((one.median, one.low, one.high, one.confidence), (2.0, 2.0, 2.0, 0.0));
        // n = 6: the range covers 1 − 2/64; n = 10: ranks 2 and 9 cover 0.97852.
        let six = statistics(&[6.0, 1.0, 5.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!((six.median, six.low, six.high), (3.5, 1.0, 6.0));
        assert!((six.confidence - 0.96875).abs() < 1e-12);
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        let ten = statistics(&ten).unwrap();
        assert_eq!((ten.low, ten.high), (2.0, 9.0));
        assert!((ten.confidence - 0.978_515_625).abs() < 1e-12);
        assert_eq!(least_runs(), 6);
    }

    #[test]
    fn a_difference_is_real_only_where_both_intervals_are_sure() {
        let of = |at: f64, runs: usize| {
            let times: Vec<f64> = (0..runs).map(|run| at + run as f64 / 100.0).collect();
            let found = statistics(&times).unwrap();
            Interval { low: found.low, high: found.high, confidence: found.confidence }
        };
        assert_eq!(of(1.0, 6).difference(of(2.0, 6)), Difference::Real);
        assert_eq!(of(2.0, 6).difference(of(1.0, 7)), Difference::Real);
        for (a, b) in [(1, 1), (5, 5), (5, 7), (6, 1)] {
            assert_eq!(of(1.0, a).difference(of(2.0, b)), Difference::Unsure, "{a} {b}");
            assert_eq!(of(2.0, b).difference(of(1.0, a)), Difference::Unsure, "{a} {b}");
        }
        assert_eq!(of(1.0, 5).difference(of(1.01, 5)), Difference::BelowTheNoise);
    }

    #[test]
    fn a_time_far_from_the_others_is_an_outlier() {
        assert_eq!(statistics(&[1.0, 1.1, 0.9, 1.05, 9.0]).unwrap().outliers, 1);
        assert_eq!(statistics(&[1.0, 1.1, 0.9, 1.05, 1.2]).unwrap().outliers, 0);
    }
}
