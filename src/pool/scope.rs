//! Many jobs in flight at once, none of which outlives the scope that it was started in.
//!
//! Modelled on [`std::thread::scope`]: what a job borrows lives longer than `'scope`, and the
//! scope itself, not a handle, waits for the jobs. So forgetting a [`Pending`] is sound, and so is
//! a panic between two jobs.

#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytemuck::Pod;
use ndarray::Ix1;

use super::jobs::OnDeath;
use super::pending::Pending;
use super::running::Running;
use super::{Job, Pool};
use crate::args::Args;
use crate::array::SharedArray;
use crate::ctx::Ctx;
use crate::error::Result;

/// Where jobs are started that run beside the caller; made by [`Pool::scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    pool: &'scope Pool,
    /// Its name among the scopes of the pool: a job says which one waits for it.
    name: u64,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

impl Pool {
    /// Runs `f`, which may start any number of jobs that run at the same time, of any functions;
    /// returns when all of them are over.
    ///
    /// Jobs share the workers chunk by chunk, so that a short job behind a long one is not kept
    /// waiting. What a job borrows is borrowed until the scope ends, also where its handle is
    /// dropped or forgotten. If `f` panics, jobs that are in flight are cancelled first.
    ///
    /// The serial backend has nobody to run a job beside the caller: there a job runs where it is
    /// started.
    ///
    /// ```
    /// use pinpool::{Pool, SharedArray, indices};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let x = SharedArray::from_array(&ndarray::Array1::linspace(0.0f64, 1.0, 1001).view())?;
    /// let (sum, squares) = pool.scope(|s| {
    ///     let a = s.map(x.chunks(100), |c, _| c.sum())?;
    ///     let b = s.map(indices(10), |i, _| i * i)?;
    ///     Ok::<_, pinpool::Error>((a.get()?.total(), b.get()?))
    /// })?;
    /// assert!((sum - 500.5).abs() < 1e-9);
    /// assert_eq!(squares.as_slice()[9], 81);
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    ///
    /// While a job may write into an array, nobody else looks at it:
    /// ```compile_fail,E0502
    /// # use pinpool::{Pool, SharedArray};
    /// # let pool = Pool::new().unwrap();
    /// let mut x = SharedArray::<f64, _>::zeros(10).unwrap();
    /// pool.scope(|s| {
    ///     let job = s.for_each(x.chunks_mut(1), |mut c, _| c.fill(1.0));
    ///     println!("{}", x.view());
    ///     job.unwrap().get()
    /// });
    /// ```
    ///
    /// An array lives as long as the scope, and a handle no longer:
    /// ```compile_fail,E0597
    /// # use pinpool::{Pool, SharedArray};
    /// # let pool = Pool::new().unwrap();
    /// pool.scope(|s| {
    ///     let x = SharedArray::<f64, _>::zeros(10).unwrap();
    ///     s.map(x.chunks(1), |c, _| c[0]).unwrap().get().unwrap();
    /// });
    /// ```
    /// ```compile_fail
    /// # use pinpool::{Pool, indices};
    /// # let pool = Pool::new().unwrap();
    /// let escaped = pool.scope(|s| s.map(indices(3), |i, _| i).unwrap());
    /// ```
    pub fn scope<'env, F, T>(&'env self, f: F) -> T
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
    {
        let name = self.next_scope.fetch_add(1, Ordering::Relaxed);
        let scope = Scope { pool: self, name, scope: PhantomData, env: PhantomData };
        let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        scope.end(result.is_err());
        match result {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a [`map`](Pool::map); its handle gives the array of results.
    ///
    /// # Errors
    /// What stops a job from being started, as for [`Pool::map`]; what happens in it is the
    /// error of [`Pending::get`].
    pub fn map<A, F, R>(&'scope self, args: A, f: F) -> Result<Pending<'scope, SharedArray<R, Ix1>>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().map(args, f)
    }

    /// Starts a [`for_each`](Pool::for_each).
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn for_each<A, F>(&'scope self, args: A, f: F) -> Result<Pending<'scope, ()>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        self.job().for_each(args, f)
    }

    /// Starts a [`call`](Pool::call); its handle gives the value.
    ///
    /// Calls are cheapest, some hundred nanoseconds each, where their arguments are nothing but
    /// [`Param`](crate::Param)s (4 of them and 32 bytes at most) and their result takes 64 bytes at
    /// most: such calls travel together. Each is a job all the same, with a stream, an error and an end
    /// of its own; one that waits for its turn holds up none of the others.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn call<A, F, R>(&'scope self, args: A, f: F) -> Result<Pending<'scope, R>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        // Not by way of a `ScopedJob`: of these there may be many, and it would be moved.
        let running = self.plain_job().start_call(&args, f)?;
        Ok(keep(self.pool, running))
    }

    /// Starts a [`try_map`](Pool::try_map).
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn try_map<A, F, R, E>(
        &'scope self,
        args: A,
        f: F,
    ) -> Result<Pending<'scope, SharedArray<R, Ix1>>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        self.job().try_map(args, f)
    }

    /// A job with options of its own: `s.job().stream(7).map(…)`.
    pub fn job(&'scope self) -> ScopedJob<'scope> {
        ScopedJob { pool: self.pool, job: self.plain_job() }
    }

    #[inline]
    fn plain_job(&self) -> Job<'scope> {
        let mut job = self.pool.job();
        job.scope = self.name;
        job
    }

    /// Waits for every job of the scope; whatever they borrowed is free again.
    fn end(&self, cancel: bool) {
        if self.pool.is_fork() {
            return;
        }
        let jobs = self.pool.jobs.of_scope(self.name);
        if cancel {
            jobs.iter().for_each(|&(slot, epoch)| self.pool.cancel(slot, epoch));
        }
        for (slot, epoch) in jobs {
            self.pool.drive_slot(slot, epoch);
            // The slot is free for others, whether or not anybody asked for the result.
            self.pool.jobs.take_out(slot, epoch);
        }
    }
}

