//! Pages and NUMA nodes of arrays: what is asked for, what is got, and that nothing else changes.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use ndarray::Ix1;
use pinpool::{
    ArrayBuilder, Backend, CreateError, Error, HugeSize, MemoryReport, Numa, Pages, Pool,
    SharedArray,
};

/// Some huge pages, and a last one that is not full.
const LEN: usize = (9 << 20) / 8 + 77;
const CHUNK: usize = 32_768;

fn name(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("pinpool-test-memory-{what}-{}-{number}", std::process::id())
}

fn pool(backend: Backend) -> Pool {
    Pool::builder().workers(2).oversubscribe(true).backend(backend).seed(5).build().unwrap()
}

/// The nodes of a list such as `0-1,4`.
fn listed(text: &str) -> Vec<usize> {
    let ranges = text.trim().split(',').filter(|range| !range.is_empty()).map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    ranges.flatten().collect()
}

/// The nodes with memory that this process may use.
fn usable_nodes() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"));
    let mut nodes = listed(allowed.unwrap_or("0"));
    if let Ok(memory) = std::fs::read_to_string("/sys/devices/system/node/has_memory") {
        nodes.retain(|node| listed(&memory).contains(node));
    }
    nodes
}

/// The first of them.
fn node() -> usize {
    usable_nodes()[0]
}

fn all_pages() -> [Pages; 4] {
    [Pages::System, Pages::Base, Pages::Transparent, Pages::TryHuge(HugeSize::DEFAULT)]
}

fn all_nodes() -> [Numa; 4] {
    [Numa::Default, Numa::FirstTouch, Numa::Interleave, Numa::Bind(node())]
}

/// The policy that this kernel names for a mapping of the test's own to which it gives one itself:
/// what `mbind` does here, without any code of ours. `None` where it keeps no policies or does not
/// tell, and then nothing can be checked.
fn kernels_own_policy(mode: i32, nodes: &[usize]) -> Option<String> {
    // In the array's kind of memory; a descriptor of its own, so that nothing else changes.
    let file =
        rustix::fs::memfd_create("pinpool-test-probe", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, 1 << 20).unwrap();
    let map = memmap2::MmapRaw::map_raw(&file).unwrap();
    let mut mask = [0u64; 16];
    nodes.iter().for_each(|node| mask[node / 64] |= 1 << (node % 64));
    let (at, bits) =
        if nodes.is_empty() { (std::ptr::null(), 0) } else { (mask.as_ptr(), 1024usize) };
    // SAFETY: a policy changes no byte; the mask is as long as it is said to be.
    let done =
        unsafe { libc::syscall(libc::SYS_mbind, map.as_ptr(), 1usize << 20, mode, at, bits, 0) };
    if done != 0 {
        return None;
    }
    policy_of(map.as_ptr() as usize)
}

/// What arrays without a policy, interleaved over all nodes and bound to one are to have.
fn wanted_policies() -> Option<[String; 3]> {
    let all = usable_nodes();
    Some([
        kernels_own_policy(libc::MPOL_DEFAULT, &[])?,
        kernels_own_policy(libc::MPOL_INTERLEAVE, &all)?,
        kernels_own_policy(libc::MPOL_BIND, &[node()])?,
    ])
}

/// The second word of the line of numa_maps that begins with an address.
fn policy_of(address: usize) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/numa_maps").ok()?;
    let line = maps.lines().find_map(|line| line.strip_prefix(&format!("{address:x} ")))?;
    line.split(' ').next().map(str::to_owned)
}

fn builder(pool: &Pool) -> ArrayBuilder<'_, f64, Ix1> {
    SharedArray::builder(LEN).owners(pool, CHUNK)
}

/// Fills it and sums it: the bits of all chunks.
fn work(pool: &Pool, x: &mut SharedArray<f64, Ix1>) -> Vec<u64> {
    pool.stream(3)
        .for_each(x.chunks_out(CHUNK), |mut c, ctx| ctx.rng().fill_uniform(&mut c))
        .unwrap();
    pool.for_each(x.chunks_mut(CHUNK), |mut c, _| c.iter_mut().for_each(|v| *v += 1.0)).unwrap();
    let sums = pool.map(x.chunks(CHUNK), |c, _| c.iter().sum::<f64>()).unwrap();
    sums.as_slice().iter().map(|sum| sum.to_bits()).collect()
}

