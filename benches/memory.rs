//! What does it cost to make 320 MB of shared memory and touch it, by each kind of pages?
//!
//! The floor of a kind is a C program's way: `memcpy` into a fresh memfd, by base pages and by
//! transparent and reserved huge ones (where `shmem_enabled` is never, the second one gets base pages
//! as well, and the third is the floor for both). Ours makes the array by the builder, whose pages are all there,
//! and copies the same bytes into it. All in turn, best and median of the rounds in ms; contents are
//! checked. What was really got stands beside each.
//!
//! `cargo bench --bench memory`

use std::os::fd::AsRawFd;
use std::time::Instant;

use pinpool::{HugeSize, MemoryReport, Numa, Pages, Pool, SharedArray};

const LEN: usize = 40_000_000;
const ROUNDS: usize = 7;

type Way<'a> = (String, Box<dyn FnMut(&[f64]) -> Option<(f64, String)> + 'a>);

/// A fresh memfd, mapped and written by one thread: what nobody can be faster than.
fn floor(label: &str, flags: libc::c_uint, advice: Option<i32>) -> Way<'static> {
    let run = move |source: &[f64]| {
        let started = Instant::now();
        let bytes = size_of_val(source).next_multiple_of(2 << 20);
        // SAFETY: a constant string; a new descriptor that `File` takes over.
        let fd = unsafe { libc::memfd_create(c"pinpool:floor".as_ptr(), flags) };
        if fd < 0 {
            return None;
        }
        // SAFETY: it was opened just now, and nobody else has it.
        let file = unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) };
        file.set_len(bytes as u64).ok()?;
        let map = memmap2::MmapOptions::new().len(bytes).map_raw(file.as_raw_fd()).ok()?;
        if let Some(advice) = advice {
            // SAFETY: the range is the mapping; no byte of it changes.
            unsafe { libc::madvise(map.as_mut_ptr().cast(), bytes, advice) };
        }
        // SAFETY: the mapping is as long, new, and nobody else's.
        unsafe { map.as_mut_ptr().cast::<f64>().copy_from_nonoverlapping(source.as_ptr(), LEN) };
        let time = started.elapsed().as_secs_f64();
        // SAFETY: as above, and it was written just now.
        let read = unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<f64>(), LEN) };
        assert!(read == source, "contents");
        Some((time, String::new()))
    };
    (label.to_owned(), Box::new(run))
}

/// Ours, filled by this thread.
fn ours<'a>(pool: &'a Pool, pages: Pages, numa: Numa) -> Way<'a> {
    let run = move |source: &[f64]| {
        let started = Instant::now();
        let array = SharedArray::<f64, _>::builder(LEN).pages(pages).owners(pool, 32_768);
        let mut array = array.numa(numa).create().ok()?;
        let made = started.elapsed().as_secs_f64();
        array.as_mut_slice().copy_from_slice(source);
        let time = started.elapsed().as_secs_f64();
        assert!(array.as_slice() == source, "contents");
        let memory: MemoryReport = array.memory().ok()?;
        Some((time, format!("made {:.0}; {memory}", made * 1e3)))
    };
    (format!("ours, {pages}, {numa}"), Box::new(run))
}

fn main() {
    let pool = Pool::new().expect("a pool");
    let source: Vec<f64> = (0..LEN).map(|i| i as f64).collect();
    let huge = libc::MFD_HUGETLB;
    let mut ways = vec![
        floor("floor, base: memcpy into a fresh memfd", 0, None),
        ours(&pool, Pages::System, Numa::Default),
        ours(&pool, Pages::Base, Numa::Default),
        ours(&pool, Pages::Base, Numa::FirstTouch),
        floor("floor, thp: the same with MADV_HUGEPAGE", 0, Some(libc::MADV_HUGEPAGE)),
        ours(&pool, Pages::Transparent, Numa::Default),
        ours(&pool, Pages::Transparent, Numa::FirstTouch),
        floor("floor, huge: the same with MFD_HUGETLB", huge, None),
        ours(&pool, Pages::Huge(HugeSize::DEFAULT), Numa::Default),
        ours(&pool, Pages::Huge(HugeSize::DEFAULT), Numa::FirstTouch),
    ];
    let mut times = vec![Vec::new(); ways.len()];
    let mut got = vec![String::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (index, (_, way)) in ways.iter_mut().enumerate() {
            if let Some((time, memory)) = way(&source) {
                times[index].push(time * 1e3);
                got[index] = memory;
            }
        }
    }
    println!(
        "{} MB, {} workers; ms made and written, best and median of {ROUNDS}; best × the floor's above",
        LEN * 8 / 1_000_000,
        pool.workers()
    );
    let mut floor = f64::NAN;
    for (index, (label, _)) in ways.iter().enumerate() {
        let times = &mut times[index];
        times.sort_by(f64::total_cmp);
        let (Some(best), Some(median)) = (times.first(), times.get(times.len() / 2)) else {
            println!("{label:<42} SKIPPED: not to be had here");
            continue;
        };
        if label.starts_with("floor") {
            floor = *best;
        }
        println!("{label:<42} {best:>7.0} {median:>7.0} {:>6.2}   {}", best / floor, got[index]);
    }
}
