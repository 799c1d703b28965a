//! All failures of a fallible map, and all values beside them.

#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Arc;

use bytemuck::Pod;
use ndarray::Ix1;

use super::running::{Running, Value};
use super::{Job, Pool};
use crate::args::{Args, Description};
use crate::array::SharedArray;
use crate::ctx::Ctx;
use crate::entry::{
    Entry, TryMapAll, VERDICT_BYTES, VERDICT_DIED, VERDICT_GOOD, VERDICT_PANICKED,
    VERDICT_TEXT_BYTES,
};
use crate::error::{ArgsError, Result};
use crate::layout::KEEP_GOING;

/// Why one chunk of [`Pool::try_map_all`] has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("chunk {chunk} {}: {message}", match (panicked, died) {
    (true, _) => "panicked",
    (_, true) => "has killed its workers",
    _ => "failed",
})]
pub struct ChunkError {
    /// Which chunk; in a job that is a part of a larger one, its number there.
    pub chunk: u64,
    /// Whether its kernel panicked, and did not return an error.
    pub panicked: bool,
    /// Whether its worker died in it, as often as [`config`](crate::config) allows.
    pub died: bool,
    /// The first 120 bytes of the error's or panic's text.
    pub message: String,
}

/// What [`Pool::try_map_all`] gives: for each chunk a value or an error.
#[derive(Debug)]
pub struct Outcomes<R: Pod> {
    slots: SharedArray<u8, Ix1>,
    len: usize,
    first: u64,
    value: PhantomData<R>,
}

impl<R: Pod> Outcomes<R> {
    const STRIDE: usize = VERDICT_BYTES + size_of::<R>() + VERDICT_TEXT_BYTES;

    /// How many chunks there were.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How chunk `i` ended.
    ///
    /// # Errors
    /// The chunk's own error.
    ///
    /// # Panics
    /// Where there is no such chunk.
    pub fn get(&self, i: usize) -> std::result::Result<R, ChunkError> {
        assert!(i < self.len, "chunk {i} of {}", self.len);
        let slot = &self.slots.as_slice()[i * Self::STRIDE..(i + 1) * Self::STRIDE];
        let (head, rest) = slot.split_at(VERDICT_BYTES);
        let (value, text) = rest.split_at(size_of::<R>());
        let verdict: u64 = bytemuck::pod_read_unaligned(head);
        if verdict == VERDICT_GOOD {
            return Ok(bytemuck::pod_read_unaligned(value));
        }
        let len = ((verdict >> 8) as usize).min(text.len());
        Err(ChunkError {
            chunk: self.first + i as u64,
            panicked: verdict & 0xff == VERDICT_PANICKED,
            died: verdict & 0xff == VERDICT_DIED,
            message: String::from_utf8_lossy(&text[..len]).into_owned(),
        })
    }

    /// Values and errors in the order of the chunks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = std::result::Result<R, ChunkError>> {
        (0..self.len).map(|i| self.get(i))
    }

    /// The chunks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = ChunkError> {
        self.iter().filter_map(std::result::Result::err)
    }

    /// The chunks that gave a value, in order, with their numbers.
    pub fn values(&self) -> impl Iterator<Item = (u64, R)> {
        self.iter().enumerate().filter_map(|(i, outcome)| Some((i as u64, outcome.ok()?)))
    }
}

impl Job<'_> {
    /// As [`Pool::try_map_all`].
    ///
    /// # Errors
    /// As [`Pool::try_map_all`].
    pub fn try_map_all<A, F, R, E>(mut self, args: A, f: F) -> Result<Outcomes<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        super::job::captures_nothing(&f);
        let description = Description::of(&args)?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        let stride = Outcomes::<R>::STRIDE;
        let len = chunks as usize;
        let first = self.part.map_or(description.desc.head.first_chunk, |part| part.first);
        let slots = self.slots::<u8>(len.saturating_mul(stride))?;
        let place = (Arc::clone(slots.segment()), slots.data_offset());
        self.flags |= KEEP_GOING;
        let entry = TryMapAll::<A, F, R, E>::ENTRY;
        let ticket = self.publish(description, entry, Some(place), stride)?;
        let outcomes = Outcomes { slots, len, first, value: PhantomData };
        self.end(Running { ticket, chunks, value: Value::Made(outcomes) })
    }
}

impl Pool {
    /// As [`try_map`](Self::try_map), but a chunk that fails, panics, or kills each worker that
    /// runs it does not end the job: all chunks are run, and each has a value or an error. What a
    /// failed chunk changed in place is put back as it was. The first of
    /// [`failures`](Outcomes::failures) is the same in every run.
    ///
    /// # Errors
    /// As [`map`](Self::map), except for failures, panics and deaths in the kernel.
    pub fn try_map_all<A, F, R, E>(&self, args: A, f: F) -> Result<Outcomes<R>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> std::result::Result<R, E> + Copy + Send + 'static,
        R: Pod,
        E: std::fmt::Display,
    {
        self.job().try_map_all(args, f)
    }
}