fn whole(memory: &MemoryReport) {
    assert_eq!(memory.resident_bytes, memory.mapped_bytes, "{memory:?}");
    if !memory.node_bytes.is_empty() {
        assert_eq!(memory.node_bytes.values().sum::<u64>(), memory.resident_bytes, "{memory:?}");
    }
}

#[test]
fn every_combination_gives_the_same_bits_and_is_there_in_full() {
    let pool = pool(Backend::Processes);
    let wanted = work(&pool, &mut SharedArray::zeros(LEN).unwrap());
    let wanted_policies = wanted_policies();
    for pages in all_pages() {
        for numa in all_nodes() {
            for prefault in [false, true] {
                let made = builder(&pool).pages(pages).numa(numa).prefault(prefault).create();
                let mut x = made.unwrap_or_else(|e| panic!("{pages} {numa}: {e}"));
                assert!(x.as_slice().iter().all(|&v| v.to_bits() == 0), "{pages} {numa}");
                assert_eq!(work(&pool, &mut x), wanted, "{pages} {numa} prefault {prefault}");
                let memory = x.memory().unwrap();
                whole(&memory);
                if pages == Pages::Base {
                    assert_eq!(memory.huge_bytes(), 0, "{memory:?}");
                }
                match &wanted_policies {
                    Some([none, interleave, bind]) => {
                        let wanted = match numa {
                            Numa::Interleave => interleave,
                            Numa::Bind(_) => bind,
                            _ => none,
                        };
                        assert_eq!(&memory.policy, wanted, "{pages} {numa}");
                    }
                    None => println!("SKIPPED: this kernel keeps no NUMA policy ({numa})"),
                }
            }
        }
    }
}

#[test]
fn threads_and_the_serial_backend_touch_too() {
    let wanted = work(&pool(Backend::Serial), &mut SharedArray::zeros(LEN).unwrap());
    for backend in [Backend::Threads, Backend::Serial] {
        let pool = pool(backend);
        let made = builder(&pool).pages(Pages::Transparent).numa(Numa::FirstTouch).create();
        assert_eq!(work(&pool, &mut made.unwrap()), wanted, "{backend:?}");
    }
}

#[test]
fn first_touch_draws_no_jobs_stream() {
    let draw = |touched: bool| {
        let pool = pool(Backend::Processes);
        if touched {
            builder(&pool).numa(Numa::FirstTouch).create().unwrap();
        }
        let mut x = SharedArray::<f64, _>::zeros(1000).unwrap();
        let args = x.chunks_out(100);
        pool.for_each(args, |mut c, ctx| ctx.rng().fill_uniform(&mut c)).unwrap();
        x.as_slice().to_vec()
    };
    assert_eq!(draw(true), draw(false));
}

/// Number and path of the file behind a line of smaps that begins a mapping, and its addresses.
fn mapping(line: &str) -> Option<(std::ops::Range<usize>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let (_, file) = rest.match_indices(' ').nth(2).map(|(at, _)| rest.split_at(at + 1))?;
    Some((address(start)?..address(end)?, file.trim()))
}

/// Bytes of an array in the page tables of a process. That of an array before it may still be there.
fn mapped_by(pid: u32, array: &SharedArray<f64, Ix1>) -> u64 {
    let own = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let address = array.as_slice().as_ptr() as usize;
    let mut mappings = own.lines().filter_map(mapping);
    let (_, file) = mappings.find(|(range, _)| range.contains(&address)).unwrap();
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut ours = false;
    let mut kib = 0;
    for line in smaps.lines() {
        if let Some((_, behind)) = mapping(line) {
            ours = behind == file;
        } else if let Some(rss) = line.strip_prefix("Rss:").filter(|_| ours) {
            kib += rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        }
    }
    kib << 10
}

