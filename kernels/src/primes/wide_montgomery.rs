//! Multiplication modulo an odd u128 without division (Montgomery, R = 2^128).

#![forbid(unsafe_code)]

/// An odd modulus above 2^64 with its inverse modulo 2^128.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wide {
    n: u128,
    inverse: u128,
}

impl Wide {
    pub(super) fn new(n: u128) -> Wide {
        debug_assert!(n % 2 == 1, "the modulus must be odd");
        let mut x = n.wrapping_mul(3) ^ 2;
        for _ in 0..5 {
            x = x.wrapping_mul(2u128.wrapping_sub(n.wrapping_mul(x)));
        }
        Wide { n, inverse: x }
    }

    pub(super) fn modulus(&self) -> u128 {
        self.n
    }

    #[inline]
    pub(super) fn mul(&self, a: u128, b: u128) -> u128 {
        let (low, high) = full_product(a, b);
        let (_, back) = full_product(low.wrapping_mul(self.inverse), self.n);
        let r = high.wrapping_sub(back);
        if high < back { r.wrapping_add(self.n) } else { r }
    }

    #[inline]
    pub(super) fn sub(&self, a: u128, b: u128) -> u128 {
        let r = a.wrapping_sub(b);
        if a < b { r.wrapping_add(self.n) } else { r }
    }

    #[inline]
    pub(super) fn add(&self, a: u128, b: u128) -> u128 {
        self.sub(a, self.n - b)
    }

    /// The form of 1: R mod n.
    pub(super) fn one(&self) -> u128 {
        self.n.wrapping_neg() % self.n
    }

    /// The form of a plain number below 2^64.
    pub(super) fn form(&self, a: u64) -> u128 {
        let mut sum = 0;
        let one = self.one();
        for bit in (0..64).rev() {
            sum = self.add(sum, sum);
            if (a >> bit) & 1 == 1 {
                sum = self.add(sum, one);
            }
        }
        sum
    }

    pub(super) fn pow(&self, base: u128, exponent: u128) -> u128 {
        let mut power = self.one();
        for bit in (0..128 - exponent.leading_zeros()).rev() {
            power = self.mul(power, power);
            if (exponent >> bit) & 1 == 1 {
                power = self.mul(power, base);
            }
        }
        power
    }
}

/// The low and the high half of a product.
#[inline]
fn full_product(a: u128, b: u128) -> (u128, u128) {
    let half = |x: u128| (x & u128::from(u64::MAX), x >> 64);
    let ((a0, a1), (b0, b1)) = (half(a), half(b));
    let low = a0 * b0;
    let cross = a1 * b0 + (low >> 64);
    let (c0, c1) = half(cross);
    let middle = a0 * b1 + c0;
    ((middle << 64) | (low & u128::from(u64::MAX)), a1 * b1 + c1 + (middle >> 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_wrap_as_they_should() {
        let n = (1u128 << 127) - 1;
        let m = Wide::new(n);
        let two = m.form(2);
        assert_eq!(m.pow(two, 127), m.one());
        assert_eq!(m.mul(m.form(1 << 40), m.form(1 << 50)), m.pow(two, 90));
        assert_eq!(full_product(u128::MAX, u128::MAX), (1, u128::MAX - 1));
    }
}
