//! [`ChunkRng`]: the random stream of one chunk, draw by draw or a whole slice at once.

#![forbid(unsafe_code)]

use std::convert::Infallible;

use pinpool_kernels::Lanes;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::jump::{State, next_lane};
use super::rand_core::{Rng as _, TryRng};
use super::{Streams, generator, unit_f64};

/// The random stream of one chunk of one job: the same for any number of workers, any backend, and
/// after a crash.
///
/// Single draws come from the chunk's lane 0. The fills draw from its lanes 1 to 8 (element i from
/// lane 1 + i mod 8, on every instruction set), and a fill goes on where the last one stopped;
/// single draws and fills do not disturb each other. It also is a generator for the crate `rand`.
///
/// ```
/// use pinpool::rng::{ChunkRng, Streams};
///
/// let streams = Streams::new(42);
/// let (mut whole, mut parts) = (vec![0.0; 100], vec![0.0; 100]);
/// ChunkRng::new(&streams, 0, 3).fill_uniform(&mut whole);
///
/// let mut rng = ChunkRng::new(&streams, 0, 3);
/// rng.fill_uniform(&mut parts[..13]);
/// rng.next_f64();
/// rng.fill_uniform(&mut parts[13..]);
/// assert_eq!(whole, parts);
/// ```
#[derive(Debug, Clone)]
pub struct ChunkRng {
    /// Where lane 0 starts; the other lanes are counted from here.
    start: State,
    lane_0: Xoshiro256PlusPlus,
    /// Lanes 1 to 8, found when the first fill asks.
    lanes: Option<Lanes>,
}

impl ChunkRng {
    /// The stream of a chunk of a job.
    ///
    /// # Panics
    /// When `job` is 2^63 or more.
    #[must_use]
    pub fn new(streams: &Streams, job: u64, chunk: u64) -> ChunkRng {
        ChunkRng::from_state(streams.chunk_state(job, chunk, 0))
    }

    /// The stream that starts at a state of [`Streams::chunk_state`] for lane 0.
    pub(super) fn from_state(start: State) -> ChunkRng {
        ChunkRng { start, lane_0: generator(start), lanes: None }
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.lane_0.next_u64()
    }

    /// The next draw as a number in [0, 1), a multiple of 2^-53.
    #[inline]
    pub fn next_f64(&mut self) -> f64 {
        unit_f64(self.lane_0.next_u64())
    }

    /// Fills `out`, any shape of (n,) f64, with numbers in [0, 1), multiples of 2^-53.
    pub fn fill_uniform<A: AsMut<[f64]> + ?Sized>(&mut self, out: &mut A) {
        self.lanes().fill_uniform(out.as_mut());
    }

    /// Fills `out` with random bits.
    pub fn fill_u64<A: AsMut<[u64]> + ?Sized>(&mut self, out: &mut A) {
        self.lanes().fill_u64(out.as_mut());
    }

    /// Fills `out` with integers in [`low`, `high`), each as likely as any other.
    ///
    /// # Panics
    /// When `high` is not above `low`.
    pub fn fill_range<A: AsMut<[u64]> + ?Sized>(&mut self, low: u64, high: u64, out: &mut A) {
        assert!(low < high, "no integer lies in [{low}, {high}); give a high above low");
        self.lanes().fill_range_u64(low, high, out.as_mut());
    }

    /// Fills `out` with numbers in [0, 1), multiples of 2^-24.
    pub fn fill_uniform_f32<A: AsMut<[f32]> + ?Sized>(&mut self, out: &mut A) {
        self.lanes().fill_uniform_f32(out.as_mut());
    }

    /// Fills `out` with numbers in [`low`, `high`).
    ///
    /// # Panics
    /// Unless `low` is below `high` and the distance is finite.
    pub fn fill_range_f64<A: AsMut<[f64]> + ?Sized>(&mut self, low: f64, high: f64, out: &mut A) {
        self.lanes().fill_range_f64(low, high, out.as_mut());
    }

