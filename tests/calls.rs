//! Small calls in flight, which travel in batches: each has its own value, stream, error and end.
//! Each test has a watchdog.

mod watchdog;

use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytemuck::{Pod, Zeroable};
use pinpool::{Backend, Error, JobError, Param, Pool, indices};
use watchdog::watched;

/// Calls of more than two batches.
const MANY: u64 = 1200;

fn pool(workers: usize, backend: Backend) -> Pool {
    let builder = Pool::builder().workers(workers).oversubscribe(true).backend(backend);
    builder.seed(42).cancel_grace(Duration::from_millis(50)).build().expect("a pool")
}

const BACKENDS: [Backend; 3] = [Backend::Processes, Backend::Threads, Backend::Serial];

#[test]
fn every_call_gives_its_own_value() {
    watched(|| {
        for (backend, workers) in BACKENDS.into_iter().flat_map(|b| [(b, 1), (b, 3)]) {
            let pool = pool(workers, backend);
            pool.scope(|s| {
                let place = s.call(Param(9u64), |i, ctx| [i, ctx.chunk(), ctx.chunks()]).unwrap();
                assert_eq!(place.get().unwrap(), [9, 0, 1]);
                // Nobody asks for these.
                (0..MANY).for_each(|i| drop(s.call(Param(i), |i, _| i * i).unwrap()));
                let calls: Vec<_> = (0..MANY)
                    .map(|i| s.call((Param(i), Param(3u8)), |(i, k), _| i * u64::from(k)).unwrap())
                    .collect();
                // From the last on: many are over by then, and some batches are gone.
                for (i, call) in calls.into_iter().enumerate().rev() {
                    assert_eq!(call.get().unwrap(), i as u64 * 3, "{backend}, {workers} workers");
                }
            });
        }
    });
}

fn sized<const N: usize>(pool: &Pool) {
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(transparent)]
    struct Bytes<const N: usize>([u8; N]);
    let made = |seed: u8| {
        Bytes::<N>(std::array::from_fn(|i| seed.wrapping_add((i as u8).wrapping_mul(7))))
    };
    pool.scope(|s| {
        let calls: Vec<_> = (0..20u8)
            .map(|seed| {
                let back = s.call(Param(made(seed)), |bytes, _| bytes).unwrap();
                let few = s.call(Param(seed), |seed, _| [seed; 3]).unwrap();
                (seed, back, few)
            })
            .collect();
        for (seed, back, few) in calls {
            assert_eq!(back.get().unwrap().0, made(seed).0, "{N} bytes");
            assert_eq!(few.get().unwrap(), [seed; 3]);
        }
    });
}

#[test]
fn parameters_and_results_of_every_size_come_back_whole() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        sized::<1>(&pool);
        sized::<7>(&pool);
        sized::<8>(&pool);
        sized::<9>(&pool);
        sized::<16>(&pool);
        sized::<17>(&pool);
        // The most that a call in a batch takes, and one more.
        sized::<32>(&pool);
        sized::<33>(&pool);
        sized::<64>(&pool);
        sized::<65>(&pool);
        sized::<300>(&pool);
        pool.scope(|s| {
            let nothing = s.call((), |(), _| ()).unwrap();
            let wide = s.call((), |(), _| [9u64; 8]).unwrap();
            let four = (Param(1u8), Param(2u16), Param(3u32), Param(4u64));
            let four = s.call(four, |(a, b, c, d), _| {
                (u64::from(a) << 9) + u64::from(b) * 100 + u64::from(c) * 10 + d
            });
            let five = (Param(1u8), Param(2u8), Param(3u8), Param(4u8), Param(5u8));
            let five = s.call(five, |(a, b, c, d, e), _| [a, b, c, d, e]).unwrap();
            let one = s.call(indices(1), |i, _| i + 5).unwrap();
            nothing.get().unwrap();
            assert_eq!(wide.get().unwrap(), [9; 8]);
            assert_eq!(four.unwrap().get().unwrap(), 512 + 234);
            assert_eq!(five.get().unwrap(), [1, 2, 3, 4, 5]);
            assert_eq!(one.get().unwrap(), 5);
        });
    });
}

