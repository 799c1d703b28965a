//! Multiplication modulo an odd u64 without division (Montgomery, R = 2^64).
//!
//! Values are kept in `[0, n)` and stand for themselves times R. This is the portable arithmetic
//! under the single-number tests and under the interleaved path; the vector paths have their own.
//!
//! Source: P. L. Montgomery, "Modular multiplication without trial division", Math. Comp. 44
//! (1985), in the form that subtracts (n·inverse = +1), which needs no carry out of the low half.

#![forbid(unsafe_code)]

/// An odd modulus with its inverse modulo 2^64.
#[derive(Debug, Clone, Copy)]
pub(super) struct Montgomery {
    n: u64,
    inverse: u64,
}

/// The inverse of an odd number modulo 2^64, by Newton's iteration from 5 correct bits.
#[inline(always)]
pub(super) const fn inverse64(n: u64) -> u64 {
    let mut x = n.wrapping_mul(3) ^ 2;
    let mut step = 0;
    while step < 4 {
        x = x.wrapping_mul(2u64.wrapping_sub(n.wrapping_mul(x)));
        step += 1;
    }
    x
}

impl Montgomery {
    #[inline(always)]
    pub(super) fn new(n: u64) -> Montgomery {
        debug_assert!(n % 2 == 1, "the modulus must be odd");
        Montgomery { n, inverse: inverse64(n) }
    }

    #[inline(always)]
    pub(super) fn modulus(&self) -> u64 {
        self.n
    }

    /// `a·b/R mod n`; at least one of the two below n.
    #[inline(always)]
    pub(super) fn mul(&self, a: u64, b: u64) -> u64 {
        let t = u128::from(a) * u128::from(b);
        let q = (t as u64).wrapping_mul(self.inverse);
        let back = ((u128::from(q) * u128::from(self.n)) >> 64) as u64;
        let high = (t >> 64) as u64;
        let r = high.wrapping_sub(back);
        if high < back { r.wrapping_add(self.n) } else { r }
    }

    #[inline(always)]
    pub(super) fn square(&self, a: u64) -> u64 {
        self.mul(a, a)
    }

    #[inline(always)]
    pub(super) fn add(&self, a: u64, b: u64) -> u64 {
        self.sub(a, self.n - b)
    }

    /// `a - b mod n`; `b` may be n itself, `a` is below n.
    #[inline(always)]
    pub(super) fn sub(&self, a: u64, b: u64) -> u64 {
        let r = a.wrapping_sub(b);
        if a < b { r.wrapping_add(self.n) } else { r }
    }

    /// The form of 1: R mod n.
    #[inline(always)]
    pub(super) fn one(&self) -> u64 {
        self.n.wrapping_neg() % self.n
    }

    /// `R^2 mod n`, with which `mul` brings a plain number into form.
    pub(super) fn r_squared(&self) -> u64 {
        let mut x = self.one();
        x = self.add(x, x);
        for _ in 0..6 {
            x = self.square(x);
        }
        x
    }

    /// The plain number in `[0, n)` that `a` stands for.
    #[inline(always)]
    pub(super) fn plain(&self, a: u64) -> u64 {
        let q = a.wrapping_mul(self.inverse);
        let back = ((u128::from(q) * u128::from(self.n)) >> 64) as u64;
        if back == 0 { 0 } else { self.n - back }
    }

    /// `base^exponent` for a base in form.
    pub(super) fn pow(&self, base: u64, mut exponent: u64) -> u64 {
        let mut square = base;
        let mut power = self.one();
        while exponent != 0 {
            if exponent & 1 == 1 {
                power = self.mul(power, square);
            }
            square = self.square(square);
            exponent >>= 1;
        }
        power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_remainder_of_a_wide_product() {
        let mut state = 1u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state ^ (state >> 29)
        };
        for round in 0..20_000 {
            let n = (draw() >> (round % 60)) | 1;
            let n = n.max(3);
            let m = Montgomery::new(n);
            let (a, b) = (draw() % n, draw() % n);
            let r2 = m.r_squared();
            let product = m.plain(m.mul(m.mul(a, r2), m.mul(b, r2)));
            assert_eq!(u128::from(product), u128::from(a) * u128::from(b) % u128::from(n));
            assert_eq!(m.plain(m.one()), 1 % n);
            assert_eq!(u128::from(m.add(a, b)), (u128::from(a) + u128::from(b)) % u128::from(n));
        }
    }
}
