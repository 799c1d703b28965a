//! Which chunks are whose: contiguous ranges, as long as a rank's share of all workers.
//!
//! Pure arithmetic that every rank does alike. Nothing here enters a result: it decides who
//! computes a chunk, and where a rank's rows begin.

#![forbid(unsafe_code)]

use std::ops::Range;
use std::sync::Arc;

/// How chunks are dealt to the ranks of a cluster.
#[derive(Debug, Clone)]
pub(super) struct Deal {
    /// Workers of the ranks up to and with each.
    ends: Arc<[u64]>,
    rank: usize,
}

/// A row of chunks that is dealt: how many there are, and how many of them stay together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dealing {
    pub(crate) total: u64,
    /// Only every so many chunks may a rank's range begin.
    pub(crate) stride: u64,
}

/// The arguments of a job as far as they are dealt.
#[derive(Debug, Default)]
pub(crate) struct DealtArgs {
    dealing: Option<Dealing>,
    dealt: u32,
    chunked: u32,
}

impl DealtArgs {
    /// One more argument that has chunks.
    pub(crate) fn count_chunked(&mut self) {
        self.chunked += 1;
    }

    /// One more argument whose chunks are dealt; `false`: otherwise than those before.
    pub(super) fn join(&mut self, dealing: Dealing) -> bool {
        self.dealt += 1;
        *self.dealing.get_or_insert(dealing) == dealing
    }

    /// Whether some arguments with chunks are dealt and others are not.
    pub(crate) fn is_mixed(&self) -> bool {
        self.dealt > 0 && self.dealt < self.chunked
    }

    /// How the job is dealt: `None` where some of its chunks are not.
    pub(super) fn dealing(&self) -> Option<Dealing> {
        self.dealing.filter(|_| self.dealt == self.chunked)
    }
}

impl Deal {
    pub(super) fn new(workers: &[u64], rank: usize) -> Deal {
        let mut sum = 0u64;
        let ends = workers.iter().map(|workers| {
            sum += (*workers).max(1);
            sum
        });
        Deal { ends: ends.collect(), rank }
    }

    /// The chunks of a rank.
    pub(super) fn of(&self, rank: usize, dealing: Dealing) -> Range<u64> {
        let Dealing { total, stride } = dealing;
        let (groups, all) = (total.div_ceil(stride), self.ends[self.ends.len() - 1]);
        let cut = |before: u64| {
            let at = u128::from(groups) * u128::from(before) / u128::from(all);
            u64::try_from(at).unwrap_or(groups).saturating_mul(stride).min(total)
        };
        cut(if rank == 0 { 0 } else { self.ends[rank - 1] })..cut(self.ends[rank])
    }

    /// The chunks of this rank.
    pub(super) fn mine(&self, dealing: Dealing) -> Range<u64> {
        self.of(self.rank, dealing)
    }

    /// How many chunks each rank has.
    pub(super) fn counts(&self, dealing: Dealing) -> Vec<u64> {
        let lens = (0..self.ends.len()).map(|rank| self.of(rank, dealing));
        lens.map(|range| range.end - range.start).collect()
    }

    /// Workers of all ranks.
    pub(super) fn workers(&self) -> u64 {
        self.ends[self.ends.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_cover_the_chunks_once_and_begin_between_strides(
            workers in prop::collection::vec(1u64..100, 1..40), total in 0u64..10_000, stride in 1u64..50,
        ) {
            let (deal, dealing) = (Deal::new(&workers, 0), Dealing { total, stride });
            let mut next = 0;
            for rank in 0..workers.len() {
                let range = deal.of(rank, dealing);
                prop_assert_eq!(range.start, next);
                prop_assert!(range.start % stride == 0 || range.start == total);
                next = range.end;
            }
            prop_assert_eq!(next, total);
            prop_assert_eq!(deal.counts(dealing).iter().sum::<u64>(), total);
        }
    }

    #[test]
    fn a_rank_with_more_workers_gets_more_chunks() {
        let deal = Deal::new(&[64, 32, 32], 1);
        assert_eq!(deal.counts(Dealing { total: 1024, stride: 1 }), [512, 256, 256]);
        assert_eq!(deal.mine(Dealing { total: 1024, stride: 1 }), 512..768);
        assert_eq!(deal.workers(), 128);
        let most = Deal::new(&[1, u64::MAX - 2], 0);
        assert_eq!(most.of(1, Dealing { total: u64::MAX, stride: 1 }).end, u64::MAX);
    }
}
