//! Jobs that run beside the caller: scopes, handles, streams, cancelling. Each test has a
//! watchdog, since what is tested is that nothing waits for ever.

mod watchdog;

use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pinpool::{Backend, Error, JobError, Param, Pool, SharedArray, indices};
use watchdog::watched;

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

fn pool(workers: usize, backend: Backend) -> Pool {
    Pool::builder()
        .workers(workers)
        .oversubscribe(true)
        .backend(backend)
        .seed(42)
        .build()
        .expect("the pool starts")
}

fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

#[test]
fn jobs_of_different_functions_are_in_flight_at_once() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            let x =
                SharedArray::from_array(&ndarray::Array1::from_iter(0..1000u64).view()).unwrap();
            let mut y = SharedArray::<u64, _>::zeros(1000).unwrap();
            let (sum, square) = pool.scope(|s| {
                let a = s.map(x.chunks(10), |c, _| c.sum()).unwrap();
                let b = s
                    .for_each((x.chunks(7), y.chunks_out(7)), |(x, mut y), _| y.assign(&x))
                    .unwrap();
                let c = s.call(Param(12u64), |p, _| p * p).unwrap();
                b.get().unwrap();
                (a.get().unwrap().as_slice().iter().sum::<u64>(), c.get().unwrap())
            });
            assert_eq!((sum, square), (499_500, 144));
            assert_eq!(x.as_slice(), y.as_slice());
        }
    });
}

#[test]
fn a_hundred_jobs_in_flight_all_come_back_right() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            pool.scope(|s| {
                let jobs: Vec<_> = (0..300u64)
                    .map(|i| {
                        s.map((indices(i % 7 + 1), Param(i)), |(c, p), _| p * 100 + c).unwrap()
                    })
                    .collect();
                for (i, job) in jobs.into_iter().enumerate() {
                    let i = i as u64;
                    let expected: Vec<_> = (0..i % 7 + 1).map(|c| i * 100 + c).collect();
                    assert_eq!(job.get().unwrap().as_slice(), expected);
                }
            });
        }
    });
}

#[test]
fn two_threads_submit_to_one_pool_at_once() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        std::thread::scope(|threads| {
            for t in 0..2u64 {
                let pool = &pool;
                threads.spawn(move || {
                    for i in 0..500u64 {
                        let n = pool.call(Param([t, i]), |[t, i], _| t * 1000 + i).unwrap();
                        assert_eq!(n, t * 1000 + i);
                    }
                });
            }
        });
    });
}

#[test]
fn a_time_out_is_an_error_and_the_job_goes_on() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|s| {
            let slow = s.call((), |(), _| {
                nap(300);
                7u8
            });
            let slow = slow.unwrap();
            let error = slow.wait_timeout(Duration::from_millis(5)).unwrap_err();
            assert!(matches!(error, JobError::TimedOut { .. }), "{error}");
            assert!(!slow.is_finished());
            slow.wait();
            assert!(slow.is_finished());
            assert_eq!(slow.get().unwrap(), 7);
        });
    });
}

#[test]
fn forgotten_and_dropped_handles_are_waited_for_at_the_scopes_end() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let mut x = SharedArray::<u64, _>::zeros(8).unwrap();
        let mut y = SharedArray::<u64, _>::zeros(8).unwrap();
        pool.scope(|s| {
            let slow = s.for_each(x.chunks_mut(1), |mut c, _| {
                nap(20);
                c[0] = 1;
            });
            std::mem::forget(slow.unwrap());
            drop(s.for_each(y.chunks_mut(1), |mut c, _| c[0] = 2).unwrap());
        });
        assert_eq!((x.as_slice(), y.as_slice()), (&[1; 8][..], &[2; 8][..]));
    });
}

#[test]
fn a_panic_in_the_scope_stops_its_jobs_and_goes_on_to_the_caller() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let mut x = SharedArray::<u64, _>::zeros(10_000).unwrap();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            pool.scope(|s| {
                let _job = s.for_each(x.chunks_mut(1), |mut c, _| {
                    nap(1);
                    c[0] = 1;
                });
                panic!("in the scope");
            })
        }));
        assert_eq!(*caught.unwrap_err().downcast::<&str>().unwrap(), "in the scope");
        let before = x.as_slice().to_vec();
        nap(20);
        assert_eq!(x.as_slice(), before, "no worker is in the array any more");
        assert!(before.contains(&0), "the job was stopped");
        assert_eq!(pool.call((), |(), _| 1u8).unwrap(), 1);
    });
}

#[test]
fn a_cancelled_job_says_so_and_begins_no_more_chunks() {
    watched(|| {
        for backend in [Backend::Processes, Backend::Threads] {
            let pool = pool(2, backend);
            pool.scope(|s| {
                let job = s.map(indices(100_000), |i, _| {
                    nap(1);
                    i
                });
                let job = job.unwrap();
                nap(20);
                job.cancel();
                job.wait();
                let progress = job.progress();
                assert!(progress.done > 0 && progress.done < 1000, "{progress}");
                assert!(matches!(job.get(), Err(Error::Job(JobError::Cancelled))));
            });
            assert_eq!(pool.call((), |(), _| 1u8).unwrap(), 1);
        }
    });
}

#[test]
fn results_stream_as_they_are_finished() {
    watched(|| {
        for backend in BACKENDS {
            for chunks in [1, 40, 3_000] {
                let pool = pool(2, backend);
                let seen: HashSet<_> = pool.scope(|s| {
                    let job = s.map(indices(chunks), |i, _| {
                        if i % 100 == 3 {
                            nap(2);
                        }
                        i * i
                    });
                    job.unwrap().as_completed().map(Result::unwrap).collect()
                });
                assert_eq!(seen, (0..chunks).map(|i| (i, i * i)).collect());
            }
        }
    });
}

