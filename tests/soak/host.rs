//! A host of the soak: builds pools, gives them jobs with every fault of their own, and compares
//! all that comes back, until it is killed.
//!
//! It knows nothing of the faults from outside. It says what it did in lines of `key value` pairs,
//! and a line that begins with `WRONG` where anything is not as it must be.

use std::time::Duration;

use pinpool::ndarray::Ix1;
use pinpool::{
    ChunkMut, CreateError, Ctx, Error, Job, JobError, Param, Pool, SharedArray, indices,
};

use crate::faults::{Dice, names, open_descriptors, pool, serial, stir};

const ROWS: usize = 48;

#[derive(Default)]
struct Done {
    jobs: u64,
    chunks: u64,
    /// Attempts at chunks beyond the first, counted in an array that is not put back.
    again: u64,
}

/// What a job's kernel does beside its work, in every chunk whose number is 7 modulo `every`.
#[derive(Clone, Copy)]
struct Fault {
    how: u64,
    every: u64,
    /// Microseconds that each chunk rests half way.
    rest: u64,
}

const WELL: u64 = 0;
const DIES_ONCE: u64 = 1;
const DIES: u64 = 2;
const PANICS: u64 = 3;
const SLEEPS_ONCE: u64 = 4;

const NO_FAULT: Fault = Fault { how: WELL, every: 1, rest: 0 };

impl Fault {
    fn hits(self, chunk: u64) -> bool {
        self.how != WELL && chunk % self.every == 7 % self.every
    }
}

/// Ends this process in one of the ways in which kernels do.
fn die(chunk: u64) {
    match chunk % 4 {
        // SAFETY: not safe: that is the point. The address is never mapped.
        0 => unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) },
        1 => std::process::abort(),
        2 => std::process::exit(3),
        _ => {
            // SAFETY: ends this process by the signal of a page beyond a file's end.
            unsafe { libc::raise(libc::SIGBUS) };
        }
    }
}

type Item<'w> = (ChunkMut<'w, u64, Ix1>, ChunkMut<'w, u64, Ix1>, [u64; 3]);

/// In place, with the fault in the middle; `tries` keeps how often the chunk was begun.
fn kernel((mut c, mut tries, [how, every, rest]): Item<'_>, ctx: &mut Ctx) {
    let (fault, chunk) = (Fault { how, every, rest }, ctx.chunk());
    tries[0] += 1;
    let (first, second) = c.as_slice_mut().split_at_mut(ROWS / 2);
    stir(first, ctx);
    if fault.rest > 0 {
        std::thread::sleep(Duration::from_micros(fault.rest));
    }
    if fault.hits(chunk) {
        match how {
            DIES => die(chunk),
            DIES_ONCE if tries[0] == 1 => die(chunk),
            PANICS => panic!("chunk {chunk} panics"),
            SLEEPS_ONCE if tries[0] == 1 => std::thread::sleep(Duration::from_secs(30)),
            _ => {}
        }
    }
    stir(second, ctx);
}

/// What a job left in its array, and how it ended.
struct Left {
    array: Vec<u64>,
    end: pinpool::Result<()>,
}

impl Left {
    /// Each chunk is wholly as the serial run leaves it, or wholly as it was.
    fn is_whole(&self, expected: &[u64]) -> bool {
        let mut both = self.array.chunks(ROWS).zip(expected.chunks(ROWS));
        both.all(|(got, new)| got == new || got.iter().all(|&v| v == 0))
    }
}

fn run(job: Job<'_>, x: &mut SharedArray<u64, Ix1>, fault: Fault, done: &mut Done) -> Left {
    let chunks = x.len() / ROWS;
    let mut tries = SharedArray::<u64, _>::zeros(chunks).expect("memory");
    let p = Param([fault.how, fault.every, fault.rest]);
    let end = job.stream(3).for_each((x.chunks_mut(ROWS), tries.chunks_out(1), p), kernel);
    done.jobs += 1;
    done.chunks += chunks as u64;
    done.again += tries.as_slice().iter().map(|&t| t.saturating_sub(1)).sum::<u64>();
    Left { array: x.as_slice().to_vec(), end }
}

fn zeros(chunks: usize) -> SharedArray<u64, Ix1> {
    SharedArray::zeros(chunks * ROWS).expect("memory")
}

fn expected(chunks: usize) -> Vec<u64> {
    run(serial().job(), &mut zeros(chunks), NO_FAULT, &mut Done::default()).array
}

fn must(right: bool, what: &str, end: &pinpool::Result<()>) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("{what}: {end:?}")) }
}

fn job_error(end: &pinpool::Result<()>) -> Option<&JobError> {
    match end {
        Err(Error::Job(error)) => Some(error),
        _ => None,
    }
}

