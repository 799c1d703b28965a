//! The number of primes up to n without listing them.

#![forbid(unsafe_code)]

/// The number of primes up to and including `n`.
///
/// ```
/// assert_eq!(pinpool_kernels::primes::prime_pi(1_000_000), 78_498);
/// ```
#[must_use]
pub fn prime_pi(n: u64) -> u64 {
    if n < 2 {
        return 0;
    }
    let root = n.isqrt();
    let r = root as usize;
    let mut small: Vec<u64> = (0..=root).map(|v| v.saturating_sub(1)).collect();
    let mut large: Vec<u64> = (0..=root).map(|k| if k == 0 { 0 } else { n / k - 1 }).collect();
    for p in 2..=r {
        if small[p] == small[p - 1] {
            continue;
        }
        let (count, p64) = (small[p - 1], p as u64);
        let square = p64 * p64;
        if square > n {
            break;
        }
        for k in 1..=r.min((n / square) as usize) {
            let d = k * p;
            let value = if d <= r { large[d] } else { small[(n / d as u64) as usize] };
            large[k] -= value - count;
        }
        for v in (square as usize..=r).rev() {
            small[v] -= small[v / p] - count;
        }
    }
    large[1]
}
