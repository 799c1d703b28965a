//! What a host may do around its jobs without losing them: hold its output, panic in a hook, drop
//! arrays, close its standard streams.
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::Duration;

use pinpool::{Backend, Error, JobError, Pool, SharedArray, indices};

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

fn pool(workers: usize, backend: Backend) -> Pool {
    Pool::builder().workers(workers).oversubscribe(true).backend(backend).build().unwrap()
}

/// Runs one ignored test of this file in a process of its own; killed after 60 s.
fn run_alone(test: &str) -> std::process::Output {
    Command::new("timeout")
        .args(["-k", "1", "60"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap()
}

fn passes_alone(test: &str) -> String {
    let done = run_alone(test);
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
#[ignore = "run by output_is_passed_on_while_the_host_holds_its_own"]
fn holds_stdout() {
    let held = std::io::stdout().lock();
    let pool = pool(2, Backend::Processes);
    pool.for_each(indices(2000), |i, _| println!("line {i} {}", "-".repeat(80))).unwrap();
    drop(pool);
    drop(held);
}

#[test]
fn output_is_passed_on_while_the_host_holds_its_own() {
    let out = passes_alone("holds_stdout");
    assert_eq!(out.matches("line ").count(), 2000);
}

#[test]
#[ignore = "run by a_line_that_a_kernel_has_begun_is_written"]
fn begins_a_line() {
    println!();
    pool(1, Backend::Processes).for_each(indices(1), |_, _| print!("just begun")).unwrap();
}

#[test]
fn a_line_that_a_kernel_has_begun_is_written() {
    assert!(passes_alone("begins_a_line").contains("just begun\n"));
}

#[test]
#[ignore = "run by a_host_without_standard_streams_has_workers_all_the_same"]
fn closes_its_standard_streams() {
    for fd in 0..3 {
        // SAFETY: this process is for this test alone, and nobody owns its standard streams.
        drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
    }
    let pool = pool(2, Backend::Processes);
    let sum: u64 = pool.map(indices(100), |i, _| i).unwrap().as_slice().iter().sum();
    // No stream is left to say it on.
    std::process::exit(if sum == 4950 { 33 } else { 34 });
}

#[test]
fn a_host_without_standard_streams_has_workers_all_the_same() {
    assert_eq!(run_alone("closes_its_standard_streams").status.code(), Some(33));
}

#[test]
fn a_panic_in_the_progress_hook_does_not_end_the_borrow_before_the_job() {
    let pool = pool(2, Backend::Processes);
    let mut x = SharedArray::<u64, _>::zeros(4).unwrap();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        pool.job().on_progress(Duration::from_millis(5), &|_| panic!("in the hook")).for_each(
            x.chunks_out(1),
            |mut c, _| {
                for _ in 0..20 {
                    c[0] += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
            },
        )
    }));
    assert!(unwound.is_err());
    let first = x.as_slice().to_vec();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(x.as_slice(), first, "nobody writes any more");
    assert_eq!(pool.call((), |(), _| 1u8).unwrap(), 1);
}

#[test]
fn the_longest_of_times_is_no_limit() {
    let pool = pool(1, Backend::Processes);
    let job = pool.job().time_limit(Duration::MAX).chunk_timeout(Duration::MAX);
    assert_eq!(job.call((), |(), _| 3u8).unwrap(), 3);
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panic_whose_payload_panics_is_one_error() {
    for backend in BACKENDS {
        let pool = pool(1, backend);
        let error = pool.for_each(indices(2), |_, _| std::panic::panic_any(Bomb)).unwrap_err();
        assert!(matches!(error, Error::Job(JobError::Panic { .. })), "{error:?}");
        assert_eq!(pool.call((), |(), _| 1u8).unwrap(), 1);
    }
}

#[test]
fn a_kernel_that_submits_a_job_gets_an_error() {
    use std::sync::OnceLock;
    static POOL: OnceLock<Pool> = OnceLock::new();
    let pool = POOL.get_or_init(|| pool(1, Backend::Threads));
    let refused = pool.call((), |(), _| {
        let inner = POOL.get().expect("made").call((), |(), _| 1u8);
        u8::from(matches!(inner, Err(Error::Job(JobError::InKernel))))
    });
    assert_eq!(refused.unwrap(), 1);
}

#[test]
fn a_dropped_array_is_gone_on_every_backend() {
    for backend in BACKENDS {
        let pool = pool(2, backend);
        let name = format!("pinpool-hosts-{}-{backend}", std::process::id());
        for _ in 0..3 {
            // SAFETY: nobody else knows the name.
            let mut x = unsafe { SharedArray::<f64, _>::create_named(&name, 1000) }.unwrap();
            pool.for_each(x.chunks_mut(10), |mut c, _| c.fill(1.0)).unwrap();
            drop(x);
            assert!(!std::fs::exists(format!("/dev/shm/{name}")).unwrap(), "{backend}");
        }
    }
}

#[test]
fn children_of_kernels_inherit_no_descriptor_of_the_pool() {
    let pool = pool(1, Backend::Processes);
    let inherited = pool.call((), |(), _| {
        let ls = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls");
        let text = String::from_utf8_lossy(&ls.stdout).into_owned();
        (text.matches("memfd:").count() + text.matches("socket:").count()) as u64
    });
    assert_eq!(inherited.unwrap(), 0);
}

#[test]
fn more_mail_than_a_socket_holds_reaches_a_busy_worker() {
    let pool = pool(2, Backend::Processes);
    // Worker 0 is busy, so that its mail piles up; what waits must not hold up later jobs.
    std::thread::scope(|s| {
        s.spawn(|| pool.for_each(indices(1), |_, _| std::thread::sleep(Duration::from_secs(1))));
        std::thread::sleep(Duration::from_millis(50));
        let arrays: Vec<_> = (0..700u64)
            .map(|i| SharedArray::<u64, _>::from_array(&ndarray::arr1(&[i]).view()).unwrap())
            .collect();
        for (i, a) in arrays.iter().enumerate() {
            assert_eq!(pool.map(a.chunks(1), |c, _| c[0]).unwrap().as_slice(), [i as u64]);
        }
        let last = arrays.last().unwrap();
        for _ in 0..20 {
            let sums = pool.map((indices(64), last.whole()), |(i, w), _| {
                std::thread::sleep(Duration::from_millis(2));
                i + w[0]
            });
            assert_eq!(sums.unwrap().as_slice()[63], 63 + 699);
        }
    });
}
