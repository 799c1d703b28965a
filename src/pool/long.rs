//! Results of variable length: each chunk may give as many elements as a bound allows.
//!
//! Slots are of one length, so that who wrote what where follows from the chunk's number alone, and
//! a chunk that is run again after a death writes to the same place. Pages of slots that stay empty
//! cost memory all the same, which is what the bound is for.

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
use crate::entry::{Entry, KernelEntry, LONG_HEAD_BYTES, MapLong};
use crate::error::{ArgsError, Result};

/// What [`Pool::map_vecs`] and [`Pool::map_bytes`] give: a slice of elements for each chunk.
#[derive(Debug)]
pub struct Lists<T: Pod> {
    slots: SharedArray<u8, Ix1>,
    stride: usize,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Pod> Lists<T> {
    /// How many there are: one a chunk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What chunk `i` gave, read where the worker wrote it.
    ///
    /// # Panics
    /// Where there is no such chunk.
    #[must_use]
    pub fn get(&self, i: usize) -> &[T] {
        assert!(i < self.len, "list {i} of {}", self.len);
        let slot = &self.slots.as_slice()[i * self.stride..(i + 1) * self.stride];
        let (head, elements) = slot.split_at(LONG_HEAD_BYTES);
        let len: u64 = bytemuck::pod_read_unaligned(&head[..8]);
        let bytes = (len as usize).saturating_mul(size_of::<T>()).min(elements.len());
        bytemuck::cast_slice(&elements[..bytes - bytes % size_of::<T>()])
    }

    /// All of them in the order of the chunks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[T]> {
        (0..self.len).map(|i| self.get(i))
    }
}

/// What [`Pool::map_strings`] gives: a text for each chunk.
#[derive(Debug)]
pub struct Strings {
    lists: Lists<u8>,
}

impl Strings {
    /// How many there are: one a chunk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lists.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// What chunk `i` gave.
    ///
    /// # Panics
    /// Where there is no such chunk.
    #[must_use]
    pub fn get(&self, i: usize) -> &str {
        std::str::from_utf8(self.lists.get(i)).expect("a kernel's text was copied whole")
    }

    /// All of them in the order of the chunks.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }
}

impl Job<'_> {
    /// As [`Pool::map_vecs`].
    ///
    /// # Errors
    /// As [`Pool::map_vecs`].
    pub fn map_vecs<A, F, T>(self, args: A, bound: usize, f: F) -> Result<Lists<T>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> Vec<T> + Copy + Send + 'static,
        T: Pod,
    {
        super::job::captures_nothing(&f);
        self.map_long(&args, bound, MapLong::<A, F, Vec<T>, T>::ENTRY)
    }

    /// As [`Pool::map_bytes`].
    ///
    /// # Errors
    /// As [`Pool::map_vecs`].
    pub fn map_bytes<A, F, B>(self, args: A, bound: usize, f: F) -> Result<Lists<u8>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> B + Copy + Send + 'static,
        B: AsRef<[u8]>,
    {
        super::job::captures_nothing(&f);
        self.map_long(&args, bound, MapLong::<A, F, B, u8>::ENTRY)
    }

    /// As [`Pool::map_strings`].
    ///
    /// # Errors
    /// As [`Pool::map_vecs`].
    pub fn map_strings<A, F, S>(self, args: A, bound: usize, f: F) -> Result<Strings>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> S + Copy + Send + 'static,
        S: AsRef<str> + AsRef<[u8]>,
    {
        super::job::captures_nothing(&f);
        Ok(Strings { lists: self.map_long(&args, bound, MapLong::<A, F, S, u8>::ENTRY)? })
    }

    fn map_long<T: Pod>(
        self,
        args: &impl Args,
        bound: usize,
        entry: &'static KernelEntry,
    ) -> Result<Lists<T>> {
        const { assert!(size_of::<T>() > 0 && align_of::<T>() <= LONG_HEAD_BYTES) };
        let description = Description::of(args)?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        // Exactly the bound, and all elements are aligned: both parts are multiples of that.
        // A product that is too large for memory is too large for `create`, which says so.
        let stride = bound.saturating_mul(size_of::<T>()).saturating_add(LONG_HEAD_BYTES);
        let bytes = (chunks as usize).saturating_mul(stride);
        let slots = self.slots::<u8>(bytes)?;
        let place = (Arc::clone(slots.segment()), slots.data_offset());
        let ticket = self.publish(description, entry, Some(place), stride)?;
        let len = chunks as usize;
        let lists = Lists { slots, stride, len, element: PhantomData };
        self.end(Running { ticket, chunks, value: Value::Made(lists) })
    }
}

impl Pool {
    /// As [`map`](Self::map), with a kernel that gives any number of elements up to `bound`.
    ///
    /// ```
    /// use pinpool::{Pool, indices};
    ///
    /// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
    /// let divisors = pool.map_vecs(indices(13), 12, |n, _| {
    ///     (1..=n).filter(|d| n % d == 0).collect::<Vec<_>>()
    /// })?;
    /// assert_eq!(divisors.get(12), [1, 2, 3, 4, 6, 12]);
    /// # Ok::<(), pinpool::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`map`](Self::map); a chunk that gives more than `bound` elements is a
    /// [`JobError::Failed`](crate::JobError::Failed) that says how many bytes it has.
    pub fn map_vecs<A, F, T>(&self, args: A, bound: usize, f: F) -> Result<Lists<T>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> Vec<T> + Copy + Send + 'static,
        T: Pod,
    {
        self.job().map_vecs(args, bound, f)
    }

    /// As [`map_vecs`](Self::map_vecs), with a kernel that gives anything made of bytes.
    ///
    /// # Errors
    /// As [`map_vecs`](Self::map_vecs).
    pub fn map_bytes<A, F, B>(&self, args: A, bound: usize, f: F) -> Result<Lists<u8>>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> B + Copy + Send + 'static,
        B: AsRef<[u8]>,
    {
        self.job().map_bytes(args, bound, f)
    }

    /// As [`map_vecs`](Self::map_vecs), with a kernel that gives a text of up to `bound` bytes.
    ///
    /// # Errors
    /// As [`map_vecs`](Self::map_vecs).
    pub fn map_strings<A, F, S>(&self, args: A, bound: usize, f: F) -> Result<Strings>
    where
        A: Args,
        F: for<'w> Fn(A::Item<'w>, &mut Ctx) -> S + Copy + Send + 'static,
        S: AsRef<str> + AsRef<[u8]>,
    {
        self.job().map_strings(args, bound, f)
    }
}
