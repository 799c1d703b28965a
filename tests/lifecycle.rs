//! Initializers, workers that are replaced, deadlines, and the three ways to end a pool.

mod watchdog;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pinpool::{
    ArgsError, Backend, Death, Error, JobError, OnDeath, Param, Pool, PoolBuilder, SharedArray,
    StartError, indices,
};
use watchdog::watched;

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

/// What an initializer leaves in its process.
static SETTING: AtomicU64 = AtomicU64::new(0);

fn builder(workers: usize) -> PoolBuilder {
    Pool::builder().workers(workers).oversubscribe(true).seed(42)
}

fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn for_ever() -> ! {
    loop {
        nap(1000);
    }
}

#[test]
fn an_initializer_runs_in_every_worker_before_its_first_chunk_and_after_a_death() {
    watched(|| {
        let init = |n: [u64; 2], ctx: &mut pinpool::Ctx| {
            SETTING.store(n[0] * n[1] + u64::from(ctx.incarnation()), Ordering::Relaxed);
        };
        let pool = builder(2).initializer([6u64, 7], init).build().unwrap();
        let all = pool.map(indices(20), |_, _| SETTING.load(Ordering::Relaxed)).unwrap();
        assert!(all.as_slice().iter().all(|&n| n == 42), "{all:?}");
        assert_eq!(SETTING.load(Ordering::Relaxed), 0, "the parent is another process");
        let reborn = pool.call((), |(), ctx| {
            if ctx.incarnation() == 0 {
                kill_self();
            }
            SETTING.load(Ordering::Relaxed)
        });
        assert!((43..46).contains(&reborn.unwrap()));
    });
}

fn kill_self() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("it is ours");
}

#[test]
fn a_panic_in_the_initializer_is_the_builds_error() {
    watched(|| {
        for backend in BACKENDS {
            let pool = builder(2).backend(backend).initializer((), |(), _| panic!("no licence"));
            let error = pool.build().unwrap_err();
            assert!(matches!(error, Error::Start(StartError::Worker { .. })), "{error}");
            assert!(error.to_string().contains("initializer panicked: no licence"), "{error}");
        }
    });
}

#[test]
fn a_pool_whose_initializer_fails_later_ends_its_jobs_with_the_reason() {
    watched(|| {
        let init = |(), ctx: &mut pinpool::Ctx| assert!(ctx.incarnation() == 0, "only once");
        let pool = builder(1).initializer((), init).build().unwrap();
        let error = pool.for_each(indices(1), |_, _| kill_self()).unwrap_err();
        assert!(error.to_string().contains("only once"), "{error}");
        let later = pool.call((), |(), _| 1u8).unwrap_err();
        assert!(matches!(later, Error::Job(JobError::Broken { .. })), "{later}");
    });
}

#[test]
fn a_worker_is_replaced_after_its_number_of_chunks() {
    watched(|| {
        let pool = builder(2).max_chunks_per_worker(10).build().unwrap();
        let mut x = SharedArray::<u64, _>::zeros(200).unwrap();
        let pids = pool
            .map(x.chunks_mut(1), |mut c, _| {
                c[0] += 1;
                std::process::id()
            })
            .unwrap();
        assert!(x.as_slice().iter().all(|&n| n == 1));
        let mut counts = std::collections::HashMap::new();
        pids.as_slice().iter().for_each(|pid| *counts.entry(*pid).or_insert(0) += 1);
        assert!(counts.len() >= 20 && counts.values().all(|&n| n <= 10), "{counts:?}");
        assert_eq!(pool.deaths(), 0, "none of them died");
        for i in 0..50u64 {
            assert_eq!(pool.call(Param(i), |i, _| i + 1).unwrap(), i + 1);
        }
        let error = builder(1).backend(Backend::Threads).max_chunks_per_worker(5).build();
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Start(StartError::NeedsProcesses { .. })), "{error}");
    });
}

#[test]
fn a_cancelled_function_that_never_returns_is_killed_and_its_chunk_put_back() {
    watched(|| {
        let pool = builder(2).cancel_grace(Duration::from_millis(50)).build().unwrap();
        let mut x = SharedArray::<u64, _>::zeros(8).unwrap();
        pool.scope(|s| {
            let job = s.for_each(x.chunks_mut(4), |mut c, _| {
                c.fill(7);
                for_ever();
            });
            let job = job.unwrap();
            nap(30);
            job.cancel();
            let error = job.get().unwrap_err();
            assert!(matches!(error, Error::Job(JobError::Cancelled)), "{error}");
        });
        assert_eq!(x.as_slice(), [0; 8]);
        assert_eq!(pool.map(indices(3), |i, _| i).unwrap().as_slice(), [0, 1, 2]);
    });
}

