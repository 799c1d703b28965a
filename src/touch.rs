//! Touching a new segment's pages before anybody works on them: here, or by a pool's workers.
//!
//! Every page is asked for by `MADV_POPULATE_WRITE`, which says that there is no room where a store
//! would be a SIGBUS. Which worker touches what follows from who begins with it (`chunk::share`), cut
//! at page boundaries. Called by `array_builder`.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::args::Mapping;
use crate::chunk::{chunk_count, chunk_range, share};
use crate::ctx::Ctx;
use crate::error::Result;
use crate::items::items;
use crate::pool::Pool;
use crate::segment::{CreateError, Segment};
use crate::sys::map::HUGE_BYTES;
use crate::sys::pages::{OnNode, Pages};

/// By what pages a range is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Touch {
    /// As the system, or the file, has it.
    AsItIs = 0,
    /// By base pages.
    Base = 1,
    /// By transparent huge ones, as far as they are to be had.
    Transparent = 2,
}

/// The shape of an array in its segment, and how it will be worked on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    pub(crate) segment_bytes: usize,
    pub(crate) data_offset: usize,
    pub(crate) rows: usize,
    pub(crate) row_bytes: usize,
    pub(crate) chunk_rows: usize,
    /// Parts are cut at multiples of this.
    pub(crate) granule: usize,
}

impl Geometry {
    /// The bytes of the segment that each of `workers` begins with: all bytes, each once.
    fn parts(&self, workers: usize) -> Vec<std::ops::Range<usize>> {
        let (rows, chunk_rows) = (self.rows as u64, self.chunk_rows as u64);
        let chunks = chunk_count(rows, chunk_rows);
        let cut = |worker: usize| {
            if worker == 0 {
                return 0;
            }
            if worker == workers {
                return self.segment_bytes;
            }
            let first = share(chunks, worker, workers).start;
            let row = chunk_range(rows, chunk_rows, first).start as usize;
            let at = self.data_offset.saturating_add(row.saturating_mul(self.row_bytes));
            (at - at % self.granule).min(self.segment_bytes)
        };
        (0..workers).map(|worker| cut(worker)..cut(worker + 1)).collect()
    }
}

/// One worker's part, as the job carries it.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Part {
    start: u64,
    len: u64,
    worker: u64,
    /// Its NUMA node; −1 where it is not known.
    node: i64,
    touch: u64,
}

/// Touches all of it in this process.
pub(crate) fn here(segment: &Segment, touch: Touch) -> Result<(), CreateError> {
    let done = populate(segment.base() as usize, segment.len().max(1), touch as u64);
    finish(segment, done)
}

/// Has each worker of the pool touch the part that it will begin with.
///
/// A worker that is late loses its part to another one, which then takes the pages from the late
/// one's node.
pub(crate) fn by_workers(
    pool: &Pool,
    segment: &Arc<Segment>,
    geometry: &Geometry,
    touch: Touch,
) -> Result<()> {
    let places = &pool.plan().workers;
    let parts = geometry.parts(pool.workers()).into_iter().enumerate().map(|(worker, bytes)| {
        let node = places.get(worker).and_then(|place| place.numa);
        Part {
            start: bytes.start as u64,
            len: bytes.len() as u64,
            worker: worker as u64,
            node: node.and_then(|node| i64::try_from(node).ok()).unwrap_or(-1),
            touch: touch as u64,
        }
    });
    let parts = items(parts.collect::<Vec<_>>())?;
    // The stream is not used; without naming one the call would count, and later jobs draw others.
    let args = (Mapping(segment), parts);
    let errors = pool.stream(0).map(args, |(base, part), ctx| touch_part(base, &part, ctx))?;
    let failed = errors.as_slice().iter().find(|&&error| error != 0);
    let done = failed.map_or(Ok(()), |&error| Err(io::Error::from_raw_os_error(error)));
    Ok(finish(segment, done)?)
}

/// In a worker: touches one part, and gives the system's error number or 0.
fn touch_part(base: usize, part: &Part, ctx: &Ctx) -> i32 {
    if part.len == 0 {
        return 0;
    }
    let stolen = ctx.worker() as u64 != part.worker;
    let _on_node = match usize::try_from(part.node) {
        Ok(node) if stolen => OnNode::new(node),
        _ => None,
    };
    match populate(base + part.start as usize, part.len as usize, part.touch) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    }
}

