//! One round on [0, 1.5], as a piecewise polynomial of degree 12 on eight intervals.
//!
//! Each interval's polynomial is written about a centre c chosen so that f(c) is a double to
//! some 2^-64: the rounded c0 then loses nothing, all other terms are small beside it, and the
//! last fused step is in effect the only rounding. The tables stand in registers (or come with
//! the permutation from L1): a look-up is one instruction of AVX-512, on other ports than
//! multiplication.

#![forbid(unsafe_code)]

use super::table::{CENTRE, COEFFICIENT, INDEX_CURVE, INDEX_SLOPE};
use crate::prefetch;
use crate::simd::{LANES, Simd};

/// The last argument of this path; the first is +0.
pub(super) const LAST: f64 = 1.5;

/// 1.5·2^52: adding it rounds to an integer, which then stands in the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Vectors whose chains of fused steps run side by side, so that none waits for its latency.
pub(super) const ABREAST: usize = 4;

/// (sin a + cos a)^(a²) for 0 ≤ a ≤ 1.5, in [1, 1.45]; elsewhere some number.
#[inline(always)]
pub(super) fn round<S: Simd>(s: S, a: S::F) -> S::F {
    round_abreast(s, [a])[0]
}

/// [`round`] of several vectors at a time.
#[inline(always)]
pub(super) fn round_abreast<S: Simd, const N: usize>(s: S, a: [S::F; N]) -> [S::F; N] {
    let (mut i, mut t, mut y) = ([s.splat_u(0); N], a, a);
    for v in 0..N {
        let slope = s.fma(a[v], s.splat(INDEX_CURVE), s.splat(INDEX_SLOPE));
        i[v] = s.bits(s.fma(a[v], slope, s.splat(ROUND)));
    }
    for v in 0..N {
        t[v] = s.sub(a[v], s.lookup8(&CENTRE, i[v]));
    }
    let [rows @ .., last] = &COEFFICIENT;
    for v in 0..N {
        y[v] = s.lookup8(last, i[v]);
    }
    for row in rows.iter().rev() {
        for v in 0..N {
            y[v] = s.fma(y[v], t[v], s.lookup8(row, i[v]));
        }
    }
    y
}

/// Whether every element lies in [0, 1.5], and so will after any number of rounds.
#[inline(always)]
pub(super) fn all<S: Simd>(s: S, tile: &[[f64; LANES]]) -> bool {
    let mut inside = 0xff;
    for x in tile {
        inside &= s.mask_bits(is_near(s, s.load(x)));
    }
    inside == 0xff
}

/// Lanes in [0, 1.5]: one comparison, since all else has larger bits.
#[inline(always)]
pub(super) fn is_near<S: Simd>(s: S, a: S::F) -> S::M {
    s.le_u(s.bits(a), s.splat_u(LAST.to_bits()))
}

/// One round from `from` into `to`, with a copy of `from` in `old` if that is as long; whether all
/// of `from` lies in [0, 1.5], so that `to` holds it.
#[inline(always)]
pub(super) fn first<S: Simd, const KEEP: bool>(
    s: S,
    from: &[[f64; LANES]],
    to: &mut [[f64; LANES]],
    old: &mut [[f64; LANES]],
) -> bool {
    let mut inside = 0xff;
    let (groups, rest) = from.as_chunks::<ABREAST>();
    let (to_groups, to_rest) = to.as_chunks_mut::<ABREAST>();
    let (old_groups, old_rest) = old.as_chunks_mut::<ABREAST>();
    for (i, (group, to)) in groups.iter().zip(to_groups).enumerate() {
        let a = load(s, group);
        if KEEP {
            store(s, a, &mut old_groups[i]);
        }
        for a in a {
            inside &= s.mask_bits(is_near(s, a));
        }
        store(s, round_abreast(s, a), to);
    }
    for (i, (x, to)) in rest.iter().zip(to_rest).enumerate() {
        let a = s.load(x);
        if KEEP {
            s.store(a, &mut old_rest[i]);
        }
        inside &= s.mask_bits(is_near(s, a));
        s.store(round(s, a), to);
    }
    inside == 0xff
}

/// One round on vectors that all lie in [0, 1.5].
#[inline(always)]
pub(super) fn middle<S: Simd>(s: S, tile: &mut [[f64; LANES]]) {
    let (groups, rest) = tile.as_chunks_mut::<ABREAST>();
    for group in groups {
        store(s, round_abreast(s, load(s, group)), group);
    }
    for x in rest {
        s.store(round(s, s.load(x)), x);
    }
}

/// What comes after a block: where its elements lie, and where copies of them will go.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub(super) block: *const f64,
    pub(super) old: *const f64,
}

/// One round on vectors that all lie in [0, 1.5], into `to` if that is as long; the lanes' sums.
///
/// Meanwhile the next block is called for: where data come from memory, the loop that reads them
/// first would wait for them, and this one has the time.
#[inline(always)]
pub(super) fn last<S: Simd, const STORE: bool, const KEEP: bool>(
    s: S,
    tile: &[[f64; LANES]],
    to: &mut [[f64; LANES]],
    next: Next,
) -> S::F {
    let mut sum = s.splat(-0.0);
    let (groups, rest) = tile.as_chunks::<ABREAST>();
    for (i, group) in groups.iter().enumerate() {
        for line in 0..ABREAST {
            let ahead = (i * ABREAST + line) * LANES;
            prefetch::read(next.block.wrapping_add(ahead).cast());
            if KEEP {
                prefetch::write(next.old.wrapping_add(ahead).cast());
            }
        }
        let y = round_abreast(s, load(s, group));
        for y in y {
            sum = s.add(sum, y);
        }
        if STORE {
            store(s, y, &mut to.as_chunks_mut::<ABREAST>().0[i]);
        }
    }
    let done = groups.len() * ABREAST;
    for (i, x) in rest.iter().enumerate() {
        let y = round(s, s.load(x));
        sum = s.add(sum, y);
        if STORE {
            s.store(y, &mut to[done + i]);
        }
    }
    sum
}

#[inline(always)]
pub(super) fn load<S: Simd>(s: S, from: &[[f64; LANES]; ABREAST]) -> [S::F; ABREAST] {
    let mut a = [s.splat(0.0); ABREAST];
    for v in 0..ABREAST {
        a[v] = s.load(&from[v]);
    }
    a
}

#[inline(always)]
pub(super) fn store<S: Simd>(s: S, y: [S::F; ABREAST], to: &mut [[f64; LANES]; ABREAST]) {
    for v in 0..ABREAST {
        s.store(y[v], &mut to[v]);
    }
}
