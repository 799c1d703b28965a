//! Numbered points of the protocol at which a process is killed, for `tests/fault_points.rs`.
//!
//! Point Wn or Rn lies right behind that step of `control.md`. With the feature `fault-points` the
//! variable `PINPOOL_FAULT` says `W3 2 parent FILE`: at the second arrival of anybody at W3 the
//! parent gets a SIGKILL. Arrivals are counted by the bytes of FILE, so that they go on after a
//! death. Without the feature nothing is left of a point.

#![forbid(unsafe_code)]

/// The steps of a worker, and of a recovery.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Point {
    W1,
    W2,
    W3,
    W4,
    W5,
    W6,
    R1,
    R2,
    R3,
    R4,
    R5,
}

/// Arrives at a point; `other` gives the process that this one is to kill if it is not to be
/// itself (the parent of a worker, a worker of the parent).
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub(crate) fn point(_: Point, _: impl FnOnce() -> Option<rustix::process::Pid>) {}

#[cfg(feature = "fault-points")]
pub(crate) fn point(point: Point, other: impl FnOnce() -> Option<rustix::process::Pid>) {
    use std::io::{Seek, Write};

    let Ok(plan) = std::env::var("PINPOOL_FAULT") else { return };
    let plan: Vec<&str> = plan.splitn(4, ' ').collect();
    let [name, count, victim, file] = plan[..] else { panic!("PINPOOL_FAULT is not in form") };
    if name != format!("{point:?}") {
        return;
    }
    let mut arrivals = std::fs::OpenOptions::new().append(true).open(file).expect("the file");
    arrivals.write_all(b".").expect("a byte");
    // Where this byte went: each arrival has a number of its own.
    if arrivals.stream_position().expect("a place") != count.parse::<u64>().expect("a number") {
        return;
    }
    let in_worker = format!("{point:?}").starts_with('W');
    let pid = match (victim, in_worker) {
        ("worker", true) | ("parent", false) => Some(rustix::process::getpid()),
        _ => other(),
    };
    if let Some(pid) = pid {
        // Said before it is done: a worker ends with its parent.
        std::fs::write(format!("{file}.killed"), "").expect("said so");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("ours to kill");
    }
}

/// A worker of this process that is alive, to be killed by [`point`].
#[inline]
pub(crate) fn any_worker(control: &crate::control::Control) -> Option<rustix::process::Pid> {
    let me = std::process::id().to_string();
    (0..control.workers()).find_map(|worker| {
        let pid = control.worker(worker).standing.pid.load(std::sync::atomic::Ordering::Acquire);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let alive = fields.next()? != "Z" && fields.next()? == me;
        alive.then(|| rustix::process::Pid::from_raw(pid as i32)).flatten()
    })
}
