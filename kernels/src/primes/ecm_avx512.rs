//! One elliptic curve on each of 48 numbers at once, with AVX-512 IFMA.
//!
//! Nothing is ever inverted or brought into Montgomery form: points are projective, the curve's
//! constant is a fraction, and all of it is homogeneous, so that the plain constants of `CURVES` do
//! as they are. Every lane has its own modulus and its own curve; all take the same steps.
//!
//! The same algorithm is written out for one limb and for a word by the macro below.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ecm_plan::{Curve, Plan, Step};
use super::ifma::set;

/// Vectors that go together: enough to hide the latency of a product, and the points of the second
/// stage just fit the L1 cache.
pub(super) const VECTORS: usize = 6;

/// Numbers that one call takes.
pub(super) const LANES: usize = 8 * VECTORS;

/// The one-limb curve takes odd numbers in 2^20..2^48: operands of 4n then multiply below n·2^52.
pub(super) const ONE_LIMB_BELOW: u64 = 1 << 48;

/// One coordinate of all lanes.
type Row = [__m512i; VECTORS];

/// The constants of the curve of each lane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Curves {
    pub(super) x: [__m512i; VECTORS],
    pub(super) z: [__m512i; VECTORS],
    pub(super) numerator: [__m512i; VECTORS],
    pub(super) denominator: [__m512i; VECTORS],
}

impl Curves {
    /// Curves lane by lane.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn new(all: &[Curve; LANES]) -> Curves {
        let zero = [_mm512_setzero_si512(); VECTORS];
        let mut curves = Curves { x: zero, z: zero, numerator: zero, denominator: zero };
        for i in 0..VECTORS {
            let pick = |of: fn(&Curve) -> u64| gather(&all[8 * i..8 * i + 8], of);
            curves.x[i] = pick(|c| c.x);
            curves.z[i] = pick(|c| c.z);
            curves.numerator[i] = pick(|c| c.numerator);
            curves.denominator[i] = pick(|c| c.denominator);
        }
        curves
    }
}

/// What may have a divisor in common with n, up to sign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values {
    /// After the first stage alone: for lanes where both stages together have found all of n.
    pub(super) stage_1: [__m512i; VECTORS],
    pub(super) stage_2: [__m512i; VECTORS],
}

#[target_feature(enable = "avx512f")]
fn gather(c: &[Curve], of: fn(&Curve) -> u64) -> __m512i {
    let at = |i: usize| of(&c[i]) as i64;
    _mm512_setr_epi64(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7))
}