/// One round: a job of one of the kinds; the text says what was wrong.
fn round(pool: &Pool, dice: &mut Dice, done: &mut Done) -> Result<(), String> {
    let chunks = 20 + dice.below(150) as usize;
    let new = expected(chunks);
    let fault = |how, dice: &mut Dice| Fault { how, every: 31, rest: dice.below(800) };
    let mut x = zeros(chunks);
    match dice.below(13) {
        0 | 1 => {
            let left = run(pool.job(), &mut x, fault(WELL, dice), done);
            must(left.end.is_ok() && left.array == new, "in place", &left.end)
        }
        2 => {
            let left = run(pool.job(), &mut x, fault(DIES_ONCE, dice), done);
            must(left.end.is_ok() && left.array == new, "dies once a chunk", &left.end)
        }
        3 => {
            let left = run(pool.job(), &mut x, fault(PANICS, dice), done);
            let told = matches!(job_error(&left.end), Some(JobError::Panic { .. }));
            must(told && left.is_whole(&new), "panics", &left.end)
        }
        4 => {
            let left = run(pool.job(), &mut x, fault(DIES, dice), done);
            let told = matches!(job_error(&left.end), Some(JobError::Died { .. }));
            must(told && left.is_whole(&new), "dies each time", &left.end)
        }
        5 => {
            let left = std::thread::scope(|s| {
                let after = Duration::from_micros(dice.below(20_000));
                s.spawn(move || {
                    std::thread::sleep(after);
                    pool.cancel_all();
                });
                run(pool.job(), &mut x, fault(WELL, dice), done)
            });
            let ends = matches!(job_error(&left.end), None | Some(JobError::Cancelled));
            must(ends && left.is_whole(&new), "cancelled", &left.end)
        }
        6 => {
            let job = pool.job().time_limit(Duration::from_micros(dice.below(30_000)));
            let left = run(job, &mut x, fault(WELL, dice), done);
            let ends = matches!(job_error(&left.end), None | Some(JobError::Overran { .. }));
            must(ends && left.is_whole(&new), "time limit", &left.end)
        }
        7 => {
            // Three chunks too slow only because of the machine's load end the job as well.
            let job = pool.job().chunk_timeout(Duration::from_millis(400));
            let left = run(job, &mut x, fault(SLEEPS_ONCE, dice), done);
            let whole = left.end.is_ok() && left.array == new;
            let late = matches!(job_error(&left.end), Some(JobError::Died { .. }));
            must(whole || late && left.is_whole(&new), "chunk time-out", &left.end)
        }
        8..=10 => named(pool, dice, chunks, &new, done),
        11 => calls(pool, dice, done),
        _ => others(pool, done),
    }
}

/// Calls in flight of more than one batch: some panic, one dies each time, some are cancelled.
fn calls(pool: &Pool, dice: &mut Dice, done: &mut Done) -> Result<(), String> {
    let (n, salt) = (400 + dice.below(500), dice.below(1 << 40));
    let (panics, dies, cancelled) = (dice.below(90), dice.below(n), 1 + dice.below(90));
    done.jobs += n;
    done.chunks += n;
    pool.scope(|s| {
        let mut calls = Vec::new();
        for i in 0..n {
            let numbers = Param([i, salt, panics, dies]);
            let call = s.call(numbers, |[i, salt, panics, dies], _| {
                if i == dies {
                    std::process::abort();
                }
                assert!(i % 90 != panics, "call {i} panics");
                i.wrapping_mul(salt) ^ salt >> 7
            });
            calls.push(call.map_err(|e| format!("a call was not taken: {e}"))?);
        }
        calls.iter().skip(7).step_by(cancelled as usize).for_each(|call| call.cancel());
        for (i, call) in (0..n).zip(calls) {
            let may_be_cancelled = i >= 7 && (i - 7) % cancelled == 0;
            let right = match call.get() {
                Ok(value) => {
                    i != dies && i % 90 != panics && value == i.wrapping_mul(salt) ^ salt >> 7
                }
                Err(Error::Job(JobError::Cancelled)) => may_be_cancelled,
                Err(Error::Job(JobError::Died { .. })) => i == dies,
                Err(Error::Job(JobError::Panic { message, .. })) => {
                    i % 90 == panics && message.contains(&format!("call {i} panics"))
                }
                Err(_) => false,
            };
            if !right {
                return Err(format!("call {i} of {n} in flight ended wrongly"));
            }
        }
        Ok(())
    })
}

