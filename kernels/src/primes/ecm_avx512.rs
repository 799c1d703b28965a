//! One elliptic curve on each of 32 numbers at once, with AVX-512 IFMA.
//!
//! Nothing is ever inverted or brought into Montgomery form: points are projective, the curve's
//! constant is a fraction, and all of it is homogeneous, so that the plain constants of `CURVES` do
//! as they are. Every lane has its own modulus and its own curve; all take the same steps.
//!
//! The same algorithm is written out for one limb and for two by the macro below.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ecm_plan::{Curve, MAX_BABIES, Plan, Step};
use super::ifma::{OneLimb, Pair, TwoLimbs, carry, set};

/// Vectors that go together: four hide the latency of a product, and the table of baby steps for
/// two limbs just fits the L1 cache.
pub(super) const VECTORS: usize = 4;

/// Numbers that one call takes.
pub(super) const LANES: usize = 8 * VECTORS;

/// The one-limb curve takes odd numbers in 2^20..2^48: operands of 4n then multiply below n·2^52.
pub(super) const ONE_LIMB_BELOW: u64 = 1 << 48;

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

/// What the macro needs of the arithmetic of one limb. A value is below 2n after a product.
mod one_limb {
    use super::*;

    pub(super) type Value = __m512i;
    pub(super) type Modulus = OneLimb;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn modulus(n: __m512i) -> Modulus {
        OneLimb::new(n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn constant(c: __m512i) -> Value {
        c
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn mul(m: Modulus, a: Value, b: Value) -> Value {
        m.mul_add(a, b, m.n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn square(m: Modulus, a: Value) -> Value {
        m.mul_add(a, a, m.n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn plus(a: Value, b: Value) -> Value {
        _mm512_add_epi64(a, b)
    }

    /// `a - b + 2n`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus(m: Modulus, a: Value, b: Value) -> Value {
        _mm512_sub_epi64(_mm512_add_epi64(a, _mm512_add_epi64(m.n, m.n)), b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negative_plain(m: Modulus, a: Value) -> __m512i {
        m.negative_plain(a)
    }
}

/// The same for two limbs. Low limbs are kept below 2^52 here, so that values can be added.
mod two_limbs {
    use super::*;

    pub(super) type Value = Pair;
    pub(super) type Modulus = TwoLimbs;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn modulus(n: __m512i) -> Modulus {
        TwoLimbs::new(n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn constant(c: __m512i) -> Value {
        (c, _mm512_setzero_si512())
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    fn clean(a: Pair) -> Pair {
        let (low, high) = carry(a);
        (_mm512_and_si512(low, set((1 << 52) - 1)), high)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn mul(m: Modulus, a: Value, b: Value) -> Value {
        clean(m.mul_add_raw(a, b, (m.low, m.high)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn square(m: Modulus, a: Value) -> Value {
        clean(m.square_add_raw(a, (m.low, m.high)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn plus(a: Value, b: Value) -> Value {
        clean((_mm512_add_epi64(a.0, b.0), _mm512_add_epi64(a.1, b.1)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn minus(m: Modulus, a: Value, b: Value) -> Value {
        let low = _mm512_add_epi64(a.0, _mm512_add_epi64(m.low, m.low));
        let high = _mm512_add_epi64(a.1, _mm512_add_epi64(m.high, m.high));
        clean((_mm512_sub_epi64(low, b.0), _mm512_sub_epi64(high, b.1)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(super) fn negative_plain(m: Modulus, a: Value) -> __m512i {
        m.negative_plain(a)
    }
}

macro_rules! curve {
    ($name:ident, $arithmetic:ident) => {
        /// Runs one curve on every lane. The result has a common divisor with n where the order
        /// of the point modulo one of its primes has no prime above the bounds but one.
        pub(super) mod $name {
            use super::$arithmetic::*;
            use super::*;

            /// One coordinate of all lanes.
            type Row = [Value; VECTORS];

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
            pub(in super::super) fn run(
                n: &[__m512i; VECTORS],
                curves: &Curves,
                plan: &Plan,
            ) -> Values {
                let row = |c: &[__m512i; VECTORS]| {
                    let mut row = [constant(c[0]); VECTORS];
                    for i in 1..VECTORS {
                        row[i] = constant(c[i]);
                    }
                    row
                };
                let mut m = [modulus(n[0]); VECTORS];
                for i in 1..VECTORS {
                    m[i] = modulus(n[i]);
                }
                let field = Field {
                    m,
                    numerator: row(&curves.numerator),
                    denominator: row(&curves.denominator),
                };
                let start = Point { x: row(&curves.x), z: row(&curves.z) };
                let q = field.stage_1(start, &plan.stage_1);
                Values { stage_1: field.plain(&q.z), stage_2: field.stage_2(q, plan) }
            }

            impl Field {
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn stage_1(&self, start: Point, steps: &[Step]) -> Point {
                    let (mut a, mut b, mut c) = (start, start, start);
                    for step in steps {
                        match step {
                            Step::Double => a = self.double(&a),
                            Step::Start => (a, b, c) = (self.double(&a), a, a),
                            Step::Swap => (a, b) = (b, a),
                            Step::Add => (b, c) = (self.add(&a, &b, &c), b),
                            Step::AddDoubleA => {
                                b = self.add(&a, &b, &c);
                                a = self.double(&a);
                            }
                            Step::ShiftA => {
                                c = self.add(&c, &a, &b);
                                a = self.double(&a);
                            }
                            Step::ShiftB => {
                                c = self.add(&c, &b, &a);
                                b = self.double(&b);
                            }
                            Step::End => a = self.add(&a, &b, &c),
                        }
                    }
                    a
                }

                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn stage_2(&self, q: Point, plan: &Plan) -> [__m512i; VECTORS] {
                    let (babies, step) = self.baby_steps(&q, plan);
                    // Stage 1 may have found the divisor already: then it is in z.
                    let mut product = q.z;
                    let (mut before, mut here) = (step, step);
                    for (g, &bits) in plan.stage_2.iter().enumerate() {
                        match g {
                            0 => {}
                            1 => (before, here) = (here, self.double(&here)),
                            _ => (before, here) = (here, self.add(&here, &step, &before)),
                        }
                        let own = self.product(&here);
                        let mut open = bits;
                        while open != 0 {
                            let (baby, other) = &babies[open.trailing_zeros() as usize];
                            open &= open - 1;
                            self.meet(&mut product, &here, &own, baby, other);
                        }
                    }
                    self.plain(&product)
                }

                /// The plain numbers up to sign.
                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn plain(&self, row: &Row) -> [__m512i; VECTORS] {
                    let mut plain = [_mm512_setzero_si512(); VECTORS];
                    for i in 0..VECTORS {
                        plain[i] = negative_plain(self.m[i], row[i]);
                    }
                    plain
                }

                /// The points `babies[k]·q` with x·z of each, and the giant step.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn baby_steps(
                    &self,
                    q: &Point,
                    plan: &Plan,
                ) -> ([(Point, Row); MAX_BABIES], Point) {
                    let q2 = self.double(q);
                    let q3 = self.add(&q2, q, q);
                    let q6 = self.double(&q3);
                    let q5 = self.add(&q3, &q2, q);
                    let mut babies = [(*q, q.x); MAX_BABIES];
                    // 6k + 1 from 1 on, and 6k - 1 from 5 on; each is the one before it plus 6.
                    let (mut up, mut up_before) = (*q, q5);
                    let (mut down, mut down_before) = (q5, *q);
                    let mut j = 1;
                    loop {
                        for (point, number) in [(&up, j), (&down, j + 4)] {
                            if let Some(k) = plan.babies.iter().position(|&b| b == number) {
                                babies[k] = (*point, self.product(point));
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
                    (babies, self.add(&up, &down, &q4))
                }

                /// `product·(x₁z₂ - x₂z₁)`, in two products as the products x·z are there.
                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn meet(&self, product: &mut Row, p: &Point, pp: &Row, q: &Point, qq: &Row) {
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let cross = mul(m, minus(m, p.x[i], q.x[i]), plus(p.z[i], q.z[i]));
                        let rest = minus(m, plus(cross, qq[i]), pp[i]);
                        product[i] = mul(m, product[i], rest);
                    }
                }

                #[inline]
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn product(&self, p: &Point) -> Row {
                    let mut row = p.x;
                    for i in 0..VECTORS {
                        row[i] = mul(self.m[i], p.x[i], p.z[i]);
                    }
                    row
                }

                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn double(&self, p: &Point) -> Point {
                    let mut r = *p;
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let s = square(m, plus(p.x[i], p.z[i]));
                        let d = square(m, minus(m, p.x[i], p.z[i]));
                        let t = minus(m, s, d);
                        let d = mul(m, d, self.denominator[i]);
                        r.x[i] = mul(m, s, d);
                        r.z[i] = mul(m, t, plus(d, mul(m, t, self.numerator[i])));
                    }
                    r
                }

                /// `p + q` from `p`, `q` and `p - q`.
                #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
                fn add(&self, p: &Point, q: &Point, difference: &Point) -> Point {
                    let mut r = *p;
                    for i in 0..VECTORS {
                        let m = self.m[i];
                        let u = mul(m, minus(m, p.x[i], p.z[i]), plus(q.x[i], q.z[i]));
                        let v = mul(m, plus(p.x[i], p.z[i]), minus(m, q.x[i], q.z[i]));
                        let s = square(m, plus(u, v));
                        let d = square(m, minus(m, u, v));
                        r.x[i] = mul(m, s, difference.z[i]);
                        r.z[i] = mul(m, d, difference.x[i]);
                    }
                    r
                }
            }
        }
    };
}

curve!(curve_one, one_limb);
curve!(curve_two, two_limbs);

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
