//! The kernels that walk a range of integers: its chunks are what the array holds, by their lower
//! ends, one row a chunk, so that all that is done with arrays is done with ranges too.

#![forbid(unsafe_code)]

use std::path::Path;

use ndarray::Ix1;
use pinpool::{Param, Pool, SharedArray};
use pinpool_kernels::primes;

use super::failure::Failure;
use super::kernels::{Form, Job};
use super::report::Count;

/// Default chunks are multiples of this: one segment of the sieve, so that none begins a segment for
/// a small rest. A number of its own, since results depend on chunks and must not on the sieve's tuning.
const SEGMENT: u64 = (1 << 18) * 30;
/// Shorter chunks would spend their time on finding the sieving primes.
const LEAST_SPAN: u64 = 2 * SEGMENT;
/// Chunks of a long range: enough for any number of workers to end at about the same time.
const CHUNKS: u64 = 1024;
/// Chunks of a short range of large numbers, where each chunk first finds the primes to the root.
const FEW_CHUNKS: u64 = 16;

/// The most that prime-pi takes: a table of two words for each number to the root, 1.6 GB.
pub(super) const MOST_PRIME_PI: u64 = 10_000_000_000_000_000;

/// What `prime_pi(n)` takes.
pub(super) fn prime_pi_bytes(n: u64) -> u64 {
    16 * n.isqrt()
}

/// The chunk length where the caller has no wish; it follows from the range alone.
pub(super) fn default_span(low: u64, high: u64) -> u64 {
    let (len, root) = (high - low, high.isqrt());
    // A quarter of the time goes into beginning where a chunk is eight roots long.
    let by_root = (8 * root).min(len / FEW_CHUNKS);
    let span = LEAST_SPAN.max(len.div_ceil(CHUNKS)).max(by_root);
    span.div_ceil(SEGMENT) * SEGMENT
}

/// How many primes lie in [low, high).
#[derive(Debug, Clone, Copy)]
pub(super) struct CountPrimes {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) span: u64,
}

impl Job for CountPrimes {
    type Element = u64;
    type Slot = u64;

    fn geometry(self, _rows: usize, _chunk: usize) -> (usize, usize) {
        let len = self.high - self.low;
        (len as usize, self.span.min(len) as usize)
    }

    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        let start = Param([self.low, self.span]);
        form.job(pool).for_each((array.chunks_out(chunk), start), |(mut row, [low, span]), ctx| {
            row[0] = low + ctx.chunk() * span;
        })
    }

    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<u64, Ix1>> {
        let end = Param([self.span, self.high]);
        form.map(pool, (array.chunks(chunk), end), |(row, [span, high]), _| {
            primes::count_primes(row[0], row[0].saturating_add(span).min(high))
        })
    }

    fn total(self, slots: &[u64]) -> (f64, Count) {
        count(slots)
    }

    fn save(
        self,
        _array: &SharedArray<u64, Ix1>,
        slots: &SharedArray<u64, Ix1>,
        path: &Path,
    ) -> Result<(), Failure> {
        Ok(slots.save(path)?)
    }
}

/// How many primes there are up to n: one chunk, since each step of the count needs the one
/// before.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrimePi {
    pub(super) n: u64,
}

impl Job for PrimePi {
    type Element = u64;
    type Slot = u64;

    fn geometry(self, _rows: usize, _chunk: usize) -> (usize, usize) {
        let len = self.n.max(1) as usize;
        (len, len)
    }

    fn fill(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form,
    ) -> pinpool::Result<()> {
        form.job(pool)
            .for_each((array.chunks_out(chunk), Param(self.n)), |(mut row, n), _| row[0] = n)
    }

    fn run(
        self,
        pool: &Pool,
        array: &mut SharedArray<u64, Ix1>,
        chunk: usize,
        form: Form<'_>,
    ) -> pinpool::Result<SharedArray<u64, Ix1>> {
        form.map(pool, array.chunks(chunk), |row, _| primes::prime_pi(row[0]))
    }

    fn total(self, slots: &[u64]) -> (f64, Count) {
        count(slots)
    }

    fn save(
        self,
        _array: &SharedArray<u64, Ix1>,
        slots: &SharedArray<u64, Ix1>,
        path: &Path,
    ) -> Result<(), Failure> {
        Ok(slots.save(path)?)
    }
}

fn count(slots: &[u64]) -> (f64, Count) {
    let primes = slots.iter().sum::<u64>();
    (primes as f64, Count::Primes(primes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_the_sieves() {
        assert_eq!(SEGMENT, primes::SEGMENT_NUMBERS);
    }

    #[test]
    fn default_chunks_are_whole_segments_and_not_too_many() {
        for (low, high) in [(0, 1), (0, 1_000_000_000), (1 << 60, 1 << 61), (0, u64::MAX)] {
            let span = default_span(low, high);
            assert!(span.is_multiple_of(SEGMENT) && span >= LEAST_SPAN);
            assert!((high - low).div_ceil(span) <= CHUNKS);
        }
    }
}