#[test]
fn a_chunk_that_ends_within_the_grace_time_of_its_cancelled_job_is_not_killed() {
    watched(|| {
        let pool = builder(1).cancel_grace(Duration::from_secs(30)).build().unwrap();
        let mut x = SharedArray::<u64, _>::zeros(2).unwrap();
        pool.scope(|s| {
            let job = s.for_each(x.chunks_mut(1), |mut c, _| {
                nap(100);
                c[0] = 7;
            });
            nap(30);
            job.as_ref().unwrap().cancel();
            assert!(job.unwrap().get().is_err());
        });
        assert_eq!((x.as_slice(), pool.deaths()), (&[7, 0][..], 0));
    });
}

#[test]
fn a_job_that_overruns_its_limit_is_ended() {
    watched(|| {
        let pool = builder(2).build().unwrap();
        let limited = || pool.job().time_limit(Duration::from_millis(60));
        let error = limited().for_each(indices(3), |_, _| for_ever()).unwrap_err();
        assert!(matches!(error, Error::Job(JobError::Overran { .. })), "{error}");
        assert_eq!(limited().call((), |(), _| 3u8).unwrap(), 3);
        let patient = pool.job().time_limit(Duration::from_secs(60));
        assert_eq!(patient.map(indices(3), |i, _| i).unwrap().as_slice(), [0, 1, 2]);
    });
}

#[test]
fn a_chunk_that_stalls_is_run_again_and_thrice_is_an_error() {
    watched(|| {
        let pool = builder(2).build().unwrap();
        let limited = || pool.job().chunk_timeout(Duration::from_millis(100));
        let replayed = limited().map(indices(6), |i, ctx| {
            if i == 2 && ctx.incarnation() == 0 {
                for_ever();
            }
            i
        });
        assert_eq!(replayed.unwrap().as_slice(), [0, 1, 2, 3, 4, 5]);
        let stall = |i: u64, _: &mut pinpool::Ctx| if i == 4 { for_ever() } else { i };
        for (job, tries) in [(limited(), 3), (limited().on_death(OnDeath::Fail), 1)] {
            let error = job.map(indices(6), stall).unwrap_err();
            let Error::Job(JobError::Died { chunk, death, deaths, .. }) = &error else {
                panic!("{error}")
            };
            assert_eq!((*chunk, *death, *deaths), (4, Death::Overdue, tries), "{error}");
        }
        // Many short chunks take longer than the limit together, and that is no stall.
        limited().for_each(indices(100), |_, _| nap(5)).unwrap();
    });
}

#[test]
fn backends_without_processes_refuse_time_limits() {
    watched(|| {
        for backend in [Backend::Threads, Backend::Serial] {
            let pool = builder(1).backend(backend).build().unwrap();
            let job = pool.job().time_limit(Duration::from_secs(1));
            let error = job.call((), |(), _| 1u8).unwrap_err();
            let refused = matches!(error, Error::Args(ArgsError::NeedsProcesses { .. }));
            assert!(refused && error.to_string().contains(backend.name()), "{error}");
        }
    });
}

#[test]
fn a_closed_pool_takes_no_jobs_and_ends_those_that_it_has() {
    watched(|| {
        for backend in BACKENDS {
            let pool = builder(2).backend(backend).build().unwrap();
            pool.scope(|s| {
                let job = s.map(indices(20), |i, _| {
                    nap(2);
                    i
                });
                pool.close();
                let error = pool.call((), |(), _| 1u8).unwrap_err();
                assert!(matches!(error, Error::Job(JobError::Closed)), "{error}");
                pool.join();
                assert_eq!(job.unwrap().get().unwrap().as_slice(), (0..20).collect::<Vec<_>>());
            });
            pool.join();
        }
    });
}

#[test]
fn join_leaves_no_worker_process() {
    watched(|| {
        let pool = builder(2).build().unwrap();
        let pids: HashSet<_> = pool.whereabouts().iter().map(|w| w.pid).collect();
        assert_eq!(pids.len(), 2);
        pool.join();
        for pid in pids {
            assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
        }
    });
}

#[test]
fn terminate_ends_a_function_that_never_returns_for_whoever_waits_for_it() {
    watched(|| {
        let pool = builder(2).build().unwrap();
        let start = Instant::now();
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| pool.for_each(indices(2), |_, _| for_ever()));
            nap(50);
            pool.terminate();
            let error = waiting.join().unwrap().unwrap_err();
            assert!(matches!(error, Error::Job(JobError::Cancelled)), "{error}");
        });
        assert!(start.elapsed() < Duration::from_secs(60));
        assert!(pool.call((), |(), _| 1u8).is_err());
    });
}

#[test]
fn a_pool_whose_workers_are_stuck_is_dropped_all_the_same() {
    watched(|| {
        // The initializer of the second incarnation never returns.
        let init = |(), ctx: &mut pinpool::Ctx| {
            if ctx.incarnation() > 0 {
                for_ever();
            }
        };
        let pool = builder(1).max_chunks_per_worker(1).initializer((), init).build().unwrap();
        assert_eq!(pool.call((), |(), _| 1u8).unwrap(), 1);
        nap(50);
        drop(pool);
    });
}
