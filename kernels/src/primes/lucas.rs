//! The second half of the proof: the almost extra strong Lucas test (Q = 1, V only).
//!
//! P is the first of 3, 4, 5, ... with Jacobi symbol (P² - 4 / n) = -1. With n + 1 = d·2^s, a prime
//! has V_d = ±2, or V_(d·2^r) = 0 for some r < s - 1. Two products a bit.
//!
//! Sources: J. Grantham, "Frobenius pseudoprimes", Math. Comp. 70 (2001), for the extra strong
//! test; R. Baillie and S. S. Wagstaff, "Lucas pseudoprimes", Math. Comp. 35 (1980).

#![forbid(unsafe_code)]

use super::montgomery::Montgomery;

/// Whether an odd `n` without a divisor to 61 passes.
pub(super) fn is_almost_extra_strong(m: &Montgomery) -> bool {
    let n = m.modulus();
    let Some(p) = parameter(n) else { return false };
    let one = m.one();
    let two = m.add(one, one);
    let mut form = two;
    for _ in 2..p {
        form = m.add(form, one);
    }
    passes_with(m, form, two)
}

/// The test with the parameter and 2 in Montgomery form.
fn passes_with(m: &Montgomery, p: u64, two: u64) -> bool {
    let n = m.modulus();
    // n = 2^64 - 1 is divisible by 3 and never comes here.
    let shift = n.wrapping_add(1).trailing_zeros();
    let d = n.wrapping_add(1) >> shift;
    let mut v = p;
    let mut w = m.sub(m.square(p), two);
    let bits = 64 - d.leading_zeros();
    for bit in (0..bits - 1).rev() {
        let product = m.sub(m.mul(v, w), p);
        if (d >> bit) & 1 == 1 {
            w = m.sub(m.square(w), two);
            v = product;
        } else {
            v = m.sub(m.square(v), two);
            w = product;
        }
    }
    if v == two || v == n - two {
        return true;
    }
    for _ in 0..shift - 1 {
        if v == 0 {
            return true;
        }
        v = m.sub(m.square(v), two);
    }
    false
}

/// (P² - 4 / n) for P = 3, 4, 5, 9, 11, 15, 17, 21, once all before are +1, is the character of one
/// prime: 5, 12, 21, 77, 117, 221, 285, 437 have the others as squares or with symbol +1.
/// P = 6 asks for 2, after the first three; the P between add nothing new.
pub(super) const PARAMETER_PRIMES: [(u64, u64); 8] =
    [(3, 5), (4, 3), (5, 7), (9, 11), (11, 13), (15, 17), (17, 19), (21, 23)];

/// Bit r: r is a square modulo the prime at that place of [`PARAMETER_PRIMES`].
const SQUARES: [u32; 8] = {
    let mut squares = [0; 8];
    let mut i = 0;
    while i < 8 {
        let p = PARAMETER_PRIMES[i].1;
        let mut r = 0;
        while r < p {
            squares[i] |= 1 << (r * r % p);
            r += 1;
        }
        i += 1;
    }
    squares
};

/// The parameter where it is 3, 4, 5 or 6, which n modulo 8·3·5·7 tells; else 0. Three steps of four
/// branches each would be mispredicted for every other number.
static QUICK: [u8; 840] = {
    let mut quick = [0; 840];
    let mut n = 1;
    while n < 840 {
        let mut i = 0;
        while i < 3 && quick[n as usize] == 0 {
            if is_parameter(i, n) {
                quick[n as usize] = PARAMETER_PRIMES[i].0 as u8;
            }
            i += 1;
        }
        if quick[n as usize] == 0 && matches!(n & 7, 3 | 5) {
            quick[n as usize] = 6;
        }
        n += 2;
    }
    quick
};

/// Whether the i-th prime gives n its parameter, after those before did not.
#[inline(always)]
const fn is_parameter(i: usize, n: u64) -> bool {
    let p = PARAMETER_PRIMES[i].1;
    let square = (SQUARES[i] >> (n % p)) & 1 == 1;
    // Reciprocity turns the symbol round where both are 3 modulo 4.
    square == (p & n & 3 == 3)
}

/// The first P from 3 on with (P² - 4 / n) = -1; `None` when the search shows `n` composite.
/// For odd `n` without a divisor to 23.
#[inline]
pub(super) fn parameter(n: u64) -> Option<u64> {
    match QUICK[(n % 840) as usize] {
        0 => later_parameter(n),
        quick => Some(u64::from(quick)),
    }
}

fn later_parameter(n: u64) -> Option<u64> {
    let later = (3..PARAMETER_PRIMES.len()).find(|&i| is_parameter(i, n));
    later.map_or_else(|| search(n), |i| Some(PARAMETER_PRIMES[i].0))
}

/// The search one by one, for the one number in 512 that needs it.
#[cold]
fn search(n: u64) -> Option<u64> {
    // A square has no such P. The squares of 1093 and 3511 pass base 2 and come here.
    if is_square(n) {
        return None;
    }
    let mut p = 3;
    loop {
        match jacobi(p * p - 4, n) {
            -1 => return Some(p),
            // A common divisor, and a proper one: p² - 4 stays far below n.
            0 => return None,
            _ => p += 1,
        }
    }
}

/// Whether `n` is a perfect square.
pub(super) fn is_square(n: u64) -> bool {
    let root = n.isqrt();
    root * root == n
}

/// The Jacobi symbol (a / n) for odd n.
pub(super) fn jacobi(mut a: u64, mut n: u64) -> i32 {
    let mut sign = 1;
    a %= n;
    while a != 0 {
        let twos = a.trailing_zeros();
        a >>= twos;
        if twos & 1 == 1 && matches!(n & 7, 3 | 5) {
            sign = -sign;
        }
        if a & n & 3 == 3 {
            sign = -sign;
        }
        (a, n) = (n % a, a);
    }
    if n == 1 { sign } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OEIS A217719: the extra strong Lucas pseudoprimes; the almost extra strong ones contain them.
    #[test]
    fn known_extra_strong_lucas_pseudoprimes_pass_this_half_alone() {
        for n in [3239u64, 5777, 10877, 27971, 29681, 30739, 31631, 39059, 72389, 73919] {
            assert!(is_almost_extra_strong(&Montgomery::new(n)), "{n}");
        }
    }

    #[test]
    fn the_quick_search_finds_the_first_parameter() {
        let rough = (1u64 << 40..(1 << 40) + 400_000)
            .filter(|n| [2, 3, 5, 7, 11, 13, 17, 19, 23].iter().all(|p| n % p != 0));
        for n in rough {
            assert_eq!(parameter(n), search(n), "{n}");
        }
        assert_eq!(parameter(1_093 * 1_093), None);
    }

    #[test]
    fn the_jacobi_symbol_of_a_prime_is_euler_s_criterion() {
        for n in [67u64, 71, 73, 4_294_967_291] {
            let m = Montgomery::new(n);
            for a in 1..60 {
                let power = m.plain(m.pow(m.mul(a, m.r_squared()), (n - 1) / 2));
                let expected = if power == 1 { 1 } else { -1 };
                assert_eq!(jacobi(a, n), expected, "({a}/{n})");
            }
        }
    }
}
