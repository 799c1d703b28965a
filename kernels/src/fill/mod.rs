//! Random fills from eight Xoshiro256++ lanes.
//!
//! Element i of all that is ever drawn from a [`Lanes`] comes from lane i mod 8. Each element takes
//! one draw x of its lane (only `fill_range_u64` may take more, of the same lane). So a fill goes
//! on where the last one stopped, and any split of a fill into several gives the same elements, on
//! every instruction set. Which states the lanes start from is the caller's business: they should
//! be jumps apart, so that they never overlap.
//!
//! Xoshiro256++ is by Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators",
//! ACM TOMS 47 (2021).

mod normal;
mod range;

use crate::simd::{LANES, Op, Simd, dispatch};

/// Eight streams of Xoshiro256++, drawn from in turn.
///
/// ```
/// let states = std::array::from_fn(|lane| [lane as u64 + 1, 2, 3, 4]);
/// let mut whole = [0.0; 100];
/// pinpool_kernels::Lanes::new(states).fill_uniform(&mut whole);
///
/// let mut lanes = pinpool_kernels::Lanes::new(states);
/// let mut parts = [0.0; 100];
/// lanes.fill_uniform(&mut parts[..13]);
/// lanes.fill_uniform(&mut parts[13..]);
/// assert_eq!(whole, parts);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Word w of lane l is `words[w][l]`.
    words: [[u64; LANES]; 4],
    /// The lane that gives the next element.
    next: usize,
}

impl Lanes {
    /// Lanes that start from `states[lane]`, none of which may be all zeros.
    ///
    /// # Panics
    /// When a state is all zeros: such a generator gives nothing but zeros.
    #[must_use]
    pub fn new(states: [[u64; 4]; 8]) -> Lanes {
        assert!(!states.contains(&[0; 4]), "a Xoshiro256++ state must not be all zeros");
        let words = std::array::from_fn(|w| std::array::from_fn(|l| states[l][w]));
        Lanes { words, next: 0 }
    }

    /// Each element of `out` (n,) is a draw, uniform over all of u64.
    pub fn fill_u64(&mut self, out: &mut [u64]) {
        dispatch(Fill(self, out, Raw));
    }

    /// Uniform in [0, 1): (x >> 11)·2^-53 for each element of `out` (n,).
    pub fn fill_uniform(&mut self, out: &mut [f64]) {
        dispatch(Fill(self, out, Uniform));
    }

    /// Uniform in [0, 1): (x >> 40)·2^-24 for each element of `out` (n,).
    pub fn fill_uniform_f32(&mut self, out: &mut [f32]) {
        dispatch(Fill(self, out, UniformF32));
    }

    /// Uniform in [low, high): low + u·(high − low), fused, for u of [`fill_uniform`]; what would
    /// round up to `high` becomes the number below it. `out` is (n,).
    ///
    /// # Panics
    /// Unless low < high and high − low is finite.
    ///
    /// [`fill_uniform`]: Lanes::fill_uniform
    pub fn fill_range_f64(&mut self, low: f64, high: f64, out: &mut [f64]) {
        let width = high - low;
        assert!(low < high && width.is_finite(), "low must be below high, at a finite distance");
        dispatch(Fill(self, out, range::Floats { low, width, high, last: high.next_down() }));
    }

    /// Uniform integers in low..high, without bias, into `out` (n,).
    ///
    /// The element is low + the high half of x·(high − low). Where the low half is below
    /// 2^64 mod (high − low) the draw is rejected and the same lane draws again (Lemire, "Fast
    /// random integer generation in an interval", ACM TOMACS 29, 2019), so lanes keep their
    /// elements.
    ///
    /// # Panics
    /// Unless low < high.
    pub fn fill_range_u64(&mut self, low: u64, high: u64, out: &mut [u64]) {
        assert!(low < high, "low must be below high");
        let span = high - low;
        let reject_below = span.wrapping_neg() % span;
        dispatch(Fill(self, out, range::Integers { low, span, reject_below }));
    }

    /// Standard normal numbers: the inverse of the normal distribution function at
    /// ((x >> 11) + 1/2)·2^-53, for each element of `out` (n,).
    ///
    /// By Wichura's rational functions (algorithm AS 241, PPND16, Applied Statistics 37, 1988),
    /// relative error below 7e-16 (5.4e-16 measured). It grows with x but for rounding; one draw an
    /// element; values lie within ±8.3.
    pub fn fill_normal(&mut self, out: &mut [f64]) {
        dispatch(Fill(self, out, normal::Normal));
    }

    /// One draw of one lane.
    fn step(&mut self, lane: usize) -> u64 {
        let [s0, s1, s2, s3] = &mut self.words;
        let (a, b, c, d) = (&mut s0[lane], &mut s1[lane], &mut s2[lane], &mut s3[lane]);
        let out = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let t = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= t;
        *d = d.rotate_left(45);
        out
    }
}

/// The eight states in registers.
#[derive(Clone, Copy)]
struct Words<S: Simd>([S::U; 4]);

