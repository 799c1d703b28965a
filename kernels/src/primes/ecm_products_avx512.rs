//! What the curves of `ecm_avx512.rs` need of the arithmetic of one limb, and of a word, by the same
//! names: values are products, or sums and differences of two products, and only values that were
//! made a factor are multiplied.

#![forbid(unsafe_code)]

use std::arch::x86_64::*;

use super::ifma::OneLimb;
use super::ifma_barrett::{Barrett, Operand};

/// One limb, n below 2^48: products are below 2n, sums and differences below 4n.
pub(super) mod one_limb {
    use super::*;

    pub(in super::super) type Factor = __m512i;
    pub(in super::super) type Modulus = OneLimb;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn modulus(n: __m512i) -> Modulus {
        OneLimb::new(n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn factor(a: __m512i) -> Factor {
        a
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn mul(m: Modulus, a: Factor, b: Factor) -> __m512i {
        m.mul_add(a, b, m.n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn square(m: Modulus, a: Factor) -> __m512i {
        m.mul_add(a, a, m.n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn plus(_: Modulus, a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi64(a, b)
    }

    /// `a - b + 2n`
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn minus(m: Modulus, a: __m512i, b: __m512i) -> __m512i {
        _mm512_sub_epi64(_mm512_add_epi64(a, _mm512_add_epi64(m.n, m.n)), b)
    }

    /// The plain number of a value, up to sign.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn plain(m: Modulus, a: __m512i) -> __m512i {
        m.negative_plain(a)
    }
}

/// A word: products are in [0, N + 2^30), sums and differences any word.
///
/// Two kinds of value come out wrong modulo N: products and sums past the end of a word, which takes
/// an N within 2^31 of it, and then is one product in 2^34; and a difference of a product past N
/// and one below 2^30. Both are rare, and cost no more than what the curve would find: the result of
/// a curve counts by its common divisor with n.
pub(super) mod word {
    use super::*;

    pub(in super::super) type Factor = Operand;
    pub(in super::super) type Modulus = Barrett;

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn modulus(n: __m512i) -> Modulus {
        Barrett::new(n)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn factor(a: __m512i) -> Factor {
        Operand::new(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn mul(m: Modulus, a: Factor, b: Factor) -> __m512i {
        m.mul(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn square(m: Modulus, a: Factor) -> __m512i {
        m.square(a)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn plus(m: Modulus, a: __m512i, b: __m512i) -> __m512i {
        // A sum that is a word may stay, and one that is not is below 2^64 + N.
        let sum = _mm512_add_epi64(a, b);
        let carry = _mm512_cmplt_epu64_mask(sum, b);
        _mm512_mask_sub_epi64(sum, carry, sum, m.modulus)
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn minus(m: Modulus, a: __m512i, b: __m512i) -> __m512i {
        let difference = _mm512_sub_epi64(a, b);
        let borrow = _mm512_cmplt_epu64_mask(a, b);
        _mm512_mask_add_epi64(difference, borrow, difference, m.modulus)
    }

    /// Values are plain already, and the sign is of no matter.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx512ifma")]
    pub(in super::super) fn plain(_: Modulus, a: __m512i) -> __m512i {
        a
    }
}