#[test]
fn a_call_has_the_random_stream_that_it_has_when_it_is_made_alone() {
    watched(|| {
        let alone = pool(1, Backend::Serial);
        let expected: Vec<u64> =
            (0..MANY).map(|_| alone.call((), |(), ctx| ctx.rng().next_u64()).unwrap()).collect();
        for (backend, workers) in BACKENDS.into_iter().flat_map(|b| [(b, 1), (b, 3)]) {
            let pool = pool(workers, backend);
            let seen: Vec<u64> = pool.scope(|s| {
                let calls = (0..MANY).map(|_| s.call((), |(), ctx| ctx.rng().next_u64()).unwrap());
                let calls: Vec<_> = calls.collect();
                calls.into_iter().map(|call| call.get().unwrap()).collect()
            });
            assert_eq!(seen, expected, "{backend}, {workers} workers");
            let named = pool.scope(|s| {
                let job = s.job().stream(77);
                job.call((), |(), ctx| ctx.rng().next_u64()).unwrap().get().unwrap()
            });
            let same = alone.stream(77).call((), |(), ctx| ctx.rng().next_u64()).unwrap();
            assert_eq!(named, same);
        }
    });
}

#[test]
fn a_call_that_panics_fails_alone_and_with_its_own_text() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            pool.scope(|s| {
                let calls: Vec<_> = (0..MANY)
                    .map(|i| {
                        s.call(Param(i), |i, _| {
                            assert!(i % 7 != 3, "call {i} does not like its number");
                            i + 1
                        })
                        .unwrap()
                    })
                    .collect();
                for (i, call) in calls.into_iter().enumerate() {
                    match call.get() {
                        Ok(value) => {
                            assert!(i % 7 != 3);
                            assert_eq!(value, i as u64 + 1);
                        }
                        Err(Error::Job(JobError::Panic { chunk, message, kernel, .. })) => {
                            assert_eq!((i % 7, chunk), (3, 0));
                            let text = format!("call {i} does not like its number");
                            assert!(message.contains(&text), "{message}");
                            assert!(kernel.contains("fails_alone"), "{kernel}");
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
}

#[test]
fn a_call_that_kills_its_workers_fails_alone() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|s| {
            let calls: Vec<_> = (0..60u64)
                .map(|i| {
                    s.call(Param(i), |i, _| {
                        if i == 20 {
                            std::process::abort();
                        }
                        i * 2
                    })
                    .unwrap()
                })
                .collect();
            for (i, call) in calls.into_iter().enumerate() {
                match call.get() {
                    Ok(value) => assert_eq!(value, i as u64 * 2),
                    Err(Error::Job(JobError::Died { chunk, deaths, .. })) => {
                        assert_eq!((i, chunk, deaths), (20, 0, 3));
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        });
        assert_eq!(pool.deaths(), 3);
    });
}

#[test]
fn kills_from_outside_lose_no_call() {
    watched(|| {
        let pool = pool(3, Backend::Processes);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let who = &pool.whereabouts()[round % 3];
                    // SAFETY: sends a signal, to a child of ours or to one just reaped, whose
                    // number is not used again so soon.
                    unsafe { libc::kill(who.pid as i32, libc::SIGKILL) };
                    sleep(Duration::from_millis(3));
                }
            });
            for round in 0..40u64 {
                pool.scope(|s| {
                    let calls: Vec<_> = (0..MANY)
                        .map(|i| {
                            s.call(Param([round, i]), |[round, i], _| {
                                (0..200).fold(i, |x, k| x.rotate_left(5) ^ (round + k))
                            })
                            .unwrap()
                        })
                        .collect();
                    for (i, call) in calls.into_iter().enumerate() {
                        let expected =
                            (0..200).fold(i as u64, |x: u64, k| x.rotate_left(5) ^ (round + k));
                        assert_eq!(call.get().unwrap(), expected, "round {round}, call {i}");
                    }
                });
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(pool.deaths() > 0);
    });
}

/// A path that fits a parameter of a call.
fn sign(name: &str) -> [u8; 24] {
    let path = format!("/tmp/pp-{}-{name}", std::process::id());
    let mut bytes = [0; 24];
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes
}

fn path(bytes: &[u8; 24]) -> PathBuf {
    PathBuf::from(std::str::from_utf8(bytes).expect("text").trim_end_matches('\0'))
}

/// Waits in a kernel until there is such a file.
fn await_sign(bytes: [u8; 24]) {
    while !path(&bytes).exists() {
        sleep(Duration::from_millis(1));
    }
}

fn give_sign(bytes: [u8; 24]) {
    std::fs::write(path(&bytes), "").expect("a file");
}

struct Removed([u8; 24]);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(path(&self.0));
    }
}

