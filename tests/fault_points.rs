//! A process killed right behind each numbered step of the protocol: W1 to W6 of a worker, R1 to
//! R5 of a recovery (`src/control.md`), at the first, second and third arrival of anybody there.
//!
//! Either actor dies at either's steps: a worker by itself or while the parent recovers, the
//! parent by itself or while a worker is at its step. What the walk does with images, here with
//! real processes; what they must have reached is looked at, so that no row passes unseen.
//!
//! `cargo test --release --features fault-points --test fault_points`
#![allow(clippy::zombie_processes)] // `any_left` reaps everything

mod faults;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use faults::{alone, children, names, pool, role, serial, stir, victim, wait_until, watchdog};
use pinpool::ndarray::Ix1;
use pinpool::segments;
use pinpool::{ChunkMut, Ctx, Param, Pool, SharedArray};
use rustix::process::WaitOptions;

/// One more than there are deadly chunks: one is always alive.
const WORKERS: usize = 5;
const CHUNKS: usize = 24;
const ROWS: usize = 512;
/// Chunks whose kernel dies half way, once each, so that there is something to recover from.
const DEADLY: [u64; 4] = [2, 8, 14, 20];
const NAME: &str = "pinpool-test-points";

/// Plays the role, in a process of its own.
#[test]
fn the_victim() {
    if let Some(dir) = role() {
        let work = if std::env::var_os(CALLS).is_some() { digest_of_calls } else { digest };
        println!("digest {:016x}", work(&pool(WORKERS), &dir));
    }
}

/// Set where the victim makes calls instead of a job in place.
const CALLS: &str = "PINPOOL_TEST_CALLS";

/// Twenty-four calls in flight that travel as a batch; `dir` as for `digest`.
fn digest_of_calls(pool: &Pool, dir: &str) -> u64 {
    assert!(dir.len() <= 24, "{dir} is too long for a small parameter");
    let mut path = [0u8; 24];
    path[..dir.len()].copy_from_slice(dir.as_bytes());
    pool.scope(|s| {
        let calls: Vec<_> = (0..CHUNKS as u64)
            .map(|call| {
                let job = s.job().stream(call);
                job.call((Param(call), Param(path)), |(call, path), ctx| one_call(call, &path, ctx))
            })
            .collect();
        let values = calls.into_iter().map(|call| call.expect("a job").get().expect("a value"));
        values.fold(0, |d: u64, v| (d ^ v).wrapping_mul(0x0100_0000_01b3).rotate_left(7))
    })
}

fn one_call(call: u64, path: &[u8; 24], ctx: &mut Ctx) -> u64 {
    let dir = std::str::from_utf8(path).expect("text").trim_end_matches('\0');
    let mine = format!("{dir}/{call}");
    let first = ctx.rng().next_u64();
    if !dir.is_empty() && DEADLY.contains(&call) && fs::File::create_new(mine).is_ok() {
        // SAFETY: kills this worker.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    first ^ ctx.rng().next_u64().rotate_left(9)
}

/// A job in place over a named array; `dir` remembers who died there, and is empty for nobody.
fn digest(pool: &Pool, dir: &str) -> u64 {
    let name = format!("{NAME}-{}", std::process::id());
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named(&name, CHUNKS * ROWS) };
    let mut x = made.expect("a new name");
    let mut path = [0u8; 128];
    path[..dir.len()].copy_from_slice(dir.as_bytes());
    pool.stream(1)
        .for_each((x.chunks_mut(ROWS), Param(path)), |(mut c, path), ctx| work(&mut c, &path, ctx))
        .expect("the job survives");
    x.as_slice().iter().fold(0, |d: u64, v| (d ^ v).wrapping_mul(0x0100_0000_01b3).rotate_left(7))
}

fn work(c: &mut ChunkMut<'_, u64, Ix1>, path: &[u8; 128], ctx: &mut Ctx) {
    let dir = std::str::from_utf8(path).expect("text").trim_end_matches('\0');
    let (first, second) = c.as_slice_mut().split_at_mut(ROWS / 2);
    stir(first, ctx);
    let mine = format!("{dir}/{}", ctx.chunk());
    if !dir.is_empty() && DEADLY.contains(&ctx.chunk()) && fs::File::create_new(mine).is_ok() {
        // SAFETY: kills this worker.
        unsafe { libc::raise(libc::SIGKILL) };
    }
    stir(second, ctx);
}

