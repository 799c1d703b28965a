//! What an elliptic curve does, worked out once: the steps of both stages for a pair of bounds,
//! and the curves themselves. Portable; the vector kernels in `ecm_avx512.rs` carry it out.
//!
//! Stage 1 multiplies a point by every prime power to B1, each prime by the best chain that
//! P. L. Montgomery's rules (PRAC) give over all starts. Stage 2 finds one more prime up to B2:
//! every such prime is `giant·g ± j`, so it needs one product for each pair (g, j).

#![forbid(unsafe_code)]

use std::sync::OnceLock;

use super::arithmetic::gcd;
use super::sieve::primes_in;

/// A step of a chain on the points A, B and C = A - B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A = 2A, alone.
    Double,
    /// B = C = A, A = 2A.
    Start,
    /// Exchange A and B.
    Swap,
    /// B, C = A + B, B.
    Add,
    /// B = A + B, A = 2A.
    AddDoubleA,
    /// C = A + C, A = 2A.
    ShiftA,
    /// C = B + C, B = 2B.
    ShiftB,
    /// A = A + B.
    End,
}

/// Both stages for one pair of bounds.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) stage_1: Vec<Step>,
    /// The width of a giant step: twice an odd multiple of 15.
    pub(super) giant: u64,
    /// Baby steps: the numbers below half of it without a common divisor with it.
    pub(super) babies: Vec<u64>,
    /// For the giant steps 1, 2, ...: bit k is set when `giant·g ± babies[k]` is to be covered.
    pub(super) stage_2: Vec<u32>,
}

/// The two bounds and the giant step, from curves for factors of some 14 bits to those for
/// 32 bits; chosen by measurement.
const BOUNDS: [(u64, u64, u64); 4] =
    [(16, 315, 90), (47, 1_755, 90), (85, 3_465, 210), (173, 10_185, 210)];

/// The plans for the bounds, cheapest first.
pub(super) fn plans() -> &'static [Plan; BOUNDS.len()] {
    static PLANS: OnceLock<[Plan; BOUNDS.len()]> = OnceLock::new();
    PLANS.get_or_init(|| BOUNDS.map(|(b1, b2, giant)| Plan::new(b1, b2, giant)))
}

impl Plan {
    fn new(b1: u64, b2: u64, giant: u64) -> Plan {
        let mut stage_1 = Vec::new();
        for p in primes_in(2, b1 + 1) {
            let mut power = p;
            while power <= b1 {
                chain(p, &mut stage_1);
                power *= p;
            }
        }
        let babies: Vec<u64> = (1..giant / 2).filter(|&j| gcd(j, giant) == 1).collect();
        let giants = (b2 + giant / 2) / giant;
        let mut stage_2 = vec![0; giants as usize];
        for p in primes_in(b1.max(giant / 2) + 1, giants * giant + giant / 2) {
            let g = (p + giant / 2) / giant;
            let j = p.abs_diff(g * giant);
            if let Some(k) = babies.iter().position(|&b| b == j) {
                stage_2[g as usize - 1] |= 1 << k;
            }
        }
        Plan { stage_1, giant, babies, stage_2 }
    }
}

/// Appends the cheapest chain for a prime over all starts.
fn chain(p: u64, steps: &mut Vec<Step>) {
    if p == 2 {
        return steps.push(Step::Double);
    }
    let best = (p / 2 + 1..p).filter_map(|r| chain_from(p, r)).min_by_key(|c| cost(c));
    steps.extend(best.expect("r = p - 1 always ends in a chain"));
}

fn cost(steps: &[Step]) -> u32 {
    let products = |step: &Step| match step {
        Step::Swap => 0,
        Step::Double | Step::Start | Step::Add | Step::End => 6,
        Step::AddDoubleA | Step::ShiftA | Step::ShiftB => 12,
    };
    steps.iter().map(products).sum()
}

