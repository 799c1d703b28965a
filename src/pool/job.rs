//! One call of `map`, `for_each` or `call`, with its options, from arguments to results.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytemuck::Pod;
use ndarray::Ix1;

use super::Pool;
use super::jobs::{OnDeath, Submission};
use crate::args::{Args, Description};
use crate::array::SharedArray;
use crate::config::{INLINE_RESULT_BYTES, MAX_CHUNKS};
use crate::ctx::Ctx;
use crate::entry::{Entry, ForEach, KernelEntry, Map, TryMap};
use crate::error::{ArgsError, Result};
use crate::segment::Segment;

/// A job that is about to be run, with options of its own.
#[derive(Debug)]
#[must_use = "a job runs when `map`, `for_each` or `call` is called on it"]
pub struct Job<'p> {
    pool: &'p Pool,
    stream: Option<u64>,
    on_death: OnDeath,
}

impl<'p> Job<'p> {
    pub(super) fn new(pool: &'p Pool) -> Job<'p> {
        Job { pool, stream: None, on_death: OnDeath::default() }
    }

    /// The job number of its random streams, below 2^63; else the order of calls gives it.
    pub fn stream(mut self, stream: u64) -> Job<'p> {
        self.stream = Some(stream);
        self
    }

    /// What the job does when a worker dies in one of its chunks.
    pub fn on_death(mut self, on_death: OnDeath) -> Job<'p> {
        self.on_death = on_death;
        self
    }

    /// As [`Pool::map`].
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map<A, F, R>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + 'static,
        R: Pod,
    {
        captures_nothing(&f);
        self.run_map::<R>(&args, Map::<A, F, R>::ENTRY)
    }

    /// As [`Pool::try_map`].
    ///
    /// # Errors
    /// As [`Pool::try_map`].
    pub fn try_map<A, F, R, E>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        captures_nothing(&f);
        self.run_map::<R>(&args, TryMap::<A, F, R, E>::ENTRY)
    }

    /// As [`Pool::for_each`].
    ///
    /// # Errors
    /// As [`Pool::for_each`].
    pub fn for_each<A, F>(self, args: A, f: F) -> Result<()>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + 'static,
    {
        captures_nothing(&f);
        let description = Description::of(&args)?;
        description.chunks.ok_or(ArgsError::NoChunks)?;
        self.run(description, ForEach::<A, F>::ENTRY, None, 0)?;
        Ok(())
    }

    /// As [`Pool::call`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub fn call<A, F, R>(self, args: A, f: F) -> Result<R>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + 'static,
        R: Pod,
    {
        captures_nothing(&f);
        let description = Description::of(&args)?;
        let chunks = description.chunks.unwrap_or(1);
        if chunks != 1 {
            return Err(ArgsError::NotACall { chunks }.into());
        }
        let entry = Map::<A, F, R>::ENTRY;
        if size_of::<R>() > INLINE_RESULT_BYTES {
            let results = SharedArray::<R, Ix1>::zeros(1)?;
            let place = (Arc::clone(results.segment()), results.data_offset());
            self.run(description, entry, Some(place), size_of::<R>())?;
            return Ok(results.as_slice()[0]);
        }
        let bits = self.run(description, entry, None, size_of::<R>())?;
        Ok(bytemuck::pod_read_unaligned(&bytemuck::bytes_of(&bits)[..size_of::<R>()]))
    }

    fn run_map<R: Pod>(
        self,
        args: &impl Args,
        entry: &'static KernelEntry,
    ) -> Result<SharedArray<R, Ix1>> {
        const { assert!(size_of::<R>() > 0, "a kernel without a result is for `for_each`") };
        let description = Description::of(args)?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        let slots =
            usize::try_from(chunks).map_err(|_| ArgsError::TooManyChunks { chunks: MAX_CHUNKS })?;
        let make = |bytes| self.pool.jobs.results.take(bytes);
        let results = SharedArray::<R, Ix1>::create(slots, make)?;
        let place = (Arc::clone(results.segment()), results.data_offset());
        self.run(description, entry, Some(place), size_of::<R>())?;
        Ok(results)
    }

    fn run(
        self,
        args: Description,
        entry: &'static KernelEntry,
        results: Option<(Arc<Segment>, usize)>,
        result_bytes: usize,
    ) -> Result<[u64; INLINE_RESULT_BYTES / 8]> {
        let pool = self.pool;
        pool.check_alive()?;
        let offset =
            entry.offset().ok_or_else(|| ArgsError::ForeignKernel { kernel: entry.name() })?;
        let stream =
            self.stream.unwrap_or_else(|| pool.next_stream.fetch_add(1, Ordering::Relaxed));
        let ticket = pool.jobs.submit(Submission {
            args,
            entry,
            offset,
            results,
            result_bytes,
            stream,
            on_death: self.on_death,
            flags: 0,
        })?;
        pool.drive(&ticket);
        Ok(pool.jobs.finish(&ticket)?)
    }
}

/// Rejects, at compile time, a kernel that captures: it could not be conjured in a worker.
fn captures_nothing<F>(_: &F) {
    const {
        assert!(
            size_of::<F>() == 0,
            "a kernel must not capture: pass values as `Param`, arrays as arguments"
        );
    }
    let _ = PhantomData::<F>;
}
