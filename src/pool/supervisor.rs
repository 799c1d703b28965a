//! The parent's thread that starts worker processes, waits for their deaths, and mends.
//!
//! It is the only one that starts, kills and reaps workers: `PR_SET_PDEATHSIG` speaks of the
//! thread that started a child, and a reaped death is the only one that may be recovered from.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::Pid;
use rustix::time::Timespec;

use super::jobs::Jobs;
use super::limits::Seen;
use super::notes::Notes;
use super::output::Output;
use super::table::{Local, Table};
use crate::config::{
    MAX_FAILED_STARTS, MAX_KILLED_STARTS, RESTART_DELAY_MAX_MS, RESTART_DELAY_MS, RESTARTS_AT_ONCE,
    STOP_GRACE_MS,
};
use crate::control::{Control, load_text};
use crate::error::{Death, JobError, StartError};
use crate::host::Program;
use crate::mail;
use crate::protocol::Owner;
use crate::segment::Segment;
use crate::sys::process;
use crate::trace::{EventKind, Recorder};
use crate::worker_process::{self, Marker, VARIABLE, starts_in_main};

/// How a worker process is started.
#[derive(Debug)]
pub(crate) struct Launch {
    /// What it executes.
    pub(crate) program: Program,
    /// Variables of its environment beside the parent's.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// What it is called.
    pub(crate) name: String,
    /// Whether each is in a process group of its own.
    pub(crate) own_group: bool,
}

/// What parent and supervisor share.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) control: Control,
    pub(crate) segment: Arc<Segment>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) table: Arc<Table>,
    /// Where each worker runs; empty for anywhere.
    pub(crate) places: Vec<Vec<usize>>,
    pub(crate) launch: Launch,
    /// The first start that failed, for `build`.
    pub(crate) failed: Mutex<Option<StartError>>,
    /// The pool's owner is waiting for `build`; from then on restarts are the supervisor's matter.
    pub(crate) built: AtomicBool,
    bell: OwnedFd,
    stopping: AtomicBool,
    /// Workers get no time for their own end.
    at_once: AtomicBool,
}

impl Watch {
    pub(crate) fn new(
        control: Control,
        segment: Arc<Segment>,
        jobs: Arc<Jobs>,
        table: Arc<Table>,
        places: Vec<Vec<usize>>,
        launch: Launch,
    ) -> std::io::Result<Watch> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        table.set_bell(bell.try_clone()?);
        Ok(Watch {
            control,
            segment,
            jobs,
            table,
            places,
            launch,
            failed: Mutex::new(None),
            built: AtomicBool::new(false),
            bell,
            stopping: AtomicBool::new(false),
            at_once: AtomicBool::new(false),
        })
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// The supervisor thread; dropping it ends all workers.
#[derive(Debug)]
pub(crate) struct Supervisor {
    watch: Arc<Watch>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    pub(crate) fn start(watch: Arc<Watch>, output: Output) -> std::io::Result<Supervisor> {
        let shared = Arc::clone(&watch);
        let thread = std::thread::Builder::new()
            .name("pinpool/watch".into())
            .stack_size(256 * 1024)
            .spawn(move || Loop::new(shared, output).run())?;
        Ok(Supervisor { watch, thread: Mutex::new(Some(thread)) })
    }
}

impl Supervisor {
    /// There is a new deadline to look at.
    pub(crate) fn ring(&self) {
        self.watch.ring();
    }

    /// Ends all workers, `at_once` or each after its chunk and a while at most; returns when they
    /// are gone.
    pub(crate) fn stop(&self, at_once: bool) {
        self.watch.at_once.store(at_once, Ordering::SeqCst);
        self.watch.stopping.store(true, Ordering::SeqCst);
        self.watch.ring();
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop(false);
    }
}

/// One worker as the supervisor knows it.
#[derive(Debug, Default)]
struct Child {
    process: Option<(Pid, OwnedFd)>,
    incarnation: u32,
    /// Deaths in a row before a chunk was finished; before it was ready.
    deaths: u32,
    failed_starts: u32,
    /// Of these in a row, the ones that were killed from outside: no fault of the program.
    killed_starts: u32,
    restart_at: Option<Instant>,
    finished: u64,
    /// Why the supervisor killed it, where that counts as a death of another kind.
    killed_for: Option<Death>,
}

struct Loop {
    trace: Recorder,
    watch: Arc<Watch>,
    output: Output,
    children: Vec<Child>,
    seen: Vec<Seen>,
    notes: Notes,
}

impl Loop {
    fn new(watch: Arc<Watch>, output: Output) -> Loop {
        let children = watch.places.iter().map(|_| Child::default()).collect();
        let seen = vec![Seen::nothing(); watch.places.len()];
        let mut source = Local(Arc::clone(&watch.table));
        let trace = Recorder::open(&watch.control, &mut source, watch.places.len());
        Loop { trace, watch, output, children, seen, notes: Notes::new() }
    }