    /// Fills `out` with standard normal numbers.
    pub fn fill_normal<A: AsMut<[f64]> + ?Sized>(&mut self, out: &mut A) {
        self.lanes().fill_normal(out.as_mut());
    }

    fn lanes(&mut self) -> &mut Lanes {
        let start = self.start;
        self.lanes.get_or_insert_with(|| {
            let mut state = start;
            Lanes::new(std::array::from_fn(|_| {
                state = next_lane(state);
                state
            }))
        })
    }
}

impl TryRng for ChunkRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.lane_0.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.lane_0.try_next_u64()
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.lane_0.try_fill_bytes(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_i_of_a_fill_comes_from_lane_1_plus_i_mod_8() {
        let streams = Streams::new(42);
        let mut lanes: Vec<_> =
            (1..=8).map(|lane| generator(streams.chunk_state(2, 5, lane))).collect();
        let mut out = [0; 37];
        let mut rng = ChunkRng::new(&streams, 2, 5);
        rng.fill_u64(&mut out[..3]);
        rng.fill_u64(&mut out[3..]);
        for (i, x) in out.into_iter().enumerate() {
            assert_eq!(x, lanes[i % 8].next_u64(), "element {i}");
        }
    }

    #[test]
    fn single_draws_come_from_lane_0_and_leave_the_fills_alone() {
        let streams = Streams::new(42);
        let mut rng = ChunkRng::new(&streams, 0, 0);
        let (mut before, mut after) = ([0.0; 9], [0.0; 9]);
        assert_eq!(rng.next_u64(), 0xd076_4d4f_4476_689f);
        rng.fill_uniform(&mut before);
        assert_eq!(rng.next_u64(), 0x519e_4174_576f_3791);
        ChunkRng::new(&streams, 0, 0).fill_uniform(&mut after);
        assert_eq!(before, after);
        assert!(before.iter().all(|x| (0.0..1.0).contains(x)));
    }

    #[test]
    fn integers_of_a_range_reach_both_ends_and_stay_inside() {
        let mut out = [0; 4000];
        let mut rng = ChunkRng::new(&Streams::new(1), 0, 0);
        rng.fill_range(10, 17, &mut out);
        for n in 10..17 {
            let count = out.iter().filter(|&&x| x == n).count();
            assert!((450..700).contains(&count), "{n} came {count} times of 4000");
        }
        assert!(out.iter().all(|x| (10..17).contains(x)));
        rng.fill_range(u64::MAX - 1, u64::MAX, &mut out);
        assert!(out.iter().all(|&x| x == u64::MAX - 1));
    }

    #[test]
    fn every_fill_takes_the_draws_of_its_own_lanes() {
        let streams = Streams::new(9);
        let rng = || ChunkRng::new(&streams, 1, 2);
        let (mut words, mut unit, mut single) = ([0; 100], [0.0; 100], [0.0f32; 100]);
        let (mut range, mut normal) = ([0.0; 100], [0.0; 100]);
        rng().fill_u64(&mut words);
        rng().fill_uniform(&mut unit);
        rng().fill_uniform_f32(&mut single);
        rng().fill_range_f64(-1.0, 3.0, &mut range);
        rng().fill_normal(&mut normal);
        for i in 0..100 {
            assert_eq!(unit[i], unit_f64(words[i]));
            assert_eq!(single[i], (words[i] >> 40) as f32 / (1u32 << 24) as f32);
            assert_eq!(range[i], unit[i].mul_add(4.0, -1.0));
            assert_eq!(normal[i] < 0.0, unit[i] < 0.5);
        }
    }

    #[test]
    #[should_panic(expected = "give a high above low")]
    fn an_empty_range_is_refused() {
        ChunkRng::new(&Streams::new(1), 0, 0).fill_range(5, 5, &mut [0; 1]);
    }
}