#[test]
fn a_cancelled_call_is_over_at_once_while_the_one_before_it_runs() {
    watched(|| {
        for backend in [Backend::Processes, Backend::Threads] {
            let pool = pool(1, backend);
            let go = sign(&format!("c{}", backend as usize));
            let _removed = Removed(go);
            pool.scope(|s| {
                let first = s.call(Param(go), |go, _| await_sign(go)).unwrap();
                let others: Vec<_> =
                    (0..9u64).map(|i| s.call(Param(i), |i, _| i).unwrap()).collect();
                others.iter().step_by(2).for_each(pinpool::Pending::cancel);
                for (i, call) in others.into_iter().enumerate() {
                    if i % 2 == 0 {
                        assert!(call.is_finished() && !first.is_finished());
                        let error = call.get().unwrap_err();
                        assert!(matches!(error, Error::Job(JobError::Cancelled)), "{error}");
                    } else {
                        let late = call.wait_timeout(Duration::from_millis(2)).unwrap_err();
                        assert!(matches!(late, JobError::TimedOut { .. }));
                        give_sign(go);
                        assert_eq!(call.get().unwrap(), i as u64);
                        std::fs::remove_file(path(&go)).ok();
                    }
                    if i == 1 {
                        // The others have gone by without running.
                        break;
                    }
                }
                first.get().unwrap();
            });
        }
    });
}

#[test]
fn a_call_that_is_cancelled_while_it_runs_is_killed_after_its_grace_and_no_other() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let never = sign("never");
        pool.scope(|s| {
            let endless = s.call(Param(never), |never, _| await_sign(never)).unwrap();
            let more: Vec<_> = (0..50u64).map(|i| s.call(Param(i), |i, _| i).unwrap()).collect();
            for (i, call) in more.into_iter().enumerate() {
                assert_eq!(call.get().unwrap(), i as u64);
            }
            endless.cancel();
            let error = endless.get().unwrap_err();
            assert!(matches!(error, Error::Job(JobError::Cancelled)), "{error}");
            let after = s.call(Param(8u64), |i, _| i + 1).unwrap();
            assert_eq!(after.get().unwrap(), 9);
        });
        assert_eq!(pool.deaths(), 1);
    });
}

#[test]
fn a_worker_that_sleeps_is_told_of_a_call_that_is_added() {
    watched(|| {
        for backend in [Backend::Processes, Backend::Threads] {
            let pool = pool(2, backend);
            for round in 0..30u64 {
                let go = sign(&format!("s{}{round}", backend as usize));
                let _removed = Removed(go);
                pool.scope(|s| {
                    // The batch is there, and both workers have looked at it.
                    s.call((), |(), _| ()).unwrap().get().unwrap();
                    sleep(Duration::from_micros(round * 20));
                    let waits = s.call(Param(go), |go, _| await_sign(go)).unwrap();
                    sleep(Duration::from_micros(round * 13 % 7 * 50));
                    // Only the other worker can do it.
                    let tells = s.call(Param(go), |go, _| give_sign(go)).unwrap();
                    waits.get().unwrap();
                    tells.get().unwrap();
                });
            }
        }
    });
}

#[test]
fn more_scopes_than_slots_wait_for_each_other() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let (pool, threads) = (&pool, 80);
        let (all, out) = (Barrier::new(threads), Barrier::new(threads));
        std::thread::scope(|t| {
            for i in 0..threads as u64 {
                let (all, out) = (&all, &out);
                t.spawn(move || {
                    pool.scope(|s| {
                        let one = s.call(Param(i), |i, _| i + 1).unwrap();
                        assert_eq!(one.get().unwrap(), i + 1);
                        all.wait();
                        // Every scope has a call behind it, and no slot is left for all of them.
                        let more: Vec<_> =
                            (0..20).map(|k| s.call(Param(i * k), |x, _| x).unwrap()).collect();
                        for (k, call) in more.into_iter().enumerate() {
                            assert_eq!(call.get().unwrap(), i * k as u64);
                        }
                        out.wait();
                    });
                });
            }
        });
    });
}

#[test]
fn calls_between_other_jobs_come_back_right() {
    watched(|| {
        for backend in BACKENDS {
            let pool = pool(2, backend);
            pool.scope(|s| {
                let jobs: Vec<_> = (0..100u64)
                    .map(|i| {
                        let call = s.call(Param(i), |i, _| i + 7).unwrap();
                        let map = s.map((indices(5), Param(i)), |(k, i), _| k * i).unwrap();
                        if i % 10 == 0 {
                            assert_eq!(pool.call(Param(i), |i, _| !i).unwrap(), !i);
                        }
                        (call, map)
                    })
                    .collect();
                for (i, (call, map)) in jobs.into_iter().enumerate() {
                    assert_eq!(call.get().unwrap(), i as u64 + 7);
                    assert_eq!(map.get().unwrap().as_slice()[4], 4 * i as u64);
                }
            });
        }
    });
}

