//! A slow reference in double-double arithmetic, and the multi-precision table that proves it.
//!
//! Functions here are good to some 2^-95, which the tests check against `reference.txt` (made by
//! `tables/reference.py` with hundreds of digits). Used by `tests/accuracy.rs` and by
//! `examples/accuracy.rs`, which takes 10^8 arguments.
#![allow(clippy::excessive_precision, reason = "digits beyond a double say where it comes from")]
#![allow(dead_code, unreachable_pub, reason = "each user needs a part of it")]

/// An unevaluated sum of two doubles.
#[derive(Debug, Clone, Copy)]
pub struct Dd(pub f64, pub f64);

fn two_sum(a: f64, b: f64) -> Dd {
    let s = a + b;
    let t = s - a;
    Dd(s, (a - (s - t)) + (b - t))
}

fn quick_two_sum(a: f64, b: f64) -> Dd {
    let s = a + b;
    Dd(s, b - (s - a))
}

impl From<f64> for Dd {
    fn from(x: f64) -> Dd {
        Dd(x, 0.0)
    }
}

impl std::ops::Add for Dd {
    type Output = Dd;
    fn add(self, b: Dd) -> Dd {
        let s = two_sum(self.0, b.0);
        let t = two_sum(self.1, b.1);
        let s = quick_two_sum(s.0, s.1 + t.0);
        quick_two_sum(s.0, s.1 + t.1)
    }
}

impl std::ops::Neg for Dd {
    type Output = Dd;
    fn neg(self) -> Dd {
        Dd(-self.0, -self.1)
    }
}

impl std::ops::Sub for Dd {
    type Output = Dd;
    fn sub(self, b: Dd) -> Dd {
        self + -b
    }
}

impl std::ops::Mul for Dd {
    type Output = Dd;
    fn mul(self, b: Dd) -> Dd {
        let p = self.0 * b.0;
        let e = self.0.mul_add(b.0, -p);
        let e = self.0.mul_add(b.1, self.1.mul_add(b.0, e));
        quick_two_sum(p, e)
    }
}

impl std::ops::Div for Dd {
    type Output = Dd;
    fn div(self, b: Dd) -> Dd {
        let q = self.0 / b.0;
        let r = self - b * q.into();
        let q2 = r.0 / b.0;
        let r = r - b * q2.into();
        quick_two_sum(q, q2) + Dd(r.0 / b.0, 0.0)
    }
}

impl Dd {
    fn scale(self, by: f64) -> Dd {
        Dd(self.0 * by, self.1 * by)
    }
}

const LN2: Dd = Dd(std::f64::consts::LN_2, 2.319046813846299558e-17);
const LN2_LOWEST: f64 = 5.707708438416212066e-34;
const HALF_PI: [f64; 4] = [
    std::f64::consts::FRAC_PI_2,
    6.123233995736766036e-17,
    -1.497384904859169777e-33,
    4.320574262296449163e-50,
];

/// 1/n! for n to 27.
fn inverse_factorials() -> &'static [Dd; 28] {
    static TABLE: std::sync::OnceLock<[Dd; 28]> = std::sync::OnceLock::new();
    TABLE.get_or_init(|| {
        let mut t = [Dd(1.0, 0.0); 28];
        for n in 1..28 {
            t[n] = t[n - 1] / Dd(n as f64, 0.0);
        }
        t
    })
}

/// e^x for |x| < 700.
pub fn exp(x: Dd) -> Dd {
    let k = (x.0 / LN2.0).round();
    let r = x - LN2 * k.into() - (k * LN2_LOWEST).into();
    let r = r.scale(1.0 / 256.0);
    let f = inverse_factorials();
    let mut sum = f[9];
    for c in f[1..9].iter().rev() {
        sum = sum * r + *c;
    }
    // e^r − 1, doubled eight times without ever adding the 1.
    let mut sum = sum * r;
    for _ in 0..8 {
        sum = sum * sum + sum.scale(2.0);
    }
    (sum + Dd(1.0, 0.0)).scale(2f64.powi(k as i32))
}

