//! What the fault tests share: victims, killers, watchdogs, and looks at what is left.
//!
//! A victim is this very test program, started again to play one role and to be killed in it.
#![allow(dead_code)] // each test program uses its part

use std::fs;
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pinpool::{Backend, Ctx, Pool};
use rustix::process::{Pid, PidfdFlags, Signal};

/// Names the role that a victim plays.
pub(crate) const ROLE: &str = "PINPOOL_TEST_ROLE";

/// Pools here have more workers than the machine has cores.
pub(crate) fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).oversubscribe(true).seed(7).build().expect("a pool")
}

pub(crate) fn serial() -> Pool {
    Pool::builder().backend(Backend::Serial).seed(7).build().expect("a pool")
}

/// One test at a time: those that count children, descriptors or names.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A kernel that shows each wrong repetition: what it leaves depends on what it found, and on
/// the chunk's stream.
pub(crate) fn stir(c: &mut [u64], ctx: &mut Ctx) {
    for v in c {
        *v = v.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(ctx.rng().next_u64());
    }
}

/// A generator for the tests themselves; its seed is printed, and taken from PINPOOL_TEST_SEED.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(what: &str) -> Dice {
        let seed = std::env::var("PINPOOL_TEST_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.expect("after 1970").as_nanos() as u64
        });
        println!("{what}: PINPOOL_TEST_SEED={seed}");
        Dice(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

/// Ends the whole test program when it is not dropped in time: a hang is a failure, with a name.
pub(crate) struct Watchdog(#[allow(dead_code)] Sender<()>);

pub(crate) fn watchdog(what: &'static str, seconds: u64) -> Watchdog {
    let (alive, gone) = channel::<()>();
    std::thread::spawn(move || {
        if gone.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
            eprintln!("{what}: still running after {seconds} s: it hangs");
            std::process::abort();
        }
    });
    Watchdog(alive)
}

/// Waits for something that is to come; `false` after `seconds`.
pub(crate) fn wait_until(seconds: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    done()
}

/// Fields of /proc/PID/stat after the name: state, parent, …
pub(crate) fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Children of a process that are not zombies.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    pids.filter_map(|e| e.file_name().to_str()?.parse().ok())
        .filter(|&pid| {
            stat(pid).is_some_and(|s| s[1] == parent.to_string() && s[0] != "Z" && s[0] != "X")
        })
        .collect()
}

/// Signals a process through a descriptor of it, if it still is a child of `parent`.
pub(crate) fn signal_child(pid: u32, parent: u32, signal: Signal) -> bool {
    let Some(raw) = Pid::from_raw(pid as i32) else { return false };
    let Ok(fd) = rustix::process::pidfd_open(raw, PidfdFlags::empty()) else { return false };
    let ours = stat(pid).is_some_and(|s| s[1] == parent.to_string() && s[0] != "Z");
    ours && rustix::process::pidfd_send_signal(&fd, signal).is_ok()
}

/// Kills a worker of this process.
pub(crate) fn kill_worker(pid: u32) -> bool {
    signal_child(pid, std::process::id(), Signal::KILL)
}

/// Open descriptors of this process.
pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// Names in /dev/shm that begin with `prefix`.
pub(crate) fn names(prefix: &str) -> Vec<String> {
    let all = fs::read_dir("/dev/shm").expect("/dev/shm").flatten();
    all.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(prefix)).collect()
}

/// This test program again, in a role: it runs the test `the_victim` alone.
pub(crate) fn victim(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(["--exact", "the_victim", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command
}

/// The role to be played, in a victim.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Says aloud that a test did not run.
pub(crate) fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}
