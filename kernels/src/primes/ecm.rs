//! The elliptic-curve method on one u64, portable: the same curves and plans as on vectors.
//!
//! The products of one step on a curve do not wait for each other, so a scalar multiplier is kept
//! as busy by one number as the vector unit by dozens.

#![forbid(unsafe_code)]

use super::arithmetic::gcd;
use super::ecm_plan::{CURVES, Curve, Plan, Step, plans};
use super::montgomery::Montgomery;

/// Below this the smallest factor has at most 21 bits, and short curves do.
pub(super) const SMALL_BELOW: u64 = 1 << 42;

/// A point in projective coordinates without y.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: u64,
    z: u64,
}

/// A modulus and the constant of a curve.
#[derive(Debug)]
struct Field {
    m: Montgomery,
    numerator: u64,
    denominator: u64,
}

/// A proper divisor of an odd composite without small primes; `None` in the rare case that no
/// curve of the list finds one.
pub(super) fn split(n: u64) -> Option<u64> {
    let m = Montgomery::new(n);
    let [shortest, first, second, later] = plans();
    CURVES.iter().enumerate().find_map(|(i, curve)| {
        let plan = match i {
            0..4 if n < SMALL_BELOW => shortest,
            0 => shortest,
            1 => first,
            2 => second,
            _ => later,
        };
        let (stage_1, stage_2) = run(m, curve, plan);
        let proper = |value| Some(gcd(value, n)).filter(|&g| g != 1 && g != n);
        proper(stage_2).or_else(|| proper(stage_1))
    })
}

/// One curve: what may have a divisor in common with n after the first stage, and after both.
pub(super) fn run(m: Montgomery, curve: &Curve, plan: &Plan) -> (u64, u64) {
    let n = m.modulus();
    let field = Field { m, numerator: curve.numerator % n, denominator: curve.denominator % n };
    let q = field.stage_1(Point { x: curve.x % n, z: curve.z % n }, &plan.stage_1);
    (q.z, field.stage_2(q, plan))
}

impl Field {
    fn stage_1(&self, start: Point, steps: &[Step]) -> Point {
        let (mut a, mut b, mut c) = (start, start, start);
        for step in steps {
            match step {
                Step::Double => a = self.double(a),
                Step::Start => (a, b, c) = (self.double(a), a, a),
                Step::Swap => (a, b) = (b, a),
                Step::Add => (b, c) = (self.add(a, b, c), b),
                Step::AddDoubleA => (a, b) = (self.double(a), self.add(a, b, c)),
                Step::ShiftA => (a, c) = (self.double(a), self.add(c, a, b)),
                Step::ShiftB => (b, c) = (self.double(b), self.add(c, b, a)),
                Step::End => a = self.add(a, b, c),
            }
        }
        a
    }

    fn stage_2(&self, q: Point, plan: &Plan) -> u64 {
        let babies = plan.babies.len();
        let mut points = self.baby_steps(q, plan);
        let step = points[babies];
        for g in 1..plan.stage_2.len() {
            let here = points[babies + g - 1];
            points.push(match g {
                1 => self.double(here),
                _ => self.add(here, step, points[babies + g - 2]),
            });
        }
        self.to_one_denominator(&mut points);
        let mut product = q.z;
        for (here, &bits) in points[babies..].iter().zip(&plan.stage_2) {
            let mut open = bits;
            while open != 0 {
                let baby = points[open.trailing_zeros() as usize];
                open &= open - 1;
                product = self.m.mul(product, self.m.sub(here.x, baby.x));
            }
        }
        product
    }

    /// Multiplies each x by the z of all other points: then all z are the same, and left out. The z
    /// here are of no use afterwards.
    fn to_one_denominator(&self, points: &mut [Point]) {
        let m = &self.m;
        let mut after = m.one();
        for point in points.iter_mut().rev() {
            point.x = m.mul(point.x, after);
            after = m.mul(after, point.z);
        }
        let mut before = m.one();
        for point in points {
            point.x = m.mul(point.x, before);
            before = m.mul(before, point.z);
        }
    }

    /// The points `babies[k]·q`, and the giant step behind them: as in `ecm_avx512.rs`.
    fn baby_steps(&self, q: Point, plan: &Plan) -> Vec<Point> {
        let q2 = self.double(q);
        let q3 = self.add(q2, q, q);
        let q6 = self.double(q3);
        let q5 = self.add(q3, q2, q);
        let mut points = Vec::with_capacity(plan.babies.len() + plan.stage_2.len());
        points.resize(plan.babies.len(), q);
        let (mut up, mut up_before) = (q, q5);
        let (mut down, mut down_before) = (q5, q);
        let mut j = 1;
        loop {
            for (point, number) in [(up, j), (down, j + 4)] {
                if let Some(k) = plan.babies.iter().position(|&b| b == number) {
                    points[k] = point;
                }
            }
            if j + 2 == plan.giant / 2 {
                break;
            }
            (up, up_before) = (self.add(up, q6, up_before), up);
            (down, down_before) = (self.add(down, q6, down_before), down);
            j += 6;
        }
        points.push(self.add(up, down, self.double(q2)));
        points
    }

    #[inline]
    fn double(&self, p: Point) -> Point {
        let m = &self.m;
        let s = m.square(m.add(p.x, p.z));
        let d = m.square(m.sub(p.x, p.z));
        let t = m.sub(s, d);
        let d = m.mul(d, self.denominator);
        Point { x: m.mul(s, d), z: m.mul(t, m.add(d, m.mul(t, self.numerator))) }
    }

    /// `p + q` from `p`, `q` and `p - q`.
    #[inline]
    fn add(&self, p: Point, q: Point, difference: Point) -> Point {
        let m = &self.m;
        let u = m.mul(m.sub(p.x, p.z), m.add(q.x, q.z));
        let v = m.mul(m.add(p.x, p.z), m.sub(q.x, q.z));
        let s = m.square(m.add(u, v));
        let d = m.square(m.sub(u, v));
        Point { x: m.mul(s, difference.z), z: m.mul(d, difference.x) }
    }
}