/// ln x for x positive and normal.
pub fn ln(x: Dd) -> Dd {
    let bits = x.0.to_bits();
    let e = ((bits >> 52) as i64 - 1022) as f64;
    let m = x.scale(2f64.powi(-(e as i32) / 2)).scale(2f64.powi(-(e as i32) - -(e as i32) / 2));
    let (m, e) =
        if m.0 < std::f64::consts::FRAC_1_SQRT_2 { (m.scale(2.0), e - 1.0) } else { (m, e) };
    // ln m = 2·artanh((m−1)/(m+1)), after dividing by e^y0 for a rough y0.
    let y = m.0.ln();
    let y = if y.abs() < 0.01 { 0.0 } else { y };
    let q = if y == 0.0 { m } else { m * exp(Dd(-y, 0.0)) };
    let t = (q - Dd(1.0, 0.0)) / (q + Dd(1.0, 0.0));
    let t2 = t * t;
    let terms = if t.0.abs() < 1e-12 { 2 } else { 9 };
    let mut sum = Dd(0.0, 0.0);
    for n in (0..terms).rev() {
        sum = sum * t2 + Dd(1.0, 0.0) / Dd((2 * n + 1) as f64, 0.0);
    }
    let small = (sum * t).scale(2.0);
    if e == 0.0 && y == 0.0 {
        return small;
    }
    LN2 * e.into() + (small + y.into()) + (e * LN2_LOWEST).into()
}

/// sin and cos, for |x| up to 10^6.
pub fn sin_cos(x: f64) -> (Dd, Dd) {
    let n = (x / HALF_PI[0]).round();
    let mut r = two_sum(x, 0.0);
    for part in HALF_PI {
        let p = n * part;
        r = r - Dd(p, n.mul_add(part, -p));
    }
    let f = inverse_factorials();
    let r2 = -(r * r);
    let (mut s, mut c) = (f[27], f[26]);
    for k in (1..13).rev() {
        s = s * r2 + f[2 * k + 1];
        c = c * r2 + f[2 * k];
    }
    let s = (s * r2 + f[1]) * r;
    let c = c * r2 + f[0];
    match (n as i64).rem_euclid(4) {
        0 => (s, c),
        1 => (c, -s),
        2 => (-s, -c),
        _ => (-c, s),
    }
}

pub fn exp2(x: f64) -> Dd {
    let n = x.round();
    let r = x - n;
    exp(LN2 * r.into() + (r * LN2_LOWEST).into()).scale(2f64.powi(n as i32))
}

pub fn log2(x: f64) -> Dd {
    let x = Dd(x, 0.0);
    ln(x) / LN2
}

/// x^y where the result is normal.
pub fn pow(x: f64, y: f64) -> Dd {
    exp(ln(Dd(x, 0.0)) * y.into())
}

/// (sin a + cos a)^(a²) where the base is positive; good while a² times the logarithm is small.
pub fn trig_power(a: f64) -> Dd {
    let (s, c) = sin_cos(a);
    let square = Dd(a, 0.0) * Dd(a, 0.0);
    exp(ln(s + c) * square)
}

/// The same of a sum of two doubles near [0, 1.5]: sin and cos of the second by addition.
pub fn trig_power_of(a: Dd) -> Dd {
    let (s, c) = sin_cos(a.0);
    let low = Dd(a.1, 0.0);
    // sin(x + d) = sin x + d·cos x, for d² is below 2^-106.
    let (s, c) = (s + low * c, c - low * s);
    exp(ln(s + c) * (a * a))
}

/// |got − exact| in units in the last place of the exact value.
pub fn ulps(got: f64, exact: Dd) -> f64 {
    let exponent = ((exact.0.abs().to_bits() >> 52) as i32 - 1075).max(-1074);
    // A high part that is a power of two with a negative rest lies in the binade below.
    let exponent = if exact.0.to_bits() << 12 == 0
        && exact.1 != 0.0
        && (exact.1 < 0.0) == (exact.0 > 0.0)
        && exponent > -1074
    {
        exponent - 1
    } else {
        exponent
    };
    let error = ((got - exact.0) - exact.1).abs();
    // In two steps, for the ULP of a small number has no reciprocal.
    error * 2f64.powi(-exponent / 2) * 2f64.powi(-exponent - -exponent / 2)
}

/// A row of `reference.txt`.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub function: &'static str,
    pub x: f64,
    pub y: f64,
    pub exact: Dd,
}

pub fn table() -> Vec<Row> {
    include_str!("../reference.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split(' ');
            let function = words.next().expect("a row begins with a name");
            let mut number = || {
                let word = words.next().expect("a row has four numbers");
                f64::from_bits(u64::from_str_radix(word, 16).expect("numbers are in hex"))
            };
            let (x, y) = (number(), number());
            Row { function, x, y, exact: Dd(number(), number()) }
        })
        .collect()
}