#[test]
fn workers_that_are_replaced_after_so_many_chunks_take_calls() {
    watched(|| {
        let builder = Pool::builder().workers(2).oversubscribe(true).max_chunks_per_worker(40);
        let pool = builder.build().expect("a pool");
        pool.scope(|s| {
            let calls: Vec<_> =
                (0..500u64).map(|i| s.call(Param(i), |i, _| i ^ 5).unwrap()).collect();
            for (i, call) in calls.into_iter().enumerate() {
                assert_eq!(call.get().unwrap(), i as u64 ^ 5);
            }
        });
        assert_eq!(pool.deaths(), 0);
    });
}

#[test]
fn a_pool_that_is_terminated_or_cancelled_tells_its_calls() {
    watched(|| {
        let pool = pool(1, Backend::Processes);
        let never = sign("gone");
        pool.scope(|s| {
            let running = s.call(Param(never), |never, _| await_sign(never)).unwrap();
            let waiting = s.call(Param(1u8), |i, _| i).unwrap();
            while pool.progress().chunks < 2 {
                sleep(Duration::from_millis(1));
            }
            pool.cancel_all();
            // What is added now is no part of what was cancelled.
            let later = s.call(Param(2u8), |i, _| i).unwrap();
            assert!(matches!(waiting.get().unwrap_err(), Error::Job(JobError::Cancelled)));
            pool.terminate();
            assert!(matches!(running.get().unwrap_err(), Error::Job(JobError::Cancelled)));
            assert!(matches!(later.get().unwrap_err(), Error::Job(JobError::Cancelled)));
            let closed = s.call(Param(2u8), |i, _| i).unwrap_err();
            assert!(matches!(closed, Error::Job(JobError::Closed)), "{closed}");
        });
    });
}

#[test]
fn an_open_batch_of_one_scope_holds_up_no_other_scope() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|outer| {
            let one = outer.call(Param(1u64), |i, _| i).unwrap();
            // More than may be in flight at once, while the oldest batch waits for more calls.
            pool.scope(|s| {
                let calls: Vec<_> =
                    (0..4 * MANY).map(|i| s.call(Param(i), |i, _| i).unwrap()).collect();
                for (i, call) in calls.into_iter().enumerate() {
                    assert_eq!(call.get().unwrap(), i as u64);
                }
            });
            assert_eq!(one.get().unwrap(), 1);
        });
    });
}

#[test]
fn a_long_call_holds_up_none_of_many_later_ones() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let go = sign("long");
        let _removed = Removed(go);
        pool.scope(|s| {
            let long = s.call(Param(go), |go, _| await_sign(go)).unwrap();
            let calls: Vec<_> =
                (0..8 * MANY).map(|i| s.call(Param(i), |i, _| i).unwrap()).collect();
            for (i, call) in calls.into_iter().enumerate() {
                assert_eq!(call.get().unwrap(), i as u64);
            }
            assert!(!long.is_finished());
            give_sign(go);
            long.get().unwrap();
        });
    });
}

#[test]
fn calls_that_are_added_while_one_worker_looks_for_work_are_shared() {
    watched(|| {
        let pool = pool(3, Backend::Processes);
        for round in 0..40 {
            let go = sign(&format!("b{round}"));
            let _removed = Removed(go);
            // All sleep; then one is done with a call, and looks for another.
            sleep(Duration::from_millis(2));
            pool.scope(|s| {
                s.call((), |(), _| ()).unwrap().get().unwrap();
                let waits = s.call(Param(go), |go, _| await_sign(go)).unwrap();
                let tells = s.call(Param(go), |go, _| give_sign(go)).unwrap();
                // Nobody waits for them, which would wake all workers.
                let since = Instant::now();
                while !tells.is_finished() {
                    let late = since.elapsed() > Duration::from_secs(5);
                    assert!(!late, "round {round}: a call lies while workers sleep");
                    sleep(Duration::from_millis(1));
                }
                waits.get().unwrap();
            });
        }
    });
}

/// Processor time of a pool's workers, in hundredths of a second.
fn processor_time(pool: &Pool) -> u64 {
    let of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a worker");
        let words: Vec<&str> = stat.rsplit(')').next().expect("text").split(' ').collect();
        words[12].parse::<u64>().expect("a number") + words[13].parse::<u64>().expect("a number")
    };
    pool.whereabouts().iter().map(|w| of(w.pid)).sum()
}

