//! Jobs of a cluster: each rank's pool runs its part, all agree on how it went, and slots are
//! brought together.
//!
//! ```text
//! every rank:  describe -> own pool runs its chunks -> agree -> gather the slots, or fold them
//! ```

#![forbid(unsafe_code)]

use std::any::type_name;

use bytemuck::Pod;
use ndarray::Ix1;

use super::Cluster;
use super::deal::Dealing;
use super::fold::Partial;
use crate::args::{Args, Description};
use crate::array::SharedArray;
use crate::ctx::Ctx;
use crate::error::{ArgsError, Result};
use crate::pool::{Job, OnDeath};

/// A job on all ranks that is about to be run, with options of its own; made by [`Cluster::job`].
#[derive(Debug)]
#[must_use = "a job runs when `map` or `for_each` is called on it"]
pub struct ClusterJob<'c> {
    cluster: &'c Cluster,
    stream: Option<u64>,
    on_death: OnDeath,
}

impl<'c> ClusterJob<'c> {
    pub(super) fn new(cluster: &'c Cluster) -> ClusterJob<'c> {
        ClusterJob { cluster, stream: None, on_death: OnDeath::default() }
    }

    /// As [`Job::stream`].
    pub fn stream(mut self, stream: u64) -> ClusterJob<'c> {
        self.stream = Some(stream);
        self
    }

    /// As [`Job::on_death`].
    pub fn on_death(mut self, on_death: OnDeath) -> ClusterJob<'c> {
        self.on_death = on_death;
        self
    }

    /// As [`Cluster::map`].
    ///
    /// # Errors
    /// As [`Cluster::map`].
    pub fn map<A, F, R>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let gathered = self.run("map", type_name::<(F, R)>(), args, |job, args, dealing| {
            self.cluster.room(job.map(args, f)?, dealing)
        });
        let ((slots, all), dealing) = gathered?;
        Ok(self.cluster.bring_together(slots, all, dealing))
    }

    /// As [`Cluster::try_map`].
    ///
    /// # Errors
    /// As [`Cluster::try_map`].
    pub fn try_map<A, F, R, E>(self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        let gathered = self.run("try_map", type_name::<(F, R)>(), args, |job, args, dealing| {
            self.cluster.room(job.try_map(args, f)?, dealing)
        });
        let ((slots, all), dealing) = gathered?;
        Ok(self.cluster.bring_together(slots, all, dealing))
    }

    /// As [`Cluster::for_each`].
    ///
    /// # Errors
    /// As [`Cluster::for_each`].
    pub fn for_each<A, F>(self, args: A, f: F) -> Result<()>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        let done =
            self.run("for_each", type_name::<F>(), args, |job, args, _| job.for_each(args, f));
        done.map(|_| ())
    }

    /// As [`Cluster::map_reduce`].
    ///
    /// # Errors
    /// As [`Cluster::map_reduce`].
    pub fn map_reduce<A, F, R>(self, args: A, f: F, fold: impl Fn(R, R) -> R) -> Result<Option<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        let done =
            self.run("map_reduce", type_name::<(F, R)>(), args, |job, args, _| job.map(args, f));
        let (slots, dealing) = done?;
        Ok(self.cluster.fold(slots.as_slice(), dealing, &fold))
    }

    /// Runs this rank's part and hears how the others fared.
    fn run<A: Args, T>(
        &self,
        call: &'static str,
        kernel: &'static str,
        args: A,
        run: impl FnOnce(Job<'_>, A, Dealing) -> Result<T>,
    ) -> Result<(T, Dealing)> {
        let cluster = self.cluster;
        let stream = self.stream.unwrap_or_else(|| cluster.next_stream());
        let dealing = dealing_of(&args);
        let mut words = [stream, 0, 0];
        if let Ok(dealing) = &dealing {
            words = [stream, dealing.total, dealing.stride];
        }
        let outcome = dealing.map_err(Into::into).and_then(|dealing| {
            let job = cluster.pool().stream(stream).on_death(self.on_death);
            Ok((run(job, args, dealing)?, dealing))
        });
        cluster.agree_as(call, kernel, &words, outcome)
    }
}

/// How the chunks of a job are dealt: by all of its chunked arguments, in the same way.
fn dealing_of(args: &impl Args) -> std::result::Result<Dealing, ArgsError> {
    Description::of(args)?.dealt.dealing().ok_or(ArgsError::NotDealt)
}