#[test]
fn workers_have_their_parts_in_their_page_tables_and_nobody_has_more() {
    let pool = pool(Backend::Processes);
    for (numa, prefault) in
        [(Numa::FirstTouch, false), (Numa::Default, true), (Numa::Default, false)]
    {
        let x = builder(&pool).numa(numa).prefault(prefault).pages(Pages::System).create().unwrap();
        let bytes: u64 = pool.whereabouts().iter().map(|worker| mapped_by(worker.pid, &x)).sum();
        let all = (4096 + 8 * LEN as u64).next_multiple_of(4096);
        let touched = numa == Numa::FirstTouch || prefault;
        assert_eq!(bytes, if touched { all } else { 0 }, "{numa} {prefault}");
        drop(x);
    }
}

fn kernel_is_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.trim().parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

#[test]
fn transparent_huge_pages_are_had_whatever_the_default_is() {
    let pool = pool(Backend::Processes);
    let name = name("thp");
    for numa in all_nodes() {
        let nameless = builder(&pool).pages(Pages::Transparent).numa(numa).create().unwrap();
        let named = builder(&pool).pages(Pages::Transparent).numa(numa);
        // SAFETY: no other program knows the name.
        let named = unsafe { named.create_named(&name) }.unwrap();
        for array in [&nameless, &named] {
            let memory = array.memory().unwrap();
            whole(&memory);
            let denied = memory.shmem_enabled.as_deref().is_none_or(|setting| setting == "deny");
            if denied || !kernel_is_at_least(6, 1) {
                println!("SKIPPED: no transparent huge pages to be had here: {memory:?}");
            } else {
                // The data begin in the first huge page; the last one is not full.
                assert!(memory.transparent_huge_bytes >= 8 << 20, "{numa}: {memory:?}");
            }
        }
    }
}

#[test]
fn a_named_array_is_the_same_file_as_ever() {
    let pool = pool(Backend::Processes);
    let name = name("named");
    let path = Path::new("/dev/shm").join(&name);
    for pages in all_pages() {
        let array = builder(&pool).pages(pages).numa(Numa::FirstTouch);
        // SAFETY: no other program writes into it.
        let mut array = unsafe { array.create_named(&name) }.unwrap();
        work(&pool, &mut array);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 4096 + 8 * LEN as u64);
        // SAFETY: as above.
        let opened = unsafe { SharedArray::<f64, Ix1>::open_named_read_only(&name) }.unwrap();
        assert_eq!(opened.as_slice(), array.as_slice());
        numpy_sums(&path, array.as_slice());
        drop(opened);
        drop(array);
        assert!(!path.exists());
    }
}

/// Has numpy add it up, where there is one.
fn numpy_sums(path: &Path, values: &[f64]) {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/ci-venv/bin/python");
    let python = if venv.exists() { venv } else { PathBuf::from("python3") };
    let code = format!(
        "import numpy as np, math; a = np.load('{}', mmap_mode='r'); print(repr(math.fsum(a[::1000])), len(a))",
        path.display()
    );
    let run = Command::new(python).args(["-c", &code]).output();
    match run {
        Ok(run) if run.status.success() => {
            let text = String::from_utf8(run.stdout).unwrap();
            let (sum, len) = text.trim().split_once(' ').unwrap();
            assert_eq!(len.parse(), Ok(values.len()));
            let wanted: f64 = values.iter().step_by(1000).sum();
            assert!((sum.parse::<f64>().unwrap() - wanted).abs() < 1e-6);
        }
        _ => println!("SKIPPED: no Python with numpy"),
    }
}

#[test]
fn a_file_on_a_disk_takes_what_makes_sense_there() {
    let pool = pool(Backend::Processes);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let wanted = work(&pool, &mut SharedArray::zeros(LEN).unwrap());
    for (number, pages) in all_pages().into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.npy"));
        let array = builder(&pool).pages(pages).numa(Numa::FirstTouch);
        // SAFETY: the folder is the test's own.
        let mut array = unsafe { array.create_file(&path) }.unwrap();
        assert_eq!(work(&pool, &mut array), wanted);
        assert!(array.memory().unwrap().mapped_bytes > 8 * LEN as u64);
    }
    let path = folder.path().join("policy.npy");
    // SAFETY: as above.
    let refused = unsafe { builder(&pool).numa(Numa::Interleave).create_file(&path) };
    match refused {
        Err(Error::Create(CreateError::FilePolicy { .. })) => {}
        Ok(_) => println!("SKIPPED: the target folder lies in memory"),
        other => panic!("{other:?}"),
    }
    assert!(!path.exists() || std::fs::metadata(&path).unwrap().len() > 0);
}