/// A job that is about to be started in a scope; made by [`Scope::job`].
#[derive(Debug)]
#[must_use = "a job starts when `map`, `for_each` or `call` is called on it"]
pub struct ScopedJob<'scope> {
    pool: &'scope Pool,
    job: Job<'scope>,
}

impl<'scope> ScopedJob<'scope> {
    /// As [`Job::stream`].
    pub fn stream(mut self, stream: u64) -> Self {
        self.job = self.job.stream(stream);
        self
    }

    /// As [`Job::part_of`].
    pub fn part_of(mut self, first: u64, total: u64) -> Self {
        self.job = self.job.part_of(first, total);
        self
    }

    /// As [`Job::on_death`].
    pub fn on_death(mut self, on_death: OnDeath) -> Self {
        self.job = self.job.on_death(on_death);
        self
    }

    /// As [`Job::time_limit`].
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.job = self.job.time_limit(limit);
        self
    }

    /// As [`Job::chunk_timeout`].
    pub fn chunk_timeout(mut self, limit: Duration) -> Self {
        self.job = self.job.chunk_timeout(limit);
        self
    }

    /// As [`Scope::map`].
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn map<A, F, R>(self, args: A, f: F) -> Result<Pending<'scope, SharedArray<R, Ix1>>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let running = self.job.start_map(&args, f)?;
        Ok(keep(self.pool, running))
    }

    /// As [`Scope::try_map`].
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn try_map<A, F, R, E>(self, args: A, f: F) -> Result<Pending<'scope, SharedArray<R, Ix1>>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        let running = self.job.start_try_map(&args, f)?;
        Ok(keep(self.pool, running))
    }

    /// As [`Scope::for_each`].
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn for_each<A, F>(self, args: A, f: F) -> Result<Pending<'scope, ()>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        let running = self.job.start_for_each(&args, f)?;
        Ok(keep(self.pool, running))
    }

    /// As [`Scope::call`].
    ///
    /// # Errors
    /// As [`Scope::map`].
    pub fn call<A, F, R>(self, args: A, f: F) -> Result<Pending<'scope, R>>
    where
        A: Args + 'scope,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let running = self.job.start_call(&args, f)?;
        Ok(keep(self.pool, running))
    }
}

/// The scope waits for the job; without workers it is run here and now.
#[inline]
fn keep<T>(pool: &Pool, running: Running<T>) -> Pending<'_, T> {
    if pool.is_serial() {
        running.wait(pool);
    }
    Pending::new(pool, running)
}
