//! F6, F7, F8: the parent is killed, everything is killed, or one worker is left behind.
//!
//! Victims are pools in processes of their own, whose orphans come to this process, so that not
//! one can be overlooked.
#![allow(clippy::zombie_processes)] // `any_left` reaps everything

mod faults;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use faults::{Dice, alone, children, names, pool, role, stat, stir, victim, wait_until, watchdog};
use pinpool::ndarray::Ix1;
use pinpool::segments::{self, SegmentState};
use pinpool::{ChunkMut, Ctx, SharedArray};
use rustix::process::{Pid, Signal, WaitOptions};

/// Plays a role, in a process of its own.
#[test]
fn the_victim() {
    match role().as_deref() {
        Some("busy") => busy(),
        Some("waits") => {
            hear(&ENDINGS);
            waits();
        }
        Some("unused") => unused(),
        _ => {}
    }
}

/// What terminals and batch systems send to a program that is to end.
const ENDINGS: [Signal; 4] = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT];

/// Takes signals as a program does by default: under `nohup`, or behind a script's `&`, tests are
/// started with some of them ignored, and so would be what they start.
fn hear(signals: &[Signal]) {
    for signal in signals {
        // SAFETY: installs no handler, only the default.
        unsafe { libc::signal(signal.as_raw(), libc::SIG_DFL) };
    }
}

fn name(prefix: &str) -> String {
    format!("{prefix}-{}", std::process::id())
}

/// Builds pools, makes named arrays, runs jobs in place whose workers now and then die, drops all.
fn busy() {
    let name = name("pinpool-test-busy");
    println!("started");
    loop {
        let pool = pool(3);
        // SAFETY: nobody else knows the name.
        let made = unsafe { SharedArray::<u64, Ix1>::create_named(&name, 4_000) };
        let mut x = made.expect("a new name");
        for _ in 0..3 {
            pool.for_each(x.chunks_mut(40), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
                stir(c.as_slice_mut(), ctx);
                if ctx.chunk() == 5 && ctx.incarnation() == 0 {
                    // SAFETY: kills this worker, so that recovery and restart happen as well.
                    unsafe { libc::raise(libc::SIGKILL) };
                }
            })
            .expect("it survives");
        }
    }
}

/// A pool with a named array that all workers know, at rest.
fn waits() {
    let pool = pool(3);
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named(&name("pinpool-test-waits"), 1_000) };
    let mut x = made.expect("a new name");
    pool.for_each(x.chunks_mut(10), |mut c: ChunkMut<'_, u64, Ix1>, ctx: &mut Ctx| {
        stir(c.as_slice_mut(), ctx);
    })
    .expect("it works");
    println!("started");
    std::thread::sleep(Duration::from_secs(600));
}

/// Arrays that no job has used: made before one pool, before another one, and after both.
fn unused() {
    let make = |n: u32| {
        // SAFETY: nobody else knows the name.
        let made = unsafe {
            SharedArray::<u64, Ix1>::create_named(
                &format!("{}-{n}", name("pinpool-test-unused")),
                100,
            )
        };
        made.expect("a new name")
    };
    let _first = make(0);
    let _pool = pool(1);
    let _second = make(1);
    let _other = pool(2);
    let _third = make(2);
    let mut stays = make(3);
    stays.set_persist(true).expect("it is on record");
    println!("started");
    std::thread::sleep(Duration::from_secs(600));
}

/// Orphans of victims become our children, also where nobody knew of them.
fn adopt_orphans() {
    // SAFETY: sets an attribute of this process.
    let done = unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    assert_eq!(done, 0);
}

fn start(role: &str) -> Child {
    let mut command = victim(role);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("a victim");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("piped")).lines();
    assert!(lines.any(|l| l.expect("text").ends_with("started")), "the victim did not start");
    child
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

fn kill_group(child: &Child) {
    let group = Pid::from_raw(child.id() as i32).expect("a pid");
    rustix::process::kill_process_group(group, Signal::KILL).expect("our victims");
}

#[test]
fn a_parent_killed_at_any_instant_leaves_no_worker_and_no_name() {
    let _alone = alone();
    let _watchdog = watchdog("two hundred dead parents", 300);
    adopt_orphans();
    let mut dice = Dice::new("a_parent_killed_at_any_instant_leaves_no_worker_and_no_name");
    let (mut slowest, mut late_names, mut orphans) = (Duration::ZERO, 0, 0);
    for round in 0..200 {
        let mut parent = start("busy");
        let pid = parent.id();
        std::thread::sleep(Duration::from_micros(dice.below(50_000)));
        orphans += children(pid).len();
        parent.kill().expect("it lives");
        let killed = Instant::now();
        let gone = wait_until(20, || !any_left());
        slowest = slowest.max(killed.elapsed());
        assert!(gone, "round {round}: {:?} run on", children(std::process::id()));
        let prefix = format!("pinpool-test-busy-{pid}");
        if !names(&prefix).is_empty() {
            // Killed before any worker had heard of the name: the next pool's business.
            late_names += 1;
            segments::gc().expect("a registry");
        }
        assert_eq!(names(&prefix), [""; 0], "round {round}: a name is left");
    }
    println!(
        "200 parents killed, {orphans} workers seen just before: all gone after {slowest:?} at \
         most; {late_names} names left to the collector"
    );
}

