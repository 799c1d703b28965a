//! One process that runs one function: Python's `Process`, with its value back.
//!
//! It is a pool of one worker and one call, so that it is started, bound, watched and mended by the
//! same code; only that the call is not tried again when the process dies.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytemuck::Pod;

use crate::args::Args;
use crate::ctx::Ctx;
use crate::error::{Death, Error, JobError, Result};
use crate::placement::{Bind, PlacementOptions, PuList, plan};
use crate::pool::{OnDeath, Pool, PoolBuilder, Running};
use crate::topology::Topology;

/// A process that runs one function; made by [`Process::spawn`].
///
/// Dropping it kills the process if it still runs: [`join`](Self::join) it.
///
/// ```
/// use pinpool::{Param, Process};
///
/// let process = Process::spawn(Param(20u64), |n, _| (1..=n).product::<u64>())?;
/// assert_eq!(process.join()?, 2_432_902_008_176_640_000);
/// # Ok::<(), pinpool::Error>(())
/// ```
pub struct Process<R> {
    running: Option<Running<R>>,
    pid: u32,
    pool: Pool,
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// How a process is started; made by [`Process::builder`].
#[derive(Debug, Clone, Default)]
#[must_use = "a process starts when `spawn` is called"]
pub struct ProcessBuilder {
    bind: Option<Bind>,
    pool: PoolBuilder,
}

impl ProcessBuilder {
    /// Binds the process to this PU. By default each process gets the next usable core, and after
    /// the last the first again.
    pub fn on_pu(mut self, pu: usize) -> Self {
        self.bind = Some(Bind::List(PuList::from_pus(&[pu])));
        self
    }

    /// Does not bind the process.
    pub fn unbound(mut self) -> Self {
        self.bind = Some(Bind::None);
        self
    }

    /// As [`PoolBuilder::seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.pool = self.pool.seed(seed);
        self
    }

    /// As [`PoolBuilder::name`].
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.pool = self.pool.name(name);
        self
    }

    /// As [`PoolBuilder::env`].
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.pool = self.pool.env(name, value);
        self
    }

    /// Starts a process that runs `f` on `args`; see [`Process::spawn`].
    ///
    /// # Errors
    /// As [`PoolBuilder::build`] and [`Pool::call`].
    pub fn spawn<A, F, R>(self, args: A, f: F) -> Result<Process<R>>
    where
        A: Args + 'static,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let bind = match self.bind {
            Some(bind) => bind,
            None => next_core()?,
        };
        let pool = self.pool.workers(1).bind(bind).oversubscribe(true).build()?;
        let pid = pool.whereabouts()[0].pid;
        let running = pool.job().on_death(OnDeath::Fail).start_call(&args, f)?;
        Ok(Process { running: Some(running), pid, pool })
    }
}

/// The place after the one that the last process got.
fn next_core() -> Result<Bind> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let all = plan(&Topology::current()?, &PlacementOptions::default().from_env()?)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % all.workers.len().max(1);
    Ok(match all.workers.get(number).and_then(|worker| worker.pu) {
        Some(pu) => Bind::List(PuList::from_pus(&[pu])),
        None => Bind::None,
    })
}

impl Process<()> {
    /// Options for a process to be started.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl<R: Pod> Process<R> {
    /// Starts a process, bound to a core of its own, that runs `f` once.
    ///
    /// `args` are what [`Pool::call`] takes, but nothing that is borrowed for a while only:
    /// [`Param`](crate::Param), a clone of a [`Queue`](crate::Queue), a tuple of such. To work on
    /// a shared array beside the caller use a [scope](Pool::scope).
    ///
    /// # Errors
    /// As [`PoolBuilder::build`] and [`Pool::call`].
    pub fn spawn<A, F>(args: A, f: F) -> Result<Process<R>>
    where
        A: Args + 'static,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
    {
        Process::builder().spawn(args, f)
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the function still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.running.as_ref().is_some_and(|running| !running.is_over(&self.pool))
    }

    /// Waits until the function is over, for so long at most.
    ///
    /// # Errors
    /// [`JobError::TimedOut`]; the process goes on.
    pub fn wait_timeout(&self, limit: Duration) -> std::result::Result<(), JobError> {
        self.running.as_ref().map_or(Ok(()), |running| running.wait_timeout(&self.pool, limit))
    }

    /// Waits for the function and gives its value.
    ///
    /// # Errors
    /// [`JobError::Panic`] with the message; [`JobError::Died`] where the process ended otherwise,
    /// with its [exit status](exit_status) or signal; [`JobError::Cancelled`] after
    /// [`terminate`](Self::terminate).
    pub fn join(mut self) -> Result<R> {
        let running = self.running.take().ok_or(JobError::Cancelled)?;
        running.wait(&self.pool);
        Ok(running.take(&self.pool)?)
    }

    /// Kills the process.
    pub fn terminate(&self) {
        self.pool.terminate();
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        if self.running.as_ref().is_some_and(|running| !running.is_over(&self.pool)) {
            self.pool.terminate();
        }
    }
}

/// What a shell would show as the status of a process whose `join` gave this: 0 where the function
/// gave a value, 101 where it panicked, the status that it exited with, 128 and the signal that
/// killed it.
#[must_use]
pub fn exit_status<R>(joined: &Result<R>) -> i32 {
    match joined {
        Ok(_) => 0,
        Err(Error::Job(JobError::Died { death: Death::Exit(status), .. })) => *status,
        Err(Error::Job(JobError::Died { death: Death::Signal(signal), .. })) => 128 + signal,
        Err(Error::Job(JobError::Cancelled)) => 128 + 9,
        Err(_) => 101,
    }
}
