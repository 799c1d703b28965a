//! The elliptic-curve method for u128, on Montgomery curves, with Suyama's parametrisation.
//!
//! Sources: H. W. Lenstra, "Factoring integers with elliptic curves", Annals of Math. 126 (1987);
//! P. L. Montgomery, "Speeding the Pollard and elliptic curve methods", Math. Comp. 48 (1987).

#![forbid(unsafe_code)]

use super::sieve::primes_in;
use super::wide::Progress;
use super::wide_montgomery::Wide;

/// Curves to run at each bound before the next: for factors of about 20, 30, 40, 50, 64 bits.
const PLAN: [(u64, u64); 5] = [(100, 10), (300, 25), (1_000, 50), (3_000, 80), (8_000, 200)];

/// The second bound, as a multiple of the first.
const SECOND_BOUND_FACTOR: u64 = 40;

/// A point in projective coordinates without y.
#[derive(Debug, Clone, Copy)]
struct Point {
    x: u128,
    z: u128,
}

/// A proper divisor of an odd composite `n`; `None` when `go_on` says to stop.
pub(super) fn split(n: u128, go_on: &mut impl FnMut(&Progress) -> bool) -> Option<u128> {
    let root = n.isqrt();
    if root * root == n {
        return Some(root);
    }
    let m = Wide::new(n);
    let mut curves = 0;
    for stage in 0.. {
        let (bound, count) = PLAN[stage.min(PLAN.len() - 1)];
        let primes: Vec<u64> = primes_in(2, bound * SECOND_BOUND_FACTOR).collect();
        for _ in 0..count {
            if !go_on(&Progress { composite: n, curves, bound }) {
                return None;
            }
            curves += 1;
            if let Some(p) = curve(&m, curves + 5, bound, &primes) {
                return Some(p);
            }
        }
    }
    None
}

/// The greatest common divisor with the modulus, when it is a proper one.
fn proper(m: &Wide, value: u128) -> Option<u128> {
    let (mut a, mut b) = (m.modulus(), value);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (a != 1 && a != m.modulus()).then_some(a)
}

fn curve(m: &Wide, sigma: u64, bound: u64, primes: &[u64]) -> Option<u128> {
    let s = m.form(sigma);
    let u = m.sub(m.mul(s, s), m.form(5));
    let v = m.mul(s, m.form(4));
    let cube = |a| m.mul(m.mul(a, a), a);
    let (u3, v3) = (cube(u), cube(v));
    // a24 = (v-u)³(3u+v) / (16 u³ v), by an inverse modulo n (or a divisor, at once).
    let numerator = m.mul(cube(m.sub(v, u)), m.add(m.add(u, u), m.add(u, v)));
    let denominator = m.mul(m.form(16), m.mul(u3, v));
    let inverse = match invert(m, denominator) {
        Ok(inverse) => inverse,
        Err(divisor) => return divisor,
    };
    let a24 = m.mul(numerator, inverse);
    let mut point = Point { x: u3, z: v3 };
    let first = primes.partition_point(|&p| p <= bound);
    for &p in &primes[..first] {
        let mut power = p;
        while power <= bound {
            point = ladder(m, a24, point, p);
            power *= p;
        }
    }
    proper(m, point.z).or_else(|| second_stage(m, a24, point, &primes[first..]))
}

/// Looks for one more prime of the order among `primes`, by steps of 210 with baby steps below.
fn second_stage(m: &Wide, a24: u128, q: Point, primes: &[u64]) -> Option<u128> {
    const GIANT: u64 = 210;
    let baby: Vec<Point> = (0..=GIANT / 2).map(|j| ladder(m, a24, q, j)).collect();
    let step = ladder(m, a24, q, GIANT);
    let mut centre = primes.first()? / GIANT;
    let mut before = ladder(m, a24, q, GIANT * centre);
    centre += 1;
    let mut here = ladder(m, a24, q, GIANT * centre);
    let mut product = m.one();
    for &p in primes {
        while p > centre * GIANT + GIANT / 2 {
            (before, here) = (here, add(m, here, step, before));
            centre += 1;
        }
        let j = baby[(centre * GIANT).abs_diff(p).min(GIANT / 2) as usize];
        if (centre * GIANT).abs_diff(p) > GIANT / 2 {
            // Only at the very start, below the first centre: one ladder for the prime itself.
            product = m.mul(product, ladder(m, a24, q, p).z);
            continue;
        }
        product = m.mul(product, m.sub(m.mul(here.x, j.z), m.mul(j.x, here.z)));
    }
    proper(m, product)
}

fn double(m: &Wide, a24: u128, p: Point) -> Point {
    let (s, d) = (m.add(p.x, p.z), m.sub(p.x, p.z));
    let (s, d) = (m.mul(s, s), m.mul(d, d));
    let t = m.sub(s, d);
    Point { x: m.mul(s, d), z: m.mul(t, m.add(d, m.mul(a24, t))) }
}

/// `p + q` from `p`, `q` and `p - q`.
fn add(m: &Wide, p: Point, q: Point, difference: Point) -> Point {
    let u = m.mul(m.sub(p.x, p.z), m.add(q.x, q.z));
    let v = m.mul(m.add(p.x, p.z), m.sub(q.x, q.z));
    let (s, d) = (m.add(u, v), m.sub(u, v));
    Point { x: m.mul(difference.z, m.mul(s, s)), z: m.mul(difference.x, m.mul(d, d)) }
}

/// `k·p` by Montgomery's ladder.
fn ladder(m: &Wide, a24: u128, p: Point, k: u64) -> Point {
    if k == 0 {
        return Point { x: m.one(), z: 0 };
    }
    let (mut low, mut high) = (p, double(m, a24, p));
    for bit in (0..63 - k.leading_zeros()).rev() {
        let sum = add(m, low, high, p);
        if (k >> bit) & 1 == 1 {
            low = sum;
            high = double(m, a24, high);
        } else {
            high = sum;
            low = double(m, a24, low);
        }
    }
    low
}

/// The inverse in Montgomery form, or the divisor that stands against it.
fn invert(m: &Wide, a: u128) -> Result<u128, Option<u128>> {
    // a is A·R; its plain inverse is A^-1·R^-1, and two products with R^2 bring it to form.
    let n = m.modulus();
    let (mut r0, mut r1) = (n, a);
    let (mut t0, mut t1) = (0u128, 1u128);
    let plain_product = |mut q: u128, mut t: u128| {
        let mut sum = 0;
        while q != 0 {
            if q & 1 == 1 {
                sum = m.add(sum, t);
            }
            t = m.add(t, t);
            q >>= 1;
        }
        sum
    };
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, m.sub(t0, plain_product(q, t1)));
    }
    if r0 != 1 {
        return Err((r0 != n).then_some(r0));
    }
    let mut r = m.one();
    r = m.add(r, r);
    for _ in 0..7 {
        r = m.mul(r, r);
    }
    Ok(m.mul(m.mul(t0, r), r))
}