/// Runs the victim, which `who` is killed in at the `time`-th arrival at `point`.
fn run(dir: &Path, point: &str, time: u64, who: &str, calls: bool) -> (Output, u32) {
    let arrivals = dir.join("arrivals");
    fs::write(&arrivals, "").expect("a file");
    let plan = format!("{point} {time} {who} {}", arrivals.display());
    let mut command = victim(dir.to_str().expect("text"));
    if calls {
        command.env(CALLS, "1");
    }
    command.env("PINPOOL_FAULT", plan).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("a victim");
    let pid = child.id();
    let output = child.wait_with_output().expect("it ends");
    let reached = fs::metadata(&arrivals).expect("the file").len();
    assert!(reached >= time, "{point} was reached {reached} times only");
    let itself = point.starts_with('W') == (who == "worker");
    assert!(
        itself || dir.join("arrivals.killed").exists(),
        "{point}: nobody was there to be killed"
    );
    (output, pid)
}

/// Reaps all children of ours that have ended; whether any is left, zombies included.
fn any_left() -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

const POINTS: [&str; 11] = ["W1", "W2", "W3", "W4", "W5", "W6", "R1", "R2", "R3", "R4", "R5"];

#[test]
fn a_worker_killed_at_any_step_of_its_own_or_of_a_recovery_changes_no_bit() {
    let _alone = alone();
    let _watchdog = watchdog("workers killed at each step", 300);
    let expected = format!("digest {:016x}", digest(&serial(), ""));
    for (point, time) in POINTS.iter().flat_map(|p| (1..=3).map(move |t| (p, t))) {
        let dir = tempfile::tempdir().expect("a folder");
        let (output, _) = run(dir.path(), point, time, "worker", false);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{point}, time {time}: {text}\n{errors}");
        assert!(text.contains(&expected), "{point}, time {time}: other bits\n{text}");
    }
    assert_eq!(names(NAME), [""; 0], "a name is left");
}

/// Calls have no undo copies: W2, W3, W6 and R2 are never reached.
#[test]
fn a_worker_killed_at_any_step_of_a_call_in_a_batch_changes_no_result() {
    let _alone = alone();
    let _watchdog = watchdog("workers killed at each step of calls", 300);
    let expected = format!("digest {:016x}", digest_of_calls(&serial(), ""));
    let points = ["W1", "W4", "W5", "R1", "R3", "R4", "R5"];
    for (point, time) in points.iter().flat_map(|p| (1..=3).map(move |t| (p, t))) {
        // A short name, so that it is a small parameter.
        let dir = tempfile::Builder::new().prefix("p").rand_bytes(6).tempdir_in("/tmp");
        let dir = dir.expect("a folder");
        let (output, _) = run(dir.path(), point, time, "worker", true);
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{point}, time {time}: {text}\n{errors}");
        assert!(text.contains(&expected), "{point}, time {time}: other values\n{text}");
    }
}

#[test]
fn a_parent_killed_at_any_step_of_its_own_or_of_a_worker_leaves_nothing() {
    use std::os::unix::process::ExitStatusExt;
    let _alone = alone();
    let _watchdog = watchdog("parents killed at each step", 300);
    // SAFETY: sets an attribute of this process: orphans of victims become its children.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    for (point, time) in POINTS.iter().flat_map(|p| (1..=3).map(move |t| (p, t))) {
        let dir = tempfile::tempdir().expect("a folder");
        let (output, pid) = run(dir.path(), point, time, "parent", false);
        assert_eq!(output.status.signal(), Some(9), "{point}, time {time}: it lives");
        let gone = wait_until(20, || !any_left());
        assert!(gone, "{point}, time {time}: {:?} run on", children(std::process::id()));
        let name = format!("{NAME}-{pid}");
        if !names(&name).is_empty() {
            // No worker was alive that knew of the name: the next pool's business.
            segments::gc().expect("a registry");
        }
        assert_eq!(names(&name), [""; 0], "{point}, time {time}: a name is left");
    }
}