/// The chain that Montgomery's rules give when they begin with p = 2(p - r) + (2r - p). It keeps
/// `d·A + e·B = p·P`, and ends well when d and e meet at 1.
fn chain_from(p: u64, r: u64) -> Option<Vec<Step>> {
    let (mut d, mut e) = (p - r, 2 * r - p);
    if gcd(d, e) != 1 {
        return None;
    }
    let mut steps = vec![Step::Start];
    while d != e {
        if d < e {
            (d, e) = (e, d);
            steps.push(Step::Swap);
        }
        if d <= 4 * e {
            d -= e;
            steps.push(Step::Add);
        } else if (d + e) % 2 == 0 {
            d = (d - e) / 2;
            steps.push(Step::AddDoubleA);
        } else if d % 2 == 0 {
            d /= 2;
            steps.push(Step::ShiftA);
        } else {
            e /= 2;
            steps.push(Step::ShiftB);
        }
        if d == 0 || e == 0 {
            return None;
        }
    }
    steps.push(Step::End);
    Some(steps)
}

/// A curve with a point on it, in plain numbers; all are homogeneous, so that they may be taken
/// as Montgomery forms for any modulus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curve {
    pub(super) x: u64,
    pub(super) z: u64,
    /// (A + 2)/4 = numerator / denominator.
    pub(super) numerator: u64,
    pub(super) denominator: u64,
}

/// Suyama's curves, whose order is divisible by 12, with sigma = a/b between √5 and 5, where all
/// terms are positive and small: of the smallest b, but for 3, whose curve is none. So many that
/// hardly one number of 64 bits in a million outlasts them, if a curve splits one in five.
pub(super) const CURVES: [Curve; 64] = {
    let mut all = [suyama(4, 1); 64];
    let (mut a, mut b, mut count) = (4, 1, 0);
    while count < all.len() {
        if a * a > 5 * b * b && coprime(a, b) {
            all[count] = suyama(a, b);
            count += 1;
        }
        a += 1;
        if a >= 5 * b {
            (a, b) = (2 * b, b + 1);
        }
    }
    all
};

const fn coprime(mut a: u64, mut b: u64) -> bool {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}

/// u = sigma² - 5, v = 4·sigma; the point u³ : v³; (v - u)³(3u + v) / (16·u³·v).
const fn suyama(a: u64, b: u64) -> Curve {
    let u = a * a - 5 * b * b;
    let v = 4 * a * b;
    let w = v - u;
    Curve {
        x: u * u * u,
        z: v * v * v,
        numerator: w * w * w * (3 * u + v),
        denominator: 16 * u * u * u * v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Multiples are known up to sign: the sum of p and q whose difference is `difference`.
    fn sum(p: u64, q: u64, difference: u64) -> u64 {
        if p.abs_diff(q) == difference {
            return p + q;
        }
        assert_eq!(p + q, difference);
        p.abs_diff(q)
    }

    #[test]
    fn every_chain_multiplies_by_its_prime() {
        for p in primes_in(2, 300) {
            let mut steps = Vec::new();
            chain(p, &mut steps);
            let (mut a, mut b, mut c) = (1, 0, 0);
            for step in steps {
                match step {
                    Step::Double => a *= 2,
                    Step::Start => (a, b, c) = (2 * a, a, a),
                    Step::Swap => (a, b) = (b, a),
                    Step::Add => (b, c) = (sum(a, b, c), b),
                    Step::AddDoubleA => (a, b) = (2 * a, sum(a, b, c)),
                    Step::ShiftA => (a, c) = (2 * a, sum(c, a, b)),
                    Step::ShiftB => (b, c) = (2 * b, sum(c, b, a)),
                    Step::End => a = sum(a, b, c),
                }
            }
            assert_eq!(a, p);
        }
    }

    #[test]
    fn the_second_stage_covers_every_prime_between_the_bounds() {
        for (plan, (b1, b2, giant)) in plans().iter().zip(BOUNDS) {
            assert!(plan.babies.len() <= u32::BITS as usize);
            for p in primes_in(b1.max(giant / 2) + 1, b2) {
                let covered = plan.stage_2.iter().zip(1..).any(|(&bits, g): (&u32, u64)| {
                    plan.babies
                        .iter()
                        .enumerate()
                        .any(|(k, &j)| (bits >> k) & 1 == 1 && p.abs_diff(g * giant) == j)
                });
                assert!(covered, "{p}");
            }
        }
    }

    #[test]
    fn the_constants_of_the_curves_fit_a_limb() {
        for c in CURVES {
            for value in [c.x, c.z, c.numerator, c.denominator] {
                assert!(value > 0 && value < 1 << 46, "{c:?}");
            }
        }
    }
}