#[test]
fn arrays_that_no_job_has_used_go_with_their_maker() {
    let _alone = alone();
    let _watchdog = watchdog("arrays without a job", 60);
    adopt_orphans();
    let mut parent = start("unused");
    let prefix = format!("pinpool-test-unused-{}", parent.id());
    assert_eq!(names(&prefix).len(), 4);
    parent.kill().expect("it lives");
    let killed = Instant::now();
    assert!(wait_until(20, || !any_left()));
    println!("workers gone after {:?}", killed.elapsed());
    // Without a collector. What was marked to outlive everybody does.
    let stays = format!("{prefix}-3");
    assert_eq!(names(&prefix), [stays.as_str()]);
    // SAFETY: nobody else knows the name.
    let mut array = unsafe { SharedArray::<u64, Ix1>::open_named(&stays) }.expect("it is there");
    array.set_persist(false).expect("it is on record");
    drop(array);
    segments::gc().expect("a registry");
    assert_eq!(names(&prefix), [""; 0]);
}

#[test]
fn what_a_kill_of_all_at_once_leaves_is_collected_and_a_live_neighbour_is_not() {
    let _alone = alone();
    let _watchdog = watchdog("all killed at once", 60);
    adopt_orphans();
    let neighbour = name("pinpool-test-neighbour");
    // SAFETY: nobody else knows the name.
    let made = unsafe { SharedArray::<u64, Ix1>::create_named(&neighbour, 100) };
    let _neighbour = made.expect("a new name");
    let parent = start("waits");
    let dead = format!("pinpool-test-waits-{}", parent.id());
    kill_group(&parent);
    assert!(wait_until(20, || !any_left()));
    // Workers that were killed an instant later may have removed it; mostly it is still there.
    let left = names(&dead).len();
    segments::gc().expect("a registry");
    assert_eq!(names(&dead), [""; 0]);
    assert_eq!(names(&neighbour), [neighbour.as_str()]);
    println!("left by the kill of all: {left} names; by the collector: none");
}

#[test]
fn a_segment_that_one_stopped_worker_still_holds_is_not_collected() {
    let _alone = alone();
    let _watchdog = watchdog("one worker left", 60);
    adopt_orphans();
    let mut parent = start("waits");
    let held = format!("pinpool-test-waits-{}", parent.id());
    let workers = children(parent.id());
    assert_eq!(workers.len(), 3);
    for &pid in &workers {
        assert!(faults::signal_child(pid, parent.id(), Signal::STOP));
        // On a busy machine another thread of it may run on for a while.
        assert!(wait_until(20, || stat(pid).is_some_and(|s| s[0] == "T")));
    }
    let last = workers[0];
    parent.kill().expect("it lives");
    parent.wait().expect("ours");
    for &pid in &workers[1..] {
        assert!(faults::signal_child(pid, std::process::id(), Signal::KILL));
    }
    assert!(wait_until(40, || {
        let _ = any_left();
        let left = children(std::process::id());
        left.contains(&last) && !workers[1..].iter().any(|worker| left.contains(worker))
    }));
    segments::gc().expect("a registry");
    assert_eq!(names(&held), [held.as_str()], "a worker of the dead parent still has it");
    let state = segments::list().expect("a registry").into_iter().find(|s| s.name == held);
    assert_eq!(state.expect("on record").state, SegmentState::Live);
    assert!(faults::signal_child(last, std::process::id(), Signal::CONT));
    assert!(wait_until(10, || !any_left()), "it notices, when it runs again");
    segments::gc().expect("a registry");
    assert_eq!(names(&held), [""; 0]);
}

#[test]
fn a_host_that_is_told_to_end_leaves_no_process() {
    let _alone = alone();
    let _watchdog = watchdog("SIGTERM, SIGINT, SIGHUP", 60);
    adopt_orphans();
    for signal in ENDINGS {
        let parent = start("waits");
        let pid = parent.id();
        assert!(stat(pid).is_some());
        assert!(faults::signal_child(pid, std::process::id(), signal));
        assert!(wait_until(20, || !any_left()), "after {signal:?}");
        assert_eq!(names(&format!("pinpool-test-waits-{pid}")), [""; 0], "after {signal:?}");
        // The core that SIGQUIT may leave is not ours to keep.
        let _ = fs::remove_file("core");
    }
}
