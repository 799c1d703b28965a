//! `is_prime` over a slice in portable code: several numbers at once in scalar registers.
//!
//! A Montgomery product takes some ten cycles from end to end, but the multiplier starts one every
//! cycle: four independent numbers keep it busy. The filters before pack without branching.

#![forbid(unsafe_code)]

use super::is_prime::{DECIDED_BELOW, Divisor, SMALL_DIVISORS, is_small_prime};
use super::lucas;
use super::montgomery::Montgomery;

/// Numbers that go through the filters together.
pub(super) const BLOCK_LEN: usize = 1024;

/// Numbers in flight in the tests.
pub(super) const LANES: usize = 4;

/// See [`super::is_prime_slice`]; the slices are of one length.
pub(super) fn is_prime_slice(n: &[u64], out: &mut [u8]) {
    let mut kept = [0u32; BLOCK_LEN];
    for (n, out) in n.chunks(BLOCK_LEN).zip(out.chunks_mut(BLOCK_LEN)) {
        out.fill(0);
        let len = keep_odd(n, out, &mut kept);
        let len = pack(n, &mut kept, len, &SMALL_DIVISORS[..3]);
        let len = pack(n, &mut kept, len, &SMALL_DIVISORS[3..8]);
        let len = pack(n, &mut kept, len, &SMALL_DIVISORS[8..]);
        let len = test(n, &mut kept, len, base_2);
        let len = test(n, &mut kept, len, lucas_test);
        for &i in &kept[..len] {
            out[i as usize] = 1;
        }
    }
}

/// Decides numbers below 67², and keeps the indices of the larger odd ones.
pub(super) fn keep_odd(n: &[u64], out: &mut [u8], kept: &mut [u32; BLOCK_LEN]) -> usize {
    let mut len = 0;
    for (i, &n) in n.iter().enumerate() {
        if n < DECIDED_BELOW {
            out[i] = u8::from(is_small_prime(n));
            continue;
        }
        kept[len] = i as u32;
        len += (n & 1) as usize;
    }
    len
}

/// Drops the numbers that one of the divisors divides.
#[inline]
pub(super) fn pack(
    n: &[u64],
    kept: &mut [u32; BLOCK_LEN],
    len: usize,
    divisors: &[Divisor],
) -> usize {
    let mut packed = 0;
    for k in 0..len {
        let i = kept[k];
        let number = n[i as usize];
        let divisible = divisors.iter().fold(false, |any, d| any | d.divides(number));
        kept[packed] = i;
        packed += usize::from(!divisible);
    }
    packed
}

/// Drops the numbers that fail a test, [`LANES`] at a time.
#[inline]
fn test(
    n: &[u64],
    kept: &mut [u32; BLOCK_LEN],
    len: usize,
    test: impl Fn(&[u64; LANES]) -> [bool; LANES],
) -> usize {
    let mut packed = 0;
    for start in (0..len).step_by(LANES) {
        let end = len.min(start + LANES);
        // Past the end the first number of the group is tested again.
        let mut index = [kept[start]; LANES];
        index[..end - start].copy_from_slice(&kept[start..end]);
        let passed = test(&index.map(|i| n[i as usize]));
        for (i, passed) in index.into_iter().zip(passed).take(end - start) {
            kept[packed] = i;
            packed += usize::from(passed);
        }
    }
    packed
}

/// The Euler test to base 2: 1/2 to the power (n-1)/2 is ±1. See `is_prime.rs` for the start.
#[inline]
pub(super) fn base_2(n: &[u64; LANES]) -> [bool; LANES] {
    let all = n.iter().fold(0, |all, n| all | n);
    let steps = (63 - all.leading_zeros()).saturating_sub(6);
    let m = n.map(Montgomery::new);
    let mut x = [0; LANES];
    let mut rest = [0; LANES];
    for i in 0..LANES {
        let e = n[i] >> 1;
        let q = ((e - 1) >> steps) + 1;
        rest[i] = (q << steps) - e;
        x[i] = 1 << (64 - q);
        if x[i] >= n[i] {
            x[i] %= n[i];
        }
    }
    for step in (0..steps).rev() {
        for i in 0..LANES {
            let square = m[i].square(x[i]);
            let addend = if (rest[i] >> step) & 1 == 1 { square } else { 0 };
            x[i] = m[i].add(square, addend);
        }
    }
    let mut passed = [false; LANES];
    for i in 0..LANES {
        let last = m[i].plain(x[i]);
        passed[i] = last == 1 || last == n[i] - 1;
    }
    passed
}

/// The almost extra strong Lucas test. See `lucas.rs`.
#[inline]
pub(super) fn lucas_test(n: &[u64; LANES]) -> [bool; LANES] {
    let m = n.map(Montgomery::new);
    let parameter = n.map(lucas::parameter);
    let mut p = [0; LANES];
    let mut two = [0; LANES];
    for i in 0..LANES {
        let one = m[i].one();
        two[i] = m[i].add(one, one);
        p[i] = (2..parameter[i].unwrap_or(3)).fold(two[i], |form, _| m[i].add(form, one));
    }
    let order = n.map(|n| n + 1);
    let bits = 64 - order.iter().fold(0, |all, n| all | n).leading_zeros();
    let (mut v, mut w) = (two, p);
    let mut passed = [false; LANES];
    let most_trailing = order.iter().map(|o| o.trailing_zeros()).max().unwrap_or(0);
    for step in (1..bits).rev() {
        for i in 0..LANES {
            let bit = (order[i] >> step) & 1 == 1;
            let product = m[i].sub(m[i].mul(v[i], w[i]), p[i]);
            let base = if bit { w[i] } else { v[i] };
            let square = m[i].sub(m[i].square(base), two[i]);
            v[i] = if bit { product } else { square };
            w[i] = if bit { square } else { product };
        }
        if step <= most_trailing {
            for i in 0..LANES {
                let s = order[i].trailing_zeros();
                passed[i] |= step == s && (v[i] == two[i] || v[i] == n[i] - two[i]);
                passed[i] |= step >= 2 && step <= s && v[i] == 0;
            }
        }
    }
    for i in 0..LANES {
        passed[i] &= parameter[i].is_some();
    }
    passed
}

#[cfg(test)]
mod tests {
    use super::super::is_prime;
    use super::*;

    #[test]
    fn groups_of_mixed_sizes_agree_with_one_at_a_time() {
        let mut n: Vec<u64> = Vec::new();
        for bit in 0..64 {
            for offset in 0..40 {
                n.push((1u64 << bit).wrapping_add(offset));
                n.push((1u64 << bit).wrapping_sub(offset));
            }
        }
        let mut out = vec![9; n.len()];
        is_prime_slice(&n, &mut out);
        for (&n, &out) in n.iter().zip(&out) {
            assert_eq!(out, u8::from(is_prime(n)), "{n}");
        }
    }
}