macro_rules! curve {
    ($name:ident, $arithmetic:ident) => {
        /// Runs one curve on every lane. The result has a common divisor with n where the order
        /// of the point modulo one of its primes has no prime above the bounds but one.
        pub(super) mod $name {
            use super::super::ecm_products_avx512::$arithmetic::*;
            use super::*;

            /// A point in projective coordinates without y.
            #[derive(Debug, Clone, Copy)]
            struct Point {
                x: Row,
                z: Row,
            }

            /// The moduli and the constant of the curve.
            #[derive(Debug)]
            struct Field {
                m: [Modulus; VECTORS],
                numerator: Row,
                denominator: Row,
            }

            #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
            pub(in super::super) fn run(n: &Row, curves: &Curves, plan: &Plan) -> Values {
                let mut m = [modulus(n[0]); VECTORS];
                for i in 1..VECTORS {
                    m[i] = modulus(n[i]);
                }
                let Curves { x, z, numerator, denominator } = *curves;
                let field = Field { m, numerator, denominator };
                let q = field.stage_1(Point { x, z }, &plan.stage_1);
                Values { stage_1: field.plain(&q.z), stage_2: field.stage_2(&q, plan) }
            }

            impl Field {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn stage_1(&self, start: Point, steps: &[Step]) -> Point {
                    let mut points = [start; 3];
                    let (mut a, mut b, mut c) = (0, 1, 2);
                    for step in steps {
                        match step {
                            Step::Double => self.double_in_place(&mut points[a]),
                            Step::Start => {
                                (points[b], points[c]) = (points[a], points[a]);
                                self.double_in_place(&mut points[a]);
                            }
                            Step::Swap => (a, b) = (b, a),
                            Step::Add => {
                                self.add_to(&mut points, (a, b, c), c);
                                (b, c) = (c, b);
                            }
                            Step::AddDoubleA => {
                                self.add_to(&mut points, (a, b, c), b);
                                self.double_in_place(&mut points[a]);
                            }
                            Step::ShiftA => {
                                self.add_to(&mut points, (c, a, b), c);
                                self.double_in_place(&mut points[a]);
                            }
                            Step::ShiftB => {
                                self.add_to(&mut points, (c, b, a), c);
                                self.double_in_place(&mut points[b]);
                            }
                            Step::End => self.add_to(&mut points, (a, b, c), a),
                        }
                    }
                    points[a]
                }

                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn stage_2(&self, q: &Point, plan: &Plan) -> Row {
                    let babies = plan.babies.len();
                    let mut points = self.baby_steps(q, plan);
                    let step = points[babies];
                    for g in 1..plan.stage_2.len() {
                        let here = &points[babies + g - 1];
                        let next = match g {
                            1 => self.double(here),
                            _ => self.add(here, &step, &points[babies + g - 2]),
                        };
                        points.push(next);
                    }
                    let all = self.over_one_denominator(&points);
                    // Stage 1 may have found the divisor already: then it is in z.
                    let mut product = q.z;
                    for (here, &bits) in all[babies..].iter().zip(&plan.stage_2) {
                        let mut open = bits;
                        while open != 0 {
                            let baby = &all[open.trailing_zeros() as usize];
                            open &= open - 1;
                            for i in 0..VECTORS {
                                let m = self.m[i];
                                let difference = factor(minus(m, here[i], baby[i]));
                                product[i] = mul(m, factor(product[i]), difference);
                            }
                        }
                    }
                    self.plain(&product)
                }

                /// The plain numbers up to sign.
                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn plain(&self, row: &Row) -> Row {
                    let mut all = *row;
                    for i in 0..VECTORS {
                        all[i] = plain(self.m[i], row[i]);
                    }
                    all
                }

                /// The x of all points, each multiplied by the z of all others: then all z are the
                /// same, and left out.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn over_one_denominator(&self, points: &[Point]) -> Vec<Row> {
                    let mut all: Vec<Row> = points.iter().map(|p| p.x).collect();
                    let last = points.len() - 1;
                    let mut after = points[last].z;
                    for k in (0..last).rev() {
                        all[k] = self.product(&all[k], &after);
                        after = self.product(&after, &points[k].z);
                    }
                    let mut before = points[0].z;
                    for k in 1..=last {
                        all[k] = self.product(&all[k], &before);
                        before = self.product(&before, &points[k].z);
                    }
                    all
                }

                /// The points `babies[k]·q`, and the giant step behind them.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn baby_steps(&self, q: &Point, plan: &Plan) -> Vec<Point> {
                    let q2 = self.double(q);
                    let q3 = self.add(&q2, q, q);
                    let q6 = self.double(&q3);
                    let q5 = self.add(&q3, &q2, q);
                    let mut points = Vec::with_capacity(plan.babies.len() + plan.stage_2.len());
                    points.resize(plan.babies.len(), *q);
                    // 6k + 1 from 1 on, and 6k - 1 from 5 on; each is the one before it plus 6.
                    let (mut up, mut up_before) = (*q, q5);
                    let (mut down, mut down_before) = (q5, *q);
                    let mut j = 1;
                    loop {
                        for (point, number) in [(&up, j), (&down, j + 4)] {
                            if let Some(k) = plan.babies.iter().position(|&b| b == number) {
                                points[k] = *point;
                            }
                        }
                        if j + 2 == plan.giant / 2 {
                            break;
                        }
                        (up, up_before) = (self.add(&up, &q6, &up_before), up);
                        (down, down_before) = (self.add(&down, &q6, &down_before), down);
                        j += 6;
                    }
                    // Half the giant step is odd and divisible by 3: up is 2 below it, and down
                    // 2 above.
                    let q4 = self.double(&q2);
                    points.push(self.add(&up, &down, &q4));
                    points
                }

                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn product(&self, a: &Row, b: &Row) -> Row {
                    let mut row = *a;
                    for i in 0..VECTORS {
                        row[i] = mul(self.m[i], factor(a[i]), factor(b[i]));
                    }
                    row
                }

                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn double(&self, p: &Point) -> Point {
                    let mut r = *p;
                    self.double_in_place(&mut r);
                    r
                }

                /// `p + q` from `p`, `q` and `p - q`.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn add(&self, p: &Point, q: &Point, difference: &Point) -> Point {
                    let (s, d) = self.squares(p, q);
                    Point { x: self.product(&s, &difference.z), z: self.product(&d, &difference.x) }
                }

                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn double_in_place(&self, p: &mut Point) {
                    let (mut s, mut d, mut t) = (p.x, p.x, p.x);
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        s[i] = square(m, factor(plus(m, p.x[i], p.z[i])));
                        d[i] = square(m, factor(minus(m, p.x[i], p.z[i])));
                    }
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        t[i] = minus(m, s[i], d[i]);
                        d[i] = mul(m, factor(d[i]), factor(self.denominator[i]));
                        let more = mul(m, factor(t[i]), factor(self.numerator[i]));
                        p.z[i] = plus(m, d[i], more);
                    }
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        p.x[i] = mul(m, factor(s[i]), factor(d[i]));
                        p.z[i] = mul(m, factor(t[i]), factor(p.z[i]));
                    }
                }

                /// The same in place: the places of all three, and of the sum.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn add_to(
                    &self,
                    points: &mut [Point; 3],
                    (p, q, difference): (usize, usize, usize),
                    to: usize,
                ) {
                    let (s, d) = self.squares(&points[p], &points[q]);
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let difference = &points[difference];
                        let x = mul(m, factor(s[i]), factor(difference.z[i]));
                        let z = mul(m, factor(d[i]), factor(difference.x[i]));
                        (points[to].x[i], points[to].z[i]) = (x, z);
                    }
                }

                /// What the coordinates of p - q are multiplied by for those of p + q.
                ///
                /// One kind of product for all vectors after the other: that keeps more of them
                /// in flight than all products of one vector, which wait for each other.
                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn squares(&self, p: &Point, q: &Point) -> (Row, Row) {
                    let (mut u, mut v) = (p.x, p.x);
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let (sum, less) = (plus(m, q.x[i], q.z[i]), minus(m, p.x[i], p.z[i]));
                        u[i] = mul(m, factor(less), factor(sum));
                        let (sum, less) = (plus(m, p.x[i], p.z[i]), minus(m, q.x[i], q.z[i]));
                        v[i] = mul(m, factor(less), factor(sum));
                    }
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let (sum, less) = (plus(m, u[i], v[i]), minus(m, u[i], v[i]));
                        (u[i], v[i]) = (square(m, factor(sum)), square(m, factor(less)));
                    }
                    (u, v)
                }
            }
        }
    };
}

