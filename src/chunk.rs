//! Chunk geometry: pure arithmetic between rows, chunk numbers and workers' shares.
//!
//! It follows from the data and the call alone, never from the number of workers, because it
//! enters the result. Shares follow from the number of workers and decide only who begins where.

#![forbid(unsafe_code)]

use std::ops::Range;

use crate::config::{DEFAULT_CHUNK_BYTES, DEFAULT_CHUNKS};

/// How many chunks of `chunk_rows` rows cover `rows` rows.
#[must_use]
pub fn chunk_count(rows: u64, chunk_rows: u64) -> u64 {
    if chunk_rows == 0 { 0 } else { rows.div_ceil(chunk_rows) }
}

/// The rows of chunk number `chunk`; the last one may be shorter.
#[must_use]
pub fn chunk_range(rows: u64, chunk_rows: u64, chunk: u64) -> Range<u64> {
    let start = chunk.saturating_mul(chunk_rows).min(rows);
    start..start.saturating_add(chunk_rows).min(rows)
}

/// The chunk length when the caller names none: n/256 rounded up, at least 1, at most what fills
/// 256 KiB (one row where a row is larger).
#[must_use]
pub fn default_chunk_rows(rows: u64, row_bytes: usize) -> u64 {
    let most = (DEFAULT_CHUNK_BYTES / row_bytes.max(1)).max(1) as u64;
    rows.div_ceil(DEFAULT_CHUNKS).clamp(1, most)
}

/// The chunk numbers that worker `worker` of `workers` begins with.
#[must_use]
pub fn share(chunks: u64, worker: usize, workers: usize) -> Range<u64> {
    let cut = |i: usize| {
        let at = u128::from(chunks) * i as u128 / workers.max(1) as u128;
        u64::try_from(at).unwrap_or(chunks)
    };
    cut(worker)..cut(worker + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_cover_the_rows_once(rows in 0u64..100_000, chunk_rows in 1u64..1_000) {
            let mut next = 0;
            for c in 0..chunk_count(rows, chunk_rows) {
                let r = chunk_range(rows, chunk_rows, c);
                prop_assert_eq!(r.start, next);
                prop_assert!(r.end > r.start && r.end - r.start <= chunk_rows);
                next = r.end;
            }
            prop_assert_eq!(next, rows);
        }

        #[test]
        fn shares_cover_the_chunks_once(chunks in 0u64..100_000, workers in 1usize..300) {
            let mut next = 0;
            for w in 0..workers {
                let s = share(chunks, w, workers);
                prop_assert_eq!(s.start, next);
                next = s.end;
            }
            prop_assert_eq!(next, chunks);
        }
    }

    #[test]
    fn the_default_chunk_is_the_documented_one() {
        assert_eq!(default_chunk_rows(40_000_000, 8), 32_768);
        assert_eq!(default_chunk_rows(1_000, 8), 4);
        assert_eq!(default_chunk_rows(0, 8), 1);
        assert_eq!(default_chunk_rows(10, 8), 1);
        assert_eq!(default_chunk_rows(10, 1 << 20), 1);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        assert_eq!(chunk_count(u64::MAX, 1), u64::MAX);
        assert_eq!(chunk_range(u64::MAX, u64::MAX, 1), u64::MAX..u64::MAX);
        assert_eq!(share(u64::MAX, 1022, 1023).end, u64::MAX);
    }
}
