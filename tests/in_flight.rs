//! A hundred jobs in flight from two threads of the caller, with time-outs, cancels, time limits
//! and errors at random: every result right, nothing left behind.
//!
//! `PINPOOL_IN_FLIGHT_SECONDS` says how long it goes on, 3 seconds else. A file of its own, since
//! it counts what the whole process has open.

mod watchdog;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use pinpool::{Error, JobError, Param, Pending, Pool, Result, SharedArray, indices};
use watchdog::watched;

/// Jobs that each of the two threads has in flight at once.
const EACH: usize = 50;
const ROWS: usize = 40;
const CHUNK: usize = 8;

/// Marsaglia's xorshift: the same run from the same seed, as far as the machine has it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// How jobs ended, and how many there were at once.
#[derive(Debug, Default)]
struct Seen {
    now: AtomicUsize,
    most: AtomicUsize,
    good: AtomicUsize,
    cancelled: AtomicUsize,
    failed: AtomicUsize,
    overran: AtomicUsize,
    waits_that_timed_out: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A job that was submitted, and what it is to give.
enum Flying<'s> {
    Square(u64, Pending<'s, u64>),
    Table(u64, u64, Pending<'s, SharedArray<u64, ndarray::Ix1>>),
    /// One that fails at this chunk alone.
    Failing(u64, Pending<'s, SharedArray<u64, ndarray::Ix1>>),
    /// One that adds 1 to this array in place.
    InPlace(usize, Pending<'s, ()>),
    /// One that never returns, with a time limit.
    Endless(Pending<'s, u64>),
}

impl Flying<'_> {
    fn cancel(&self) {
        match self {
            Flying::Square(_, job) | Flying::Endless(job) => job.cancel(),
            Flying::Table(_, _, job) | Flying::Failing(_, job) => job.cancel(),
            Flying::InPlace(_, job) => job.cancel(),
        }
    }

    fn wait_timeout(&self, limit: Duration) -> bool {
        let end = match self {
            Flying::Square(_, job) | Flying::Endless(job) => job.wait_timeout(limit),
            Flying::Table(_, _, job) | Flying::Failing(_, job) => job.wait_timeout(limit),
            Flying::InPlace(_, job) => job.wait_timeout(limit),
        };
        assert!(matches!(end, Ok(()) | Err(JobError::TimedOut { .. })), "{end:?}");
        end.is_ok()
    }

    /// Takes the result and checks it; gives the array that was changed to its end.
    fn land(self, cancelled: bool, seen: &Seen) -> Option<usize> {
        let mut done = None;
        let end = match self {
            Flying::Square(n, job) => job.get().map(|square| assert_eq!(square, n * n)),
            Flying::Table(n, chunks, job) => job.get().map(|table| {
                assert!(table.as_slice().iter().copied().eq((0..chunks).map(|c| n * 1000 + c)));
            }),
            Flying::Failing(at, job) => match job.get() {
                Err(Error::Job(JobError::Failed { chunk, message, .. })) => {
                    assert_eq!((chunk, message), (at, format!("no {at}")));
                    count(&seen.failed);
                    return None;
                }
                end => end.map(|_| panic!("chunk {at} fails")),
            },
            Flying::InPlace(array, job) => job.get().map(|()| done = Some(array)),
            Flying::Endless(job) => match job.get() {
                Err(Error::Job(JobError::Overran { .. })) => {
                    count(&seen.overran);
                    return None;
                }
                end => end.map(|_| panic!("it never returns")),
            },
        };
        match end {
            Ok(()) => count(&seen.good),
            Err(Error::Job(JobError::Cancelled)) if cancelled => count(&seen.cancelled),
            Err(error) => panic!("{error}"),
        }
        done
    }
}

/// Submits jobs of all kinds, cancels and waits at random, and takes them in another order.
fn round(pool: &Pool, dice: &mut Dice, seen: &Seen) -> Result<()> {
    let mut arrays =
        (0..EACH).map(|_| Ok(SharedArray::<u64, _>::zeros(ROWS)?)).collect::<Result<Vec<_>>>()?;
    let mut whole = Vec::new();
    pool.scope(|s| {
        let mut flying = Vec::new();
        for (i, array) in arrays.iter_mut().enumerate() {
            let (n, chunks) = (dice.below(1 << 20), dice.below(9) + 1);
            flying.push((
                false,
                match dice.below(32) {
                    0 => {
                        let limit = Duration::from_millis(dice.below(30) + 1);
                        let endless = s.job().time_limit(limit);
                        Flying::Endless(endless.call((), |(), _| {
                            sleep(Duration::MAX);
                            0
                        })?)
                    }
                    1..=3 => {
                        let at = n % chunks;
                        let args = (indices(chunks), Param(at));
                        Flying::Failing(
                            at,
                            s.try_map(
                                args,
                                |(c, at), _| {
                                    if c == at { Err(format!("no {c}")) } else { Ok(c) }
                                },
                            )?,
                        )
                    }
                    4..=11 => Flying::InPlace(
                        i,
                        s.for_each(array.chunks_mut(CHUNK), |mut c, _| {
                            c.as_slice_mut().iter_mut().for_each(|v| *v += 1);
                            sleep(Duration::from_micros(300));
                        })?,
                    ),
                    12..=19 => Flying::Square(n, s.call(Param(n), |n, _| n * n)?),
                    _ => Flying::Table(
                        n,
                        chunks,
                        s.map((indices(chunks), Param(n)), |(c, n), _| {
                            sleep(Duration::from_micros(n % 500));
                            n * 1000 + c
                        })?,
                    ),
                },
            ));
            seen.most.fetch_max(seen.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        for (cancelled, job) in &mut flying {
            match dice.below(8) {
                0 | 1 => {
                    job.cancel();
                    *cancelled = true;
                }
                2 if !job.wait_timeout(Duration::from_micros(dice.below(2000))) => {
                    count(&seen.waits_that_timed_out);
                }
                _ => {}
            }
        }
        while !flying.is_empty() {
            let (cancelled, job) = flying.swap_remove(dice.below(flying.len() as u64) as usize);
            whole.extend(job.land(cancelled, seen));
            seen.now.fetch_sub(1, Ordering::Relaxed);
        }
        Ok::<_, Error>(())
    })?;
    for (i, array) in arrays.iter().enumerate() {
        for chunk in array.as_slice().chunks(CHUNK) {
            assert!(chunk[0] <= 1 && chunk.iter().all(|v| *v == chunk[0]), "half: {chunk:?}");
            assert!(chunk[0] == 1 || !whole.contains(&i), "left out");
        }
    }
    Ok(())
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("a folder of /proc").count()
}

/// What this process has: descriptors and threads.
fn possessions() -> (usize, usize) {
    (entries("/proc/self/fd"), entries("/proc/self/task"))
}

#[test]
fn a_hundred_jobs_from_two_threads_end_right_whatever_happens_to_them() {
    let seconds = std::env::var("PINPOOL_IN_FLIGHT_SECONDS").map_or(3, |s| s.parse().unwrap());
    watched(|| {
        let before = possessions();
        let builder = Pool::builder().workers(3).oversubscribe(true);
        let pool = builder.cancel_grace(Duration::from_millis(20)).build().unwrap();
        let workers = pool.whereabouts();
        let (seen, end) = (Seen::default(), Instant::now() + Duration::from_secs(seconds));
        std::thread::scope(|threads| {
            for seed in [0x9e37_79b9, 0x7f4a_7c15] {
                let (pool, seen) = (&pool, &seen);
                threads.spawn(move || {
                    let mut dice = Dice(seed);
                    while Instant::now() < end {
                        round(pool, &mut dice, seen).unwrap();
                    }
                });
            }
        });
        println!("{seen:?}, {} workers killed", pool.deaths());
        let least = |counter: &AtomicUsize| counter.load(Ordering::Relaxed) > 0;
        assert!(least(&seen.good) && least(&seen.cancelled) && least(&seen.failed));
        assert!(least(&seen.overran) && least(&seen.waits_that_timed_out));
        assert!(seen.most.load(Ordering::Relaxed) >= 90, "{seen:?}");
        let progress = pool.progress();
        assert_eq!((progress.done, progress.chunks), (0, 0), "a job is left");
        assert_eq!(pool.call(Param(6u64), |n, _| n * 7).unwrap(), 42);
        let last = pool.whereabouts();
        drop(pool);
        for worker in workers.iter().chain(&last) {
            let left = std::fs::read_to_string(format!("/proc/{}/comm", worker.pid));
            assert!(!left.is_ok_and(|comm| comm.starts_with("in_flight")), "{worker:?} is left");
        }
        assert_eq!(possessions(), before, "descriptors, threads");
    });
}