/// The error of an array of a kind.
fn refused<D: ndarray::Dimension>(array: ArrayBuilder<'_, f64, D>) -> CreateError {
    match array.create() {
        Err(Error::Create(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_had_is_an_error_that_says_what_to_do() {
    // A tebibyte, which nobody has reserved.
    let huge = SharedArray::<f64, Ix1>::builder(1 << 37).pages(Pages::Huge(HugeSize::DEFAULT));
    let error = refused(huge);
    match &error {
        CreateError::NoHugePages { pages, free, .. } => {
            assert!(pages > free);
            assert!(
                error.to_string().contains("nr_hugepages") && error.to_string().contains("thp")
            );
        }
        CreateError::HugePageSize { .. } => println!("SKIPPED: a kernel without huge pages"),
        other => panic!("{other}"),
    }
    let odd = HugeSize::of_bytes(16 << 10).unwrap();
    if cfg!(target_arch = "x86_64") {
        let error = refused(SharedArray::<f64, Ix1>::builder(1).pages(Pages::Huge(odd)));
        assert!(matches!(error, CreateError::HugePageSize { .. }), "{error}");
    }
    let error = refused(SharedArray::<f64, Ix1>::builder(9).numa(Numa::Bind(1023)));
    assert!(matches!(error, CreateError::NoNode { node: 1023, .. }), "{error}");
    assert!(error.to_string().contains(&format!("bind to one of {}", node())), "{error}");
    let error = refused(SharedArray::<f64, Ix1>::builder(9).numa(Numa::FirstTouch));
    assert!(matches!(error, CreateError::NoOwners), "{error}");
    let name = name("huge");
    let named = SharedArray::<f64, Ix1>::builder(9).pages(Pages::Huge(HugeSize::DEFAULT));
    // SAFETY: no other program knows the name, and it is not made.
    let error = unsafe { named.create_named(&name) }.unwrap_err();
    assert!(matches!(error, Error::Create(CreateError::HugePagesNamed { .. })), "{error}");
    assert!(!Path::new("/dev/shm").join(&name).exists());
}

#[test]
fn reserved_huge_pages_are_taken_and_given_back() {
    let pool = pool(Backend::Processes);
    let wanted = work(&pool, &mut SharedArray::zeros(LEN).unwrap());
    let free = || -> u64 {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("HugePages_Free:"));
        line.map_or(0, |line| line.trim().parse().unwrap())
    };
    let before = free();
    for numa in all_nodes() {
        for prefault in [false, true] {
            let array = builder(&pool).pages(Pages::Huge(HugeSize::DEFAULT));
            match array.numa(numa).prefault(prefault).create() {
                Ok(mut array) => {
                    let memory = array.memory().unwrap();
                    whole(&memory);
                    assert_eq!(memory.reserved_huge_bytes, memory.mapped_bytes, "{memory:?}");
                    assert!(memory.page_bytes > 4096);
                    assert_eq!(work(&pool, &mut array), wanted);
                    let saved = tempfile::tempdir().unwrap();
                    let path = saved.path().join("a.npy");
                    array.save(&path).unwrap();
                    // SAFETY: the folder is the test's own.
                    let opened = unsafe { SharedArray::<f64, Ix1>::open_file(&path) }.unwrap();
                    assert_eq!(opened.as_slice(), array.as_slice());
                }
                Err(Error::Create(CreateError::NoHugePages { free, .. })) => {
                    assert!(free < 5, "{free} are free, and 5 suffice");
                    println!(
                        "SKIPPED: {free} reserved huge pages free; set vm.nr_hugepages=8 and run again"
                    );
                    return;
                }
                Err(Error::Create(CreateError::HugePageSize { .. })) => {
                    println!("SKIPPED: a kernel without reserved huge pages");
                    return;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    drop(pool);
    assert_eq!(free(), before, "workers and parent gave all back");
}