curve!(curve_one, one_limb);
curve!(curve_word, word);

/// The greatest common divisor lane by lane, for odd n: the binary method, all lanes in step.
#[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
pub(super) fn gcd_odd(a: &[__m512i; VECTORS], n: &[__m512i; VECTORS]) -> [__m512i; VECTORS] {
    let zero = _mm512_setzero_si512();
    let (mut a, mut b) = (*a, *n);
    loop {
        let mut open = 0;
        for i in 0..VECTORS {
            // A power of two is exact as a double; 0 gives a shift that leaves 0.
            let lowest = _mm512_and_si512(a[i], _mm512_sub_epi64(zero, a[i]));
            let bits = _mm512_castpd_si512(_mm512_cvtepu64_pd(lowest));
            let count = _mm512_sub_epi64(_mm512_srli_epi64::<52>(bits), set(1023));
            let odd = _mm512_srlv_epi64(a[i], count);
            let less = _mm512_min_epu64(odd, b[i]);
            let more = _mm512_max_epu64(odd, b[i]);
            let there = _mm512_test_epi64_mask(a[i], a[i]);
            b[i] = _mm512_mask_mov_epi64(b[i], there, less);
            a[i] = _mm512_maskz_sub_epi64(there, more, less);
            open |= _mm512_test_epi64_mask(a[i], a[i]);
        }
        if open == 0 {
            return b;
        }
    }
}
