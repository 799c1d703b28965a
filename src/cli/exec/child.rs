//! One attempt at one command: start it, take down what it writes, and see to its end.
//!
//! A child leads a process group of its own, so that what it has started ends with it when it is
//! ended from here. It is killed by the kernel should this process die. Its output is taken until
//! it ends: what processes that it leaves behind write later is lost, and holds up nobody.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{
    Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, set_parent_process_death_signal,
};
use rustix::time::Timespec;

use super::capture::Capture;

/// How often an attempt looks whether it is to go on.
const TICK: Duration = Duration::from_millis(50);
/// From SIGTERM to SIGKILL, for a command whose time is up.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);
/// The same when all is to end: shorter than the program's own grace.
const HALT_GRACE: Duration = Duration::from_millis(300);
/// What is read at a time, so that a child that writes without end is still looked after.
const READ_BYTES: usize = 1 << 18;
/// What a pipe may still hold when its child has ended.
const PIPE_BYTES: usize = 1 << 20;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended {
    Exited(ExitStatus),
    TimedOut(Duration),
    /// The whole program is to end.
    Halted,
    NotStarted(String),
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Ended::Exited(status) if status.success())
    }

    /// In words, for what was no success.
    pub(super) fn describe(&self) -> String {
        match self {
            Ended::Exited(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed by {}", signal_name(signal)),
                (None, None) => "ended in an unknown way".to_owned(),
            },
            Ended::TimedOut(limit) => {
                format!("ended after its {} s were up", limit.as_secs_f64())
            }
            Ended::Halted => "ended with the others".to_owned(),
            Ended::NotStarted(why) => format!("did not start: {why}"),
        }
    }
}

pub(super) fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// An attempt that is over, with all that it wrote.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) ended: Ended,
    pub(super) out: Capture,
    pub(super) err: Capture,
}

/// Runs a command to its end, to the end of its time, or until `halted`.
pub(super) fn attempt(
    words: &[OsString],
    env: &[(&OsStr, OsString)],
    timeout: Option<Duration>,
    halted: &dyn Fn() -> bool,
) -> Run {
    let mut run = Run { ended: Ended::Halted, out: Capture::default(), err: Capture::default() };
    let started = Instant::now();
    run.ended = match Running::start(words, env) {
        Err(error) => Ended::NotStarted(advice(&error)),
        Ok(mut running) => {
            let ended = loop {
                if running.wait(TICK, &mut run.out, &mut run.err) {
                    break None;
                }
                if halted() {
                    break Some((Ended::Halted, HALT_GRACE));
                }
                match timeout {
                    Some(limit) if started.elapsed() >= limit => {
                        break Some((Ended::TimedOut(limit), TIMEOUT_GRACE));
                    }
                    _ => {}
                }
            };
            running.end(ended, &mut run.out, &mut run.err)
        }
    };
    run
}

/// Why a program did not start, and what to do.
fn advice(error: &io::Error) -> String {
    let advice = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => {
            "no such program or script (nor, if it is there, the interpreter in its first line)"
        }
        Some(rustix::io::Errno::ACCESS) => "it may not be executed; chmod +x makes it so",
        Some(rustix::io::Errno::NOEXEC) => {
            "it is no program; a script begins with a line such as #!/bin/sh"
        }
        _ => return error.to_string(),
    };
    advice.to_owned()
}

/// A child that has not been waited for: its process id is its own.
struct Running {
    child: Child,
    group: Pid,
    pidfd: OwnedFd,
}

impl Running {
    fn start(words: &[OsString], env: &[(&OsStr, OsString)]) -> io::Result<Running> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0);
        let dies_with_us = || Ok(set_parent_process_death_signal(Some(Signal::KILL))?);
        // SAFETY: between fork and exec the closure makes one system call, and neither allocates
        // nor takes a lock.
        unsafe { command.pre_exec(dies_with_us) };
        let mut child = command.spawn()?;
        let group = Pid::from_child(&child);
        let watched = pidfd_open(group, PidfdFlags::empty()).and_then(|pidfd| {
            let streams =
                [child.stdout.as_ref().map(AsFd::as_fd), child.stderr.as_ref().map(AsFd::as_fd)];
            for stream in streams.into_iter().flatten() {
                fcntl_setfl(stream, OFlags::NONBLOCK)?;
            }
            Ok(pidfd)
        });
        match watched {
            Ok(pidfd) => Ok(Running { child, group, pidfd }),
            Err(error) => {
                let _ = kill_process_group(group, Signal::KILL);
                let _ = child.wait();
                Err(error.into())
            }
        }
    }

    /// Takes down what comes, for `limit` at most; says whether the child has ended.
    fn wait(&mut self, limit: Duration, out: &mut Capture, err: &mut Capture) -> bool {
        let limit =
            Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
        fds.extend(self.child.stdout.as_ref().map(|s| PollFd::new(s, PollFlags::IN)));
        fds.extend(self.child.stderr.as_ref().map(|s| PollFd::new(s, PollFlags::IN)));
        if poll(&mut fds, Some(&limit)).is_err() {
            return false;
        }
        let ended = !fds[0].revents().is_empty();
        self.read(out, err, if ended { PIPE_BYTES } else { READ_BYTES });
        ended
    }

    fn read(&mut self, out: &mut Capture, err: &mut Capture, limit: usize) {
        if self.child.stdout.as_mut().is_some_and(|pipe| !out.take(pipe, limit)) {
            self.child.stdout = None;
        }
        if self.child.stderr.as_mut().is_some_and(|pipe| !err.take(pipe, limit)) {
            self.child.stderr = None;
        }
    }

    /// Waits for the child, which has ended or else is ended now, with all that it started.
    fn end(
        mut self,
        early: Option<(Ended, Duration)>,
        out: &mut Capture,
        err: &mut Capture,
    ) -> Ended {
        if let Some((_, grace)) = &early {
            let _ = kill_process_group(self.group, Signal::TERM);
            let until = Instant::now() + *grace;
            while Instant::now() < until && !self.wait(TICK, out, err) {}
            // Before the child is waited for: until then the group cannot be anybody else's.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
        match (self.child.wait(), early) {
            (_, Some((ended, _))) => ended,
            (Ok(status), None) => Ended::Exited(status),
            (Err(error), None) => Ended::NotStarted(error.to_string()),
        }
    }
}