impl Cluster {
    /// Runs `f` once for each chunk, each on the rank that it is dealt to; every rank gets all
    /// results, by the number of the chunk, with the bits that one pool gives.
    ///
    /// Arguments and kernels are those of [`Pool::map`](crate::Pool::map), with chunks of a
    /// [`ClusterArray`](super::ClusterArray) or [`Cluster::indices`] for what is chunked. A
    /// [`whole`](SharedArray::whole) array or a [`Param`](crate::Param) is each rank's own, and
    /// must be the same on all. Every rank makes the same call.
    ///
    /// # Errors
    /// [`ClusterError::Rank`](super::ClusterError::Rank) on all ranks where one fails: a kernel's
    /// error or panic, refused arguments, no room for the slots.
    pub fn map<A, F, R>(&self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().map(args, f)
    }

    /// As [`map`](Self::map), with a kernel that may fail.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn try_map<A, F, R, E>(&self, args: A, f: F) -> Result<SharedArray<R, Ix1>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        self.job().try_map(args, f)
    }

    /// Runs `f` once for each chunk, for what it does to its chunks; nothing is sent but whether
    /// all went well.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn for_each<A, F>(&self, args: A, f: F) -> Result<()>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) + Copy + Send + 'static,
    {
        self.job().for_each(args, f)
    }

    /// Runs `f` once for each chunk and folds the results by the fixed tree over the chunks'
    /// numbers; every rank gets the value, with the bits that
    /// [`Pool::map_reduce`](crate::Pool::map_reduce) gives. `None` for no chunks.
    ///
    /// Ranks send folded subtrees and not slots: some 64 at most, however many chunks there are.
    /// `fold` runs on several ranks.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_reduce<A, F, R>(&self, args: A, f: F, fold: impl Fn(R, R) -> R) -> Result<Option<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> R + Copy + Send + 'static,
        R: Pod,
    {
        self.job().map_reduce(args, f, fold)
    }

    /// A job with options of its own.
    pub fn job(&self) -> ClusterJob<'_> {
        ClusterJob::new(self)
    }

    /// A job whose random streams are those of job number `stream`, whatever was run before.
    pub fn stream(&self, stream: u64) -> ClusterJob<'_> {
        self.job().stream(stream)
    }

    /// Memory for the slots of all ranks beside this one's.
    fn room<R: Pod>(&self, slots: SharedArray<R, Ix1>, dealing: Dealing) -> Result<Slots<R>> {
        let Dealing { total, .. } = dealing;
        let len = usize::try_from(total).map_err(|_| ArgsError::TooManyChunks { chunks: total })?;
        let all = if self.ranks() > 1 { Some(SharedArray::zeros(len)?) } else { None };
        Ok((slots, all))
    }

    fn bring_together<R: Pod>(
        &self,
        slots: SharedArray<R, Ix1>,
        all: Option<SharedArray<R, Ix1>>,
        dealing: Dealing,
    ) -> SharedArray<R, Ix1> {
        let Some(mut all) = all else { return slots };
        let bytes = |chunks: &u64| *chunks as usize * size_of::<R>();
        let counts: Vec<usize> = self.deal().counts(dealing).iter().map(bytes).collect();
        let to = bytemuck::cast_slice_mut(all.as_mut_slice());
        self.comm().gather_to_all(bytemuck::cast_slice(slots.as_slice()), &counts, to);
        all
    }

    /// Folds the slots of all ranks: in pairs of neighbours, then in pairs of pairs.
    fn fold<R: Pod>(&self, slots: &[R], dealing: Dealing, fold: &impl Fn(R, R) -> R) -> Option<R> {
        let (comm, rank, total) = (self.comm(), self.rank(), dealing.total);
        if total == 0 {
            return None;
        }
        let first = self.deal().mine(dealing).start;
        let mut partial = Partial::of(first, total, slots, fold);
        let mut step = 1;
        while step < self.ranks() {
            if rank % (2 * step) == step {
                comm.send(rank - step, &partial.to_bytes());
                break;
            }
            if rank + step < self.ranks() {
                let right = Partial::from_bytes(total, &comm.receive(rank + step));
                partial.join(&right, fold);
            }
            step *= 2;
        }
        let mut value = partial.root().unwrap_or_else(R::zeroed);
        comm.broadcast(0, bytemuck::bytes_of_mut(&mut value));
        Some(value)
    }
}

/// This rank's slots, and room for all ranks' where there are others.
type Slots<R> = (SharedArray<R, Ix1>, Option<SharedArray<R, Ix1>>);
