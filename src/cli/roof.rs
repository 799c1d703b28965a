//! What memory gives to some workers that do nothing else: the roof over a kernel's bandwidth.
//!
//! Two loops over an array that no cache holds: one reads it, one copies it to another. A roof is
//! what can be had, so the best of several runs counts. The arrays are of the kind of pages and on
//! the nodes that the kernel's is to have, and made for the same workers.

#![forbid(unsafe_code)]

use std::time::Instant;

use pinpool::placement::PlacementOptions;
use pinpool::topology::Topology;
use pinpool::{Pool, SharedArray};
use serde::Serialize;

use super::failure::Failure;
use super::interrupt;
use super::pages::{NodeArgs, PagesArgs};

/// Runs of each loop.
const RUNS: usize = 5;
/// The array is so many times as large as the last level caches together,
const TIMES_CACHES: u64 = 4;
/// but within these bounds: copied, it takes twice that, for parts of a second.
const LEAST_BYTES: u64 = 64 << 20;
const MOST_BYTES: u64 = 256 << 20;
/// 256 KiB: what the pool takes for a chunk of doubles.
const CHUNK: usize = 32_768;

/// Bytes a second.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Roof {
    pub(super) bind: String,
    pub(super) workers: usize,
    /// The kind of pages, where several are swept.
    pub(super) pages: Option<String>,
    pub(super) read: f64,
    /// Read and written together.
    pub(super) copy: f64,
}

impl Roof {
    /// The roof for a kernel that writes, or only reads.
    pub(super) fn of(&self, writes: bool) -> f64 {
        if writes { self.copy } else { self.read }
    }

    /// Measures it with workers that are placed so, over arrays that are made so.
    pub(super) fn measure(
        topology: &Topology,
        placement: &PlacementOptions,
        how: PagesArgs,
    ) -> Result<Roof, Failure> {
        let bytes = (TIMES_CACHES * last_level_bytes(topology)).clamp(LEAST_BYTES, MOST_BYTES);
        let len = (bytes / 8) as usize;
        let pool = Pool::builder().placement(placement.clone()).build()?;
        let PagesArgs { pages, place: NodeArgs { numa, prefault } } = how;
        let array = || SharedArray::<u64, _>::builder(len).pages(pages).numa(numa);
        let made = || array().prefault(prefault).owners(&pool, CHUNK).create();
        let (mut from, mut to) = (made()?, made()?);
        let both = (from.chunks_out(CHUNK), to.chunks_out(CHUNK));
        pool.for_each(both, |(mut a, mut b), ctx| {
            a.fill(ctx.chunk());
            b.fill(0);
        })?;
        let (mut read, mut copy) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..RUNS {
            let started = Instant::now();
            // The slots keep the compiler from dropping the loop.
            pool.map(from.chunks(CHUNK), |c, _| {
                c.as_slice().iter().fold(0u64, |sum, word| sum.wrapping_add(*word))
            })?;
            read = read.min(started.elapsed().as_secs_f64());
            interrupt::check()?;
            let started = Instant::now();
            pool.for_each((from.chunks(CHUNK), to.chunks_out(CHUNK)), |(from, mut to), _| {
                let to: &mut [u64] = to.as_slice_mut();
                to.copy_from_slice(from.as_slice());
            })?;
            copy = copy.min(started.elapsed().as_secs_f64());
            interrupt::check()?;
        }
        let bytes = len as f64 * 8.0;
        let bind = pool.plan().bind.to_string();
        let (read, copy) = (bytes / read, 2.0 * bytes / copy);
        Ok(Roof { bind, workers: pool.workers(), pages: None, read, copy })
    }
}

/// All last level caches of a machine together; 0 where it names none.
pub(super) fn last_level_bytes(topology: &Topology) -> u64 {
    let caches = topology.caches();
    let last = caches.iter().map(|cache| cache.level).max();
    let sizes = caches.iter().filter(|cache| Some(cache.level) == last);
    sizes.filter_map(|cache| cache.size_bytes).sum()
}