/// As the plain job, over an array that has a name, while others collect the dead ones.
fn named(
    pool: &Pool,
    dice: &mut Dice,
    chunks: usize,
    new: &[u64],
    done: &mut Done,
) -> Result<(), String> {
    let name = format!("{}-{}-{}", super::PREFIX, std::process::id(), dice.below(1 << 40));
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named(&name, chunks * ROWS) };
    let mut x = match made {
        Ok(x) => x,
        // One host has a /dev/shm that is too small for some of them.
        Err(CreateError::NoSpace { .. }) if std::env::var_os(super::SMALL).is_some() => {
            return Ok(());
        }
        Err(error) => return Err(format!("a new name: {error}")),
    };
    let fault = Fault { how: DIES_ONCE, every: 31, rest: dice.below(800) };
    let left = run(pool.job(), &mut x, fault, done);
    must(names(&name).len() == 1, "a live name was removed", &left.end)?;
    drop(x);
    must(names(&name).is_empty(), "a dropped name is still there", &left.end)?;
    must(left.end.is_ok() && left.array == new, "named", &left.end)
}

/// Results, lists, skipped chunks and calls.
fn others(pool: &Pool, done: &mut Done) -> Result<(), String> {
    let text = |e: Error| format!("a job without faults of its own: {e}");
    let squares = pool.map(indices(300), |i, _| i * i).map_err(text)?;
    let lists = pool
        .map_vecs(indices(40), 8, |i, _| (0..i % 8).map(|k| i * k).collect::<Vec<u64>>())
        .map_err(text)?;
    let outcomes = pool
        .try_map_all(indices(60), |i, _| {
            if i == 17 {
                std::process::abort();
            }
            if i == 40 { Err("forty") } else { Ok(i + 1) }
        })
        .map_err(text)?;
    let sum = pool.call(Param([3u64, 4]), |[a, b], _| a + b).map_err(text)?;
    let bad: Vec<u64> = outcomes.failures().map(|e| e.chunk).collect();
    let lists_right =
        (0..40).all(|i| lists.get(i).iter().zip(0..).all(|(&v, k)| v == i as u64 * k));
    let right = squares.as_slice().iter().zip(0u64..).all(|(&v, i)| v == i * i)
        && lists_right
        && bad == [17, 40]
        && outcomes.values().count() == 58
        && sum == 7;
    done.jobs += 4;
    done.chunks += 401;
    must(right, "map, map_vecs, try_map_all, call", &Ok(()))
}

/// Limits that are reached are errors: of memory, of files' sizes, of descriptors.
fn limits() -> Result<(), String> {
    let large = SharedArray::<u64, Ix1>::zeros(1 << 42);
    if !matches!(large, Err(CreateError::NoMemory { .. })) {
        return Err("32 TiB of memory were not refused".into());
    }
    with_limit(libc::RLIMIT_FSIZE, 1 << 16, || match SharedArray::<u64, Ix1>::zeros(1 << 20) {
        Err(CreateError::NoSpace { .. }) => Ok(()),
        _ => Err("a limit on the size of files was not told".to_owned()),
    })?;
    // It works or it does not, and leaves nothing either way: `pools` looks at the descriptors.
    let _ = with_limit(libc::RLIMIT_NOFILE, 24, || {
        Pool::builder().workers(3).oversubscribe(true).build().map(drop)
    });
    Ok(())
}

fn with_limit<R>(what: libc::__rlimit_resource_t, soft: u64, act: impl FnOnce() -> R) -> R {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a live value.
    assert_eq!(unsafe { libc::getrlimit(what, &mut old) }, 0);
    let low = libc::rlimit { rlim_cur: soft, ..old };
    // SAFETY: reads a live value.
    assert_eq!(unsafe { libc::setrlimit(what, &low) }, 0);
    let result = act();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(what, &old) }, 0);
    result
}

/// One pool's life; the text says what was wrong.
fn life(dice: &mut Dice) -> Result<(), String> {
    let before = open_descriptors();
    if dice.below(8) == 0 {
        limits()?;
    }
    let pool = pool(1 + dice.below(4) as usize);
    for _ in 0..=dice.below(8) {
        let mut done = Done::default();
        let deaths = pool.deaths();
        round(&pool, dice, &mut done)?;
        let deaths = pool.deaths() - deaths;
        let Done { jobs, chunks, again } = done;
        println!("rounds 1 jobs {jobs} chunks {chunks} again {again} deaths {deaths}");
    }
    drop(pool);
    match open_descriptors() {
        now if now == before => Ok(()),
        now => Err(format!("{before} descriptors before the pool, {now} after it")),
    }
}

/// Lives until it is killed.
pub(crate) fn host() {
    let mut dice = Dice::new("host");
    loop {
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life(&mut dice)));
        let wrong = match end {
            Ok(Ok(())) => continue,
            Ok(Err(text)) => text,
            Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or("a panic".into()),
        };
        println!("WRONG {wrong}");
        std::process::exit(1);
    }
}