    fn run(mut self) {
        for worker in 0..self.children.len() {
            if let Err(error) = self.spawn(worker) {
                self.start_failed(StartError::System {
                    what: "starting a worker",
                    source: error,
                    advice: "look at the limits of processes (ulimit -u) and of open files \
                             (ulimit -n), or use fewer workers",
                });
                break;
            }
        }
        while !self.watch.stopping.load(Ordering::SeqCst) {
            let waits = self.watch.table.flush();
            let next = self.look();
            self.poll(waits, next);
            self.reap();
            self.restart();
        }
        self.stop();
    }

    fn start_failed(&self, error: StartError) {
        let mut failed = self.watch.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(error);
        drop(failed);
        self.watch.control.ring();
    }

    fn spawn(&mut self, worker: usize) -> std::io::Result<()> {
        let (ours, theirs) = mail::pair()?;
        let (stdout, stderr) = self.output.ends()?;
        let child = &mut self.children[worker];
        let marker = Marker {
            control: self.watch.segment.fd().as_raw_fd(),
            bytes: self.watch.segment.len(),
            socket: theirs.as_raw_fd(),
            worker,
            incarnation: child.incarnation,
            parent: std::process::id(),
            in_main: starts_in_main() || self.watch.launch.program.is_beside(),
            pus: self.watch.places[worker].clone(),
        };
        let mut env = environment(&self.watch.launch.env, &marker);
        env.extend(self.watch.launch.program.env());
        let start = process::Start {
            program: self.watch.launch.program.path(),
            arg0: format!("{} worker {worker}", self.watch.launch.name),
            env,
            keep: &[self.watch.segment.fd(), theirs.as_fd()],
            stdout: stdout.as_fd(),
            stderr: stderr.as_fd(),
            own_group: self.watch.launch.own_group,
        };
        self.watch.table.link(worker, ours);
        self.seen[worker] = Seen::nothing();
        child.process = Some(process::start(&start)?);
        child.finished = 0;
        self.watch.control.worker(worker).current.finished.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Kills whoever holds up a job beyond its deadline; says when to look again.
    fn look(&mut self) -> Option<Instant> {
        let alive = |c: &Child| c.process.as_ref().map(|_| c.incarnation);
        let alive: Vec<_> = self.children.iter().map(alive).collect();
        let verdict = self.watch.jobs.look(Instant::now(), &alive, &mut self.seen);
        for (worker, reason) in verdict.kill {
            let child = &mut self.children[worker];
            if let Some((_, pidfd)) = &child.process {
                child.killed_for = reason;
                process::kill(pidfd.as_fd());
            }
        }
        verdict.next
    }

    /// Sleeps until a death, the bell, the next restart, or the next deadline.
    fn poll(&self, mail_waits: bool, deadline: Option<Instant>) {
        let mut fds = vec![PollFd::new(&self.watch.bell, PollFlags::IN)];
        let processes = self.children.iter().filter_map(|c| c.process.as_ref());
        fds.extend(processes.map(|(_, fd)| PollFd::new(fd, PollFlags::IN)));
        let next = self.children.iter().filter_map(|c| c.restart_at).chain(deadline).min();
        let mut limit = next.map(|at| at.saturating_duration_since(Instant::now()));
        if mail_waits {
            limit = Some(limit.unwrap_or(Duration::MAX).min(Duration::from_millis(1)));
        }
        let limit = limit
            .map(|l| Timespec { tv_sec: l.as_secs() as i64, tv_nsec: l.subsec_nanos().into() });
        let _ = poll(&mut fds, limit.as_ref());
        let _ = rustix::io::read(&self.watch.bell, &mut [0u8; 8]);
    }

    fn reap(&mut self) {
        let mut any = false;
        for worker in 0..self.children.len() {
            let Some((pid, pidfd)) = &self.children[worker].process else { continue };
            if let Some(death) = process::reap(pidfd.as_fd()) {
                let pid = pid.as_raw_nonzero().get() as u32;
                self.children[worker].process = None;
                self.mourn(worker, pid, death);
                any = true;
            }
        }
        if any {
            self.notes.settle();
        }
    }

    /// A worker is dead and reaped: recover, and plan its restart.
    fn mourn(&mut self, worker: usize, pid: u32, death: Death) {
        let control = &self.watch.control;
        let child = &mut self.children[worker];
        let death = match child.killed_for.take() {
            Some(reason) if death == Death::Signal(9) => reason,
            _ => death,
        };
        let standing = &control.worker(worker).standing;
        let ready = standing.ready.load(Ordering::Acquire) == u64::from(child.incarnation) + 1;
        let note = self.notes.of(death);
        let owner = Owner { worker: worker as u32, incarnation: child.incarnation };
        let began = self.trace.start();
        self.watch.jobs.recover(owner, pid, death, &note);
        self.trace.end(EventKind::Recovery, began, worker as u64);
        let finished = control.worker(worker).current.finished.load(Ordering::Relaxed);
        child.deaths = if finished > 0 { 1 } else { child.deaths + 1 };
        let killed = death.is_kill();
        match (ready, killed) {
            (true, _) => (child.failed_starts, child.killed_starts) = (0, 0),
            (false, true) => child.killed_starts += 1,
            (false, false) => child.failed_starts += 1,
        }
        child.incarnation += 1;
        let patient = killed && child.killed_starts < MAX_KILLED_STARTS;
        if !(ready || patient) {
            let len = standing.text_len.swap(0, Ordering::AcqRel);
            let reason = match len {
                0 => worker_process::start_failure(death),
                _ => load_text(&standing.text, len),
            };
            if !self.watch.built.load(Ordering::SeqCst) {
                self.start_failed(StartError::Worker { worker, reason });
                return;
            }
            if killed || self.children[worker].failed_starts >= MAX_FAILED_STARTS {
                self.watch.jobs.break_down(&JobError::Broken { worker, reason });
                return;
            }
        }
        let child = &mut self.children[worker];
        let delay = match child.deaths.saturating_sub(RESTARTS_AT_ONCE) {
            0 => 0,
            n => (RESTART_DELAY_MS << (n - 1).min(10)).min(RESTART_DELAY_MAX_MS),
        };
        child.restart_at = Some(Instant::now() + Duration::from_millis(delay));
    }

    fn restart(&mut self) {
        let now = Instant::now();
        for worker in 0..self.children.len() {
            if self.children[worker].restart_at.is_some_and(|at| at <= now) {
                self.children[worker].restart_at = None;
                if let Err(error) = self.spawn(worker) {
                    let child = &mut self.children[worker];
                    child.failed_starts += 1;
                    if child.failed_starts >= MAX_FAILED_STARTS {
                        let reason = error.to_string();
                        self.watch.jobs.break_down(&JobError::Broken { worker, reason });
                    } else {
                        let delay = Duration::from_millis(RESTART_DELAY_MAX_MS);
                        child.restart_at = Some(now + delay);
                    }
                }
            }
        }
    }

    /// Waits for the workers' own end for a while, then kills, then reaps.
    fn stop(&mut self) {
        let at_once = self.watch.at_once.load(Ordering::SeqCst);
        let grace = Duration::from_millis(if at_once { 0 } else { STOP_GRACE_MS });
        let mut end = Instant::now() + grace;
        let mut killed = false;
        loop {
            for (worker, child) in self.children.iter_mut().enumerate() {
                let Some((pid, fd)) = &child.process else { continue };
                if let Some(death) = process::reap(fd.as_fd()) {
                    // A job that another thread waits for ends, its chunk as it was.
                    let owner = Owner { worker: worker as u32, incarnation: child.incarnation };
                    let pid = pid.as_raw_nonzero().get() as u32;
                    self.watch.jobs.recover(owner, pid, death, &self.notes.of(death));
                    child.process = None;
                }
            }
            let mut fds: Vec<_> = self
                .children
                .iter()
                .filter_map(|c| c.process.as_ref())
                .map(|(_, fd)| PollFd::new(fd, PollFlags::IN))
                .collect();
            if fds.is_empty() {
                return;
            }
            let mut left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if killed {
                    // Killed and still there: the kernel holds it (uninterruptible sleep).
                    // It has no claim that matters any more; the system reaps it after us.
                    return;
                }
                killed = true;
                left = Duration::from_secs(5);
                end = Instant::now() + left;
                for (_, fd) in self.children.iter().filter_map(|c| c.process.as_ref()) {
                    process::kill(fd.as_fd());
                }
            }
            let wait =
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let _ = poll(&mut fds, Some(&wait));
        }
    }
}

/// The parent's environment without what belongs to launchers, with one thread a worker for
/// threaded libraries, and with the marker.
fn environment(extra: &[(OsString, OsString)], marker: &Marker) -> Vec<(OsString, OsString)> {
    const ONE_THREAD: [&str; 4] =
        ["RAYON_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"];
    let launcher = |name: &OsString| {
        let name = name.to_string_lossy();
        ["OMPI_", "PMIX_", "PMI_"].iter().any(|prefix| name.starts_with(prefix))
    };
    let mut env: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| !launcher(name) && name != VARIABLE)
        .filter(|(name, _)| !extra.iter().any(|(n, _)| n == name))
        .collect();
    for name in ONE_THREAD {
        if !env.iter().any(|(n, _)| n == name) {
            env.push((name.into(), "1".into()));
        }
    }
    env.extend_from_slice(extra);
    env.push((VARIABLE.into(), marker.to_text().into()));
    env
}