#[test]
fn workers_rest_beside_a_batch_that_was_stopped() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        pool.scope(|s| {
            let rest = || s.call((), |(), _| sleep(Duration::from_millis(200))).unwrap();
            let running = [rest(), rest()];
            sleep(Duration::from_millis(50));
            let untaken = s.call((), |(), _| ()).unwrap();
            pool.cancel_all();
            assert!(running.iter().all(|call| call.wait_timeout(Duration::from_secs(50)).is_ok()));
            sleep(Duration::from_millis(50));
            let before = processor_time(&pool);
            sleep(Duration::from_secs(1));
            let used = processor_time(&pool) - before;
            assert!(used < 10, "{used} hundredths of a second");
            assert!(untaken.is_finished());
        });
    });
}

/// How soon somebody who waits for the call hears of what `act` does to it.
fn told(call: &pinpool::Pending<'_, ()>, act: impl FnOnce()) -> Duration {
    std::thread::scope(|threads| {
        let waits = threads.spawn(move || {
            call.wait();
            Instant::now()
        });
        sleep(Duration::from_millis(200));
        act();
        let since = Instant::now();
        waits.join().expect("it only waits").saturating_duration_since(since)
    })
}

/// The shortest of some, since a busy machine may be late; who is not told wakes once a second.
fn shortest(mut one: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| one()).min().expect("five")
}

#[test]
fn who_waits_for_a_call_is_told_at_once_that_it_was_cancelled() {
    watched(|| {
        let pool = pool(1, Backend::Processes);
        let never = sign("told");
        let after = shortest(|| {
            pool.scope(|s| {
                let running = s.call(Param(never), |never, _| await_sign(never)).unwrap();
                let call = s.call((), |(), _| ()).unwrap();
                let after = told(&call, || call.cancel());
                running.cancel();
                after
            })
        });
        assert!(after < Duration::from_millis(300), "told after {after:?}");
    });
}

#[test]
fn who_waits_for_a_call_is_told_at_once_that_it_has_died() {
    watched(|| {
        let pool = pool(1, Backend::Processes);
        let after = shortest(|| {
            let before = pool.deaths();
            pool.scope(|s| {
                let dies = |ms, _: &mut pinpool::Ctx| {
                    sleep(Duration::from_millis(ms));
                    std::process::abort();
                };
                let call = s.call(Param(100u64), dies).unwrap();
                told(&call, || {
                    while pool.deaths() < before + 3 {
                        sleep(Duration::from_millis(1));
                    }
                })
            })
        });
        assert!(after < Duration::from_millis(300), "told after {after:?}");
    });
}

#[test]
fn a_batch_that_cannot_be_mapped_says_so_in_its_calls() {
    watched(|| {
        let pool = pool(1, Backend::Processes);
        // The worker can take no descriptor more.
        let (pid, mut old) = (pool.whereabouts()[0].pid as i32, NO_LIMIT);
        let few = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
        // SAFETY: reads and writes live values.
        assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &few, &mut old) }, 0);
        pool.scope(|s| {
            let error = s.call(Param(5u64), |i, _| i).unwrap().get().unwrap_err();
            let told = error.to_string().contains("did not arrive");
            assert!(told && matches!(error, Error::Job(JobError::Failed { .. })), "{error}");
        });
    });
}

const NO_LIMIT: libc::rlimit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };

#[test]
fn a_call_that_is_cancelled_while_it_runs_is_cancelled_as_any_job() {
    watched(|| {
        let pool = pool(2, Backend::Threads);
        let go = sign("cr");
        let _removed = Removed(go);
        let taken_out = pool.scope(|s| {
            let wait = || s.call(Param(go), |go, _| await_sign(go)).unwrap();
            let (call, later) = (wait(), wait());
            sleep(Duration::from_millis(100));
            call.cancel();
            later.cancel();
            give_sign(go);
            let error = call.get().unwrap_err();
            assert!(matches!(error, Error::Job(JobError::Cancelled)), "{error}");
            // Another job closes the batch, and with enough of them it is taken out of its slot.
            (0..200).for_each(|_| drop(s.map(indices(1), |i, _| i).unwrap()));
            later.get().unwrap_err()
        });
        assert!(matches!(taken_out, Error::Job(JobError::Cancelled)), "{taken_out}");
    });
}
