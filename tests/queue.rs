//! The queue: every item comes out once, whoever is killed, and nobody waits for the dead.

mod watchdog;

use std::collections::HashMap;
use std::time::Duration;

use pinpool::{Backend, GetError, Param, Pool, PutError, Queue, indices};
use watchdog::watched;

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

fn kill_self() {
    let own = rustix::process::getpid();
    rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("it is ours");
}

#[test]
fn a_full_queue_refuses_and_an_empty_one_too() {
    watched(|| {
        let queue = Queue::<u32>::new(3).unwrap();
        assert_eq!(queue.try_get(), Err(GetError::Empty));
        for lap in 0..5 {
            for i in 0..3 {
                queue.try_put(lap * 10 + i).unwrap();
            }
            assert_eq!(queue.try_put(99), Err(PutError::Full));
            let limit = Duration::from_millis(10);
            assert_eq!(queue.put_timeout(99, limit), Err(PutError::Full));
            assert_eq!(queue.len(), 3);
            for i in 0..3 {
                assert_eq!(queue.try_get(), Ok(lap * 10 + i));
            }
            assert_eq!(queue.get_timeout(limit), Err(GetError::Empty));
        }
    });
}

#[test]
fn a_queue_for_no_items_is_an_error_that_says_so() {
    let error = Queue::<u64>::new(0).unwrap_err().to_string();
    assert!(error.contains("0 items") && error.contains("at least 1"), "{error}");
}

#[test]
fn a_closed_queue_gives_what_is_left_and_wakes_who_waits() {
    watched(|| {
        let queue = Queue::<u8>::new(4).unwrap();
        std::thread::scope(|s| {
            let waiting = s.spawn(|| (queue.get(), queue.get(), queue.get()));
            nap(50);
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            nap(50);
            queue.close();
            assert_eq!(waiting.join().unwrap(), (Ok(1), Ok(2), Err(GetError::Closed)));
        });
        assert_eq!(queue.put(3), Err(PutError::Closed));
    });
}

#[test]
fn threads_put_and_get_every_item_once_and_in_each_putters_order() {
    watched(|| {
        for capacity in [1, 2, 7, 64] {
            let queue = Queue::<[u32; 3]>::new(capacity).unwrap();
            let got: Vec<Vec<_>> = std::thread::scope(|s| {
                let putters: Vec<_> = (0..3)
                    .map(|t| {
                        let queue = &queue;
                        s.spawn(move || (0..2000).for_each(|i| queue.put([t, i, t ^ i]).unwrap()))
                    })
                    .collect();
                let getters: Vec<_> =
                    (0..2).map(|_| s.spawn(|| queue.view().drain().collect())).collect();
                putters.into_iter().for_each(|t| t.join().unwrap());
                queue.close();
                getters.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(got.iter().map(Vec::len).sum::<usize>(), 6000);
            for items in &got {
                let mut last = HashMap::new();
                for &[t, i, check] in items {
                    assert_eq!(check, t ^ i, "torn");
                    assert!(last.insert(t, i).is_none_or(|before| before < i), "order");
                }
            }
        }
    });
}

#[test]
fn worker_processes_pass_items_to_each_other() {
    watched(|| {
        let pool = pool(3, Backend::Processes);
        let (questions, answers) = (Queue::<u64>::new(5).unwrap(), Queue::<u64>::new(7).unwrap());
        let total: u64 = pool.scope(|s| {
            let job = s
                .for_each((indices(3), &questions, &answers), |(_, questions, answers), _| {
                    for q in questions.drain() {
                        answers.put(q * q).unwrap();
                    }
                })
                .unwrap();
            let total = std::thread::scope(|t| {
                let sum = t.spawn(|| (0..3000).map(|_| answers.get().unwrap()).sum());
                (0..3000).for_each(|q| questions.put(q).unwrap());
                questions.close();
                sum.join().unwrap()
            });
            job.get().unwrap();
            total
        });
        assert_eq!(total, (0..3000u64).map(|q| q * q).sum());
    });
}

#[test]
fn a_reader_that_is_killed_takes_what_it_had_with_it_and_holds_up_nobody() {
    watched(|| {
        let pool = pool(2, Backend::Processes);
        let queue = Queue::<u64>::new(8).unwrap();
        let seen = Queue::<u64>::new(2000).unwrap();
        pool.scope(|s| {
            // Each reader is killed after some items; its chunk is run again by the next.
            let job = s
                .for_each((indices(2), &queue, &seen), |(_, queue, seen), ctx| {
                    let mut n = 0;
                    while let Ok(item) = queue.get() {
                        n += 1;
                        if n % 100 == 99 && ctx.incarnation() < 4 {
                            kill_self();
                        }
                        seen.put(item).unwrap();
                    }
                })
                .unwrap();
            (0..1500).for_each(|i| queue.put(i).unwrap());
            queue.close();
            job.get().unwrap();
        });
        let mut items: Vec<_> = std::iter::from_fn(|| seen.try_get().ok()).collect();
        items.sort_unstable();
        items.dedup();
        let lost = 1500 - items.len();
        assert!(lost as u64 == pool.deaths() && lost > 0, "{lost} lost, {} deaths", pool.deaths());
    });
}

#[test]
fn processes_killed_at_any_instruction_of_a_put_or_get_neither_corrupt_nor_lock_it() {
    watched(|| {
        let pool = Pool::builder().workers(2).oversubscribe(true).build().unwrap();
        let (queue, stop) = (Queue::<[u64; 8]>::new(4).unwrap(), Queue::<u8>::new(1).unwrap());
        // Workers put and get without end, in both roles; somebody kills them from outside.
        std::thread::scope(|threads| {
            let job = threads.spawn(|| {
                pool.for_each((indices(2), &queue, &stop), |(i, queue, stop), _| {
                    let mut n = i;
                    while stop.is_empty() {
                        n += 1;
                        let _ = queue.try_put(std::array::from_fn(|k| n + k as u64));
                        if let Ok(item) = queue.get_timeout(Duration::from_millis(1)) {
                            let whole = (0..8).all(|k| item[k] == item[0] + k as u64);
                            assert!(whole, "torn: {item:?}");
                        }
                    }
                })
            });
            for round in 0..60u64 {
                std::thread::sleep(Duration::from_micros(5_000 + round * 137));
                let pid = pool.whereabouts()[(round % 2) as usize].pid;
                if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            stop.put(1).unwrap();
            let ended = job.join().unwrap();
            // A chunk that was killed a hundred times would be an error of the job, not a hang.
            ended.unwrap();
        });
        assert!(pool.deaths() > 10, "{} deaths", pool.deaths());
        // And it works as on the first day.
        while queue.try_get().is_ok() {}
        for i in 0..4 {
            queue.try_put([i; 8]).unwrap();
        }
        assert_eq!(queue.try_put([9; 8]), Err(PutError::Full));
        for i in 0..4 {
            assert_eq!(queue.try_get(), Ok([i; 8]));
        }
    });
}

#[test]
fn a_queue_serves_every_backend_and_a_value_may_be_of_any_size() {
    watched(|| {
        for backend in [Backend::Threads, Backend::Serial] {
            let pool = pool(2, backend);
            let queue = Queue::<[u8; 3]>::new(50).unwrap();
            pool.for_each((indices(50), &queue, Param(7u8)), |(i, q, p), _| {
                q.put([i as u8, p, 0]).unwrap();
            })
            .unwrap();
            assert_eq!(queue.len(), 50);
            assert!((0..50).all(|_| queue.get().unwrap()[1] == 7));
        }
    });
}