#[test]
fn a_slow_chunk_does_not_hold_up_the_results_of_the_others() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let order: Vec<_> = pool.scope(|s| {
            let job = s.map(indices(6), |i, _| {
                nap(if i == 0 { 400 } else { 1 });
                i
            });
            job.unwrap().as_completed().map(|r| r.unwrap().0).collect()
        });
        assert_eq!((order.len(), order[5]), (6, 0));
    });
}

#[test]
fn results_stream_in_order() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(3, backend);
            pool.scope(|s| {
                let job = s.map(indices(500), |i, _| {
                    if i % 50 == 0 {
                        nap(3);
                    }
                    i + 1
                });
                let all: Vec<_> = job.unwrap().in_order().map(Result::unwrap).collect();
                assert_eq!(all, (1..=500).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn a_stream_of_a_failing_job_ends_with_its_error() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|s| {
            let job = s.map(indices(100), |i, _| {
                nap(1);
                assert!(i != 60, "sixty");
                i
            });
            let items: Vec<_> = job.unwrap().in_order().collect();
            let (last, before) = items.split_last().unwrap();
            assert!(before.iter().all(Result::is_ok));
            let error = last.as_ref().unwrap_err().to_string();
            assert!(error.contains("chunk 60") && error.contains("sixty"), "{error}");
        });
    });
}

#[test]
fn a_short_job_behind_a_long_one_is_not_starved() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|s| {
            let long = s.for_each(indices(400), |_, _| nap(2)).unwrap();
            let short = s.call((), |(), _| 5u8).unwrap();
            assert_eq!(short.get().unwrap(), 5);
            assert!(!long.is_finished(), "the short job came first");
            long.cancel();
        });
    });
}

#[test]
fn progress_is_told_while_the_caller_waits() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let (calls, last) = (Cell::new(0), Cell::new(None));
        let tell = |p: pinpool::Progress| {
            assert!(p.done <= p.chunks && last.get().is_none_or(|l| l <= p.done), "{p}");
            calls.set(calls.get() + 1);
            last.set(Some(p.done));
        };
        let job = pool.job().on_progress(Duration::from_millis(5), &tell);
        job.for_each(indices(60), |_, _| nap(2)).unwrap();
        assert!(calls.get() > 2);
        assert_eq!(last.get(), Some(60));
    });
}

#[test]
fn time_outs_and_cancels_at_random_leave_every_other_result_right() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        std::thread::scope(|threads| {
            for t in 0..2u64 {
                let pool = &pool;
                threads.spawn(move || random_jobs(pool, t));
            }
        });
        assert_eq!(pool.call((), |(), _| 9u8).unwrap(), 9);
    });
}

fn random_jobs(pool: &Pool, thread: u64) {
    let streams = pinpool::rng::Streams::new(7);
    let mut rng = pinpool::rng::ChunkRng::new(&streams, 0, thread);
    // Two seconds, or as many as are asked for: a minute now and then.
    let seconds = std::env::var("PINPOOL_STRESS_SECONDS").ok().and_then(|s| s.parse().ok());
    let end = std::time::Instant::now() + Duration::from_secs(seconds.unwrap_or(2));
    while std::time::Instant::now() < end {
        pool.scope(|s| {
            for _ in 0..20 {
                let (n, p) = (rng.next_u64() % 40, rng.next_u64());
                let job = s
                    .map((indices(n), Param(p)), |(i, p), _| {
                        if p % 3 == 0 {
                            std::thread::sleep(Duration::from_micros(p % 300));
                        }
                        p.wrapping_mul(i + 1)
                    })
                    .expect("it starts");
                match p >> 32 & 7 {
                    0 => {
                        job.cancel();
                        match job.get() {
                            Ok(r) => check(r.as_slice(), p, n),
                            Err(error) => {
                                assert!(matches!(error, Error::Job(JobError::Cancelled)))
                            }
                        }
                    }
                    1 => {
                        let _ = job.wait_timeout(Duration::from_micros(p % 500));
                        check(job.get().expect("not cancelled").as_slice(), p, n);
                    }
                    2 => drop(job),
                    3 => {
                        let all: Vec<_> = job.in_order().map(Result::unwrap).collect();
                        check(&all, p, n);
                    }
                    4 => {
                        let mut all: Vec<_> = job.as_completed().map(Result::unwrap).collect();
                        all.sort_unstable();
                        let all: Vec<_> = all.into_iter().map(|(_, r)| r).collect();
                        check(&all, p, n);
                    }
                    _ => check(job.get().expect("not cancelled").as_slice(), p, n),
                }
            }
        });
    }
}

fn check(results: &[u64], p: u64, n: u64) {
    let expected: Vec<_> = (0..n).map(|i| p.wrapping_mul(i + 1)).collect();
    assert_eq!(results, expected);
}

#[test]
fn progress_that_is_never_due_is_told_at_the_end() {
    let pool = Pool::builder().workers(1).oversubscribe(true).build().unwrap();
    let told = std::cell::Cell::new(0);
    let tell = |p: pinpool::Progress| told.set(told.get() + p.done);
    pool.job().on_progress(Duration::MAX, &tell).for_each(indices(5), |_, _| {}).unwrap();
    assert_eq!(told.get(), 5);
}
