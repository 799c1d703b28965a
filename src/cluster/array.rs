//! Arrays whose rows are dealt to the ranks, and their chunks as arguments of a cluster's jobs.
//!
//! Each rank holds its own rows as a [`SharedArray`]. No row is on two ranks, and none moves.

#![deny(unsafe_code)]

use std::fmt;
use std::ops::Range;

use bytemuck::Pod;
use ndarray::{Dimension, IntoDimension};

use super::Cluster;
use super::deal::Dealing;
use crate::args::{
    Args, Chunks, ChunksMut, ChunksOut, ChunksUndo, Description, Indices, Part, Reader, sealed,
};
use crate::array::SharedArray;
use crate::chunk::{chunk_count, chunk_range};
use crate::error::{ArgsError, Result};

/// An array of which each rank holds a run of rows; made by [`Cluster::zeros`].
///
/// A rank's rows begin at a multiple of `chunk_rows`, and chunks of its jobs may be so long or any
/// length that divides it.
pub struct ClusterArray<T: Pod, D: Dimension> {
    local: SharedArray<T, D>,
    rows: u64,
    chunk_rows: u64,
    first_row: u64,
    /// The first chunk of `chunk_rows` rows that is this rank's.
    first_chunk: u64,
}

/// Chunks that are dealt to the ranks: an argument of a cluster's jobs.
#[derive(Debug)]
pub struct Dealt<A> {
    args: A,
    /// The number of this rank's first chunk; what is wrong with the chunks' length is told when
    /// the job begins.
    dealt: Result<(u64, Dealing), ArgsError>,
}

impl<T: Pod, D: Dimension> ClusterArray<T, D> {
    /// Length of axis 0 of the whole array.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows that this rank holds.
    #[must_use]
    pub fn my_rows(&self) -> Range<u64> {
        self.first_row..self.first_row + self.local.rows() as u64
    }

    /// Rows that stay together.
    #[must_use]
    pub fn chunk_rows(&self) -> u64 {
        self.chunk_rows
    }

    /// This rank's rows.
    #[must_use]
    pub fn local(&self) -> &SharedArray<T, D> {
        &self.local
    }

    /// This rank's rows, to change.
    #[must_use]
    pub fn local_mut(&mut self) -> &mut SharedArray<T, D> {
        &mut self.local
    }

    /// As [`SharedArray::chunks`], over all ranks.
    #[must_use]
    pub fn chunks(&self, rows: usize) -> Dealt<Chunks<'_, T, D>> {
        Dealt { dealt: self.dealt(rows), args: self.local.chunks(rows) }
    }

    /// As [`SharedArray::chunks_mut`], over all ranks.
    #[must_use]
    pub fn chunks_mut(&mut self, rows: usize) -> Dealt<ChunksMut<'_, T, D>> {
        Dealt { dealt: self.dealt(rows), args: self.local.chunks_mut(rows) }
    }

    /// As [`SharedArray::chunks_undo`], over all ranks.
    #[must_use]
    pub fn chunks_undo(&mut self, rows: usize) -> Dealt<ChunksUndo<'_, T, D>> {
        Dealt { dealt: self.dealt(rows), args: self.local.chunks_undo(rows) }
    }

    /// As [`SharedArray::chunks_out`], over all ranks.
    #[must_use]
    pub fn chunks_out(&mut self, rows: usize) -> Dealt<ChunksOut<'_, T, D>> {
        Dealt { dealt: self.dealt(rows), args: self.local.chunks_out(rows) }
    }

    fn dealt(&self, rows: usize) -> Result<(u64, Dealing), ArgsError> {
        let rows = rows as u64;
        if rows == 0 {
            return Err(ArgsError::ChunkZero);
        }
        if !self.chunk_rows.is_multiple_of(rows) {
            return Err(ArgsError::CrossesRanks { rows, dealt: self.chunk_rows });
        }
        let stride = self.chunk_rows / rows;
        Ok((self.first_chunk * stride, Dealing { total: chunk_count(self.rows, rows), stride }))
    }
}

impl<T: Pod, D: Dimension> fmt::Debug for ClusterArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterArray")
            .field("rows", &self.rows)
            .field("my_rows", &self.my_rows())
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes an array of zero bytes whose rows are dealt to the ranks by whole chunks of
    /// `chunk_rows` rows; every rank calls it.
    ///
    /// # Errors
    /// [`ArgsError::ChunkZero`]; [`ClusterError::Rank`](super::ClusterError::Rank) where some rank
    /// has no room for its rows.
    pub fn zeros<T: Pod, D: Dimension>(
        &self,
        shape: impl IntoDimension<Dim = D>,
        chunk_rows: usize,
    ) -> Result<ClusterArray<T, D>> {
        if chunk_rows == 0 {
            return Err(ArgsError::ChunkZero.into());
        }
        let mut dim = shape.into_dimension();
        let (rows, chunk_rows) =
            (dim.slice().first().map_or(1, |&rows| rows as u64), chunk_rows as u64);
        let dealing = Dealing { total: chunk_count(rows, chunk_rows), stride: 1 };
        let mine = self.deal().mine(dealing);
        let start = chunk_range(rows, chunk_rows, mine.start).start;
        let end = chunk_range(rows, chunk_rows, mine.end).start;
        if let Some(axis_0) = dim.slice_mut().first_mut() {
            *axis_0 = (end - start) as usize;
        }
        let row_bytes = dim.slice().iter().skip(1).product::<usize>() * size_of::<T>();
        let local = SharedArray::zeros(dim).map_err(Into::into);
        let local = self.agree_on("zeros", &[rows, chunk_rows, row_bytes as u64], local)?;
        Ok(ClusterArray { local, rows, chunk_rows, first_row: start, first_chunk: mine.start })
    }

    /// An argument that gives each of `n` chunks, dealt to the ranks, its own number.
    #[must_use]
    pub fn indices(&self, n: u64) -> Dealt<Indices> {
        let dealing = Dealing { total: n, stride: 1 };
        let mine = self.deal().mine(dealing);
        let args = crate::args::indices(mine.end - mine.start);
        Dealt { dealt: Ok((mine.start, dealing)), args }
    }
}

impl<A: sealed::Describe> sealed::Describe for Dealt<A> {
    fn describe(&self, job: &mut Description) -> Result<(), ArgsError> {
        let (first, dealing) = self.dealt.clone()?;
        if !job.dealt.join(dealing) {
            return Err(ArgsError::UnequalDealing { argument: job.desc.head.args });
        }
        job.part = Some(Part { first, total: dealing.total });
        self.args.describe(job)
    }
}

#[allow(unsafe_code, reason = "the trait's function is unsafe to call")]
impl<A: Args> Args for Dealt<A> {
    type Item<'w> = A::Item<'w>;

    unsafe fn item<'w>(reader: &mut Reader<'w>) -> A::Item<'w> {
        // SAFETY: the contract is the caller's; what is described is the argument inside.
        unsafe { A::item(reader) }
    }
}