impl<S: Simd> Words<S> {
    #[inline(always)]
    fn load(s: S, lanes: &Lanes) -> Words<S> {
        Words([
            s.load_u(&lanes.words[0]),
            s.load_u(&lanes.words[1]),
            s.load_u(&lanes.words[2]),
            s.load_u(&lanes.words[3]),
        ])
    }

    #[inline(always)]
    fn store(self, s: S, lanes: &mut Lanes) {
        for (word, to) in self.0.into_iter().zip(&mut lanes.words) {
            s.store_u(word, to);
        }
    }

    #[inline(always)]
    fn step(&mut self, s: S) -> S::U {
        let [a, b, c, d] = self.0;
        let out = s.add_u(s.rotate::<23, 41>(s.add_u(a, d)), a);
        let t = s.shl::<17>(b);
        let c = s.xor_u(c, a);
        let d = s.xor_u(d, b);
        let b = s.xor_u(b, c);
        let a = s.xor_u(a, d);
        self.0 = [a, b, s.xor_u(c, t), s.rotate::<45, 19>(d)];
        out
    }
}

/// From eight draws, one a lane, to eight elements.
trait Transform {
    type T: Copy + Default;

    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [Self::T; LANES]);

    /// Lanes whose draw is rejected, one bit each; only these may draw again.
    #[inline(always)]
    fn rejected<S: Simd>(&self, _: S, _: S::U) -> u8 {
        0
    }
}

struct Fill<'a, K: Transform>(&'a mut Lanes, &'a mut [K::T], K);

impl<K: Transform> Op for Fill<'_, K> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Fill(lanes, out, kernel) = self;
        // Up to where lane 0 is next, whole rounds of the lanes, then a last part.
        let head = ((LANES - lanes.next) % LANES).min(out.len());
        let (head, rest) = out.split_at_mut(head);
        partial(s, lanes, head, &kernel);
        let (whole, tail) = rest.as_chunks_mut::<LANES>();
        let mut words = Words::load(s, lanes);
        for out in whole {
            let mut draws = words.step(s);
            let rejected = kernel.rejected(s, draws);
            if rejected != 0 {
                words.store(s, lanes);
                draws = redraw(s, lanes, draws, rejected, &kernel);
                words = Words::load(s, lanes);
            }
            kernel.apply(s, draws, out);
        }
        words.store(s, lanes);
        partial(s, lanes, tail, &kernel);
    }
}

/// Fills fewer than eight elements, from lane `next` on.
#[inline(always)]
fn partial<S: Simd, K: Transform>(s: S, lanes: &mut Lanes, out: &mut [K::T], kernel: &K) {
    if out.is_empty() {
        return;
    }
    let first = lanes.next;
    let mut draws = [0; LANES];
    for draw in &mut draws[first..first + out.len()] {
        *draw = lanes.step(lanes.next);
        lanes.next = (lanes.next + 1) % LANES;
    }
    let used = (((1u32 << out.len()) - 1) << first) as u8;
    let mut draws = s.load_u(&draws);
    let rejected = kernel.rejected(s, draws) & used;
    if rejected != 0 {
        draws = redraw(s, lanes, draws, rejected, kernel);
    }
    let mut all = [K::T::default(); LANES];
    kernel.apply(s, draws, &mut all);
    out.copy_from_slice(&all[first..first + out.len()]);
}

/// Draws again in the lanes set in `rejected` until none of them is.
#[cold]
#[inline(never)]
fn redraw<S: Simd, K: Transform>(
    s: S,
    lanes: &mut Lanes,
    draws: S::U,
    mut rejected: u8,
    kernel: &K,
) -> S::U {
    let mut all = [0; LANES];
    s.store_u(draws, &mut all);
    let used = rejected;
    while rejected != 0 {
        for lane in (0..LANES).filter(|lane| rejected >> lane & 1 != 0) {
            all[lane] = lanes.step(lane);
        }
        rejected &= kernel.rejected(s, s.load_u(&all)) & used;
    }
    s.load_u(&all)
}

struct Raw;
impl Transform for Raw {
    type T = u64;
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [u64; LANES]) {
        s.store_u(draws, out);
    }
}

/// (x >> 11)·2^-53.
#[inline(always)]
fn unit<S: Simd>(s: S, draws: S::U) -> S::F {
    s.mul(s.to_float(s.shr::<11>(draws)), s.splat(TWO_M53))
}

const TWO_M53: f64 = f64::from_bits((1023 - 53) << 52);

struct Uniform;
impl Transform for Uniform {
    type T = f64;
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [f64; LANES]) {
        s.store(unit(s, draws), out);
    }
}

struct UniformF32;
impl Transform for UniformF32 {
    type T = f32;
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, draws: S::U, out: &mut [f32; LANES]) {
        let mut all = [0; LANES];
        s.store_u(s.shr::<40>(draws), &mut all);
        *out = all.map(|x| x as u32 as f32 * f32::from_bits((127 - 24) << 23));
    }
}