fn populate(start: usize, len: usize, touch: u64) -> io::Result<()> {
    let pages = Pages::new(start, len);
    // An advice that is refused leaves other pages than were wished for, which the report shows.
    if touch == Touch::Base as u64 {
        let _ = pages.refuse_huge();
    } else if touch == Touch::Transparent as u64 {
        let _ = pages.want_huge();
        assemble(start, len)?;
    }
    pages.populate()
}

/// Makes huge pages of all that lie within the range whole.
///
/// Where the system gives huge pages by itself, the first page of each brings all of it; elsewhere
/// (`shmem_enabled=never`, /dev/shm) it is what the kernel asks for before it makes a huge one of it.
fn assemble(start: usize, len: usize) -> io::Result<()> {
    /// Signals are seen between two batches.
    const BATCH_BYTES: usize = 64 * HUGE_BYTES;
    let page = rustix::param::page_size();
    let (first, last) =
        (start.next_multiple_of(HUGE_BYTES), (start + len) / HUGE_BYTES * HUGE_BYTES);
    for batch in (first..last).step_by(BATCH_BYTES) {
        let end = last.min(batch + BATCH_BYTES);
        for huge in (batch..end).step_by(HUGE_BYTES) {
            Pages::new(huge, page).populate()?;
        }
        // Not enough free memory in one piece, or an old kernel: then by base pages.
        let _ = Pages::new(batch, end - batch).collapse();
    }
    Ok(())
}

/// Linux before 5.14 knows no such advice: then the file system reserves the pages, wherever the
/// caller runs, and as it likes.
fn finish(segment: &Segment, done: io::Result<()>) -> Result<(), CreateError> {
    let done = match done {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => segment.reserve().map(|_| ()),
        done => done,
    };
    done.map_err(|source| CreateError::Touch { name: segment.label().into_owned(), source })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_cover_the_segment_once_at_page_boundaries(
            rows in 0usize..100_000, row_bytes in 0usize..5_000, chunk_rows in 1usize..2_000,
            workers in 1usize..40, shift in 12u32..22,
        ) {
            let granule = 1 << shift;
            let segment_bytes = (4096 + rows * row_bytes).next_multiple_of(granule);
            let geometry =
                Geometry { segment_bytes, data_offset: 4096, rows, row_bytes, chunk_rows, granule };
            let parts = geometry.parts(workers);
            prop_assert_eq!(parts.len(), workers);
            let mut next = 0;
            for part in &parts {
                prop_assert_eq!(part.start, next);
                prop_assert!(part.end >= part.start);
                prop_assert!(part.start % granule == 0);
                next = part.end;
            }
            prop_assert_eq!(next, segment_bytes);
        }
    }

    #[test]
    fn a_part_begins_with_the_workers_first_chunk() {
        let geometry = Geometry {
            segment_bytes: 4096 + 8 * 40_960,
            data_offset: 4096,
            rows: 40_960,
            row_bytes: 8,
            chunk_rows: 512,
            granule: 4096,
        };
        // 80 chunks of a page each: 40 a worker, after the header's page.
        assert_eq!(geometry.parts(2), [0..41 * 4096, 41 * 4096..81 * 4096]);
    }

    #[test]
    fn where_the_advice_is_unknown_the_file_system_reserves() {
        use crate::segment::Reserve;
        let segment = Segment::nameless_when("test", 100_000, Reserve::Later).unwrap();
        let unknown = || Err(io::Error::from_raw_os_error(libc::EINVAL));
        let blocks = || crate::sys::mem::hole_bytes(&crate::sys::mem::stat(segment.fd()).unwrap());
        assert!(blocks() > 0);
        finish(&segment, unknown()).unwrap();
        assert_eq!(blocks(), 0);
        let full = finish(&segment, Err(io::Error::from_raw_os_error(libc::EFAULT)));
        assert!(full.unwrap_err().to_string().contains("could not all be had"));
    }

    #[test]
    fn pages_that_are_not_to_be_had_are_an_error_and_no_signal() {
        use crate::segment::Reserve;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let segment = Segment::create_file(&path, 3 * HUGE_BYTES, Reserve::Later).unwrap();
        // As a store into a full file system is: there is no page behind the end.
        std::fs::File::options().write(true).open(&path).unwrap().set_len(4096).unwrap();
        for touch in [Touch::AsItIs, Touch::Base, Touch::Transparent] {
            let error = here(&segment, touch).unwrap_err();
            assert!(matches!(error, CreateError::Touch { .. }), "{error}");
        }
    }
}
