//! A job's arguments as the caller's side collects them, before the job has a slot.
//!
//! The plain data of a job is 2.6 KiB, of which most jobs use a hundred bytes: making and clearing
//! it anew would cost more than all else that a small call does. So it is used again, uncleared;
//! nobody reads beyond the arguments and parameters that its head counts.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;

use bytemuck::{Pod, Zeroable};
use ndarray::Dimension;

use super::{Args, Part, journal_bytes};
use crate::array::SharedArray;
use crate::chunk::chunk_count;
use crate::config::{MAX_ARGS, MAX_CHUNKS, MAX_JOBS, MAX_NDIM, MAX_PARAM_BYTES};
use crate::error::ArgsError;
use crate::layout::{ArgDesc, ArgKind, JobDesc, JobHead};
use crate::segment::Segment;

thread_local! {
    /// What jobs of this thread left, as many as may be in flight at once.
    #[expect(clippy::vec_box, reason = "a job takes the box as it is; 2.6 KiB are not to be moved")]
    static SPARE: RefCell<Vec<Box<JobDesc>>> = const { RefCell::new(Vec::new()) };
}

/// A description without arguments.
fn fresh() -> Box<JobDesc> {
    match SPARE.try_with(|spare| spare.borrow_mut().pop()) {
        Ok(Some(mut desc)) => {
            desc.head = JobHead::zeroed();
            desc
        }
        _ => Box::new(JobDesc::zeroed()),
    }
}

/// Keeps the memory of a description for a later job.
pub(crate) fn reuse(desc: Box<JobDesc>) {
    // A thread that ends has no use for it: then it goes.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < MAX_JOBS {
            spare.push(desc);
        }
    });
}

/// A job's arguments as they are collected: plain data, and what keeps the memory alive.
#[doc(hidden)]
#[derive(Debug)]
pub struct Description {
    pub(crate) desc: Box<JobDesc>,
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) chunks: Option<u64>,
    /// The larger job that this one is a part of.
    pub(crate) part: Option<Part>,
    /// Which of the arguments are dealt to ranks, and how.
    #[cfg(feature = "mpi")]
    pub(crate) dealt: crate::cluster::deal::DealtArgs,
    params: usize,
}

impl Description {
    pub(crate) fn of(args: &impl Args) -> Result<Description, ArgsError> {
        let mut description = Description::empty();
        args.describe(&mut description)?;
        let mut description = description.complete();
        if let Some(part) = description.part {
            description.set_part(part)?;
        }
        Ok(description)
    }

    /// One to which arguments are added, to be `complete`d then.
    pub(crate) fn empty() -> Description {
        Description {
            desc: fresh(),
            segments: Vec::new(),
            chunks: None,
            part: None,
            #[cfg(feature = "mpi")]
            dealt: Default::default(),
            params: 0,
        }
    }

    pub(crate) fn complete(mut self) -> Description {
        self.desc.head.chunks = self.chunks.unwrap_or(1);
        self.desc.head.total_chunks = self.desc.head.chunks;
        // No chunk is longer than the first.
        self.desc.head.journal_bytes = journal_bytes(&self.desc, 0) as u64;
        self.desc.head.param_bytes = self.params as u64;
        self
    }

    pub(crate) fn next(&mut self) -> Result<&mut ArgDesc, ArgsError> {
        let i = self.desc.head.args as usize;
        if i == MAX_ARGS {
            return Err(ArgsError::TooManyArguments);
        }
        self.desc.head.args += 1;
        self.desc.args[i] = ArgDesc::zeroed();
        Ok(&mut self.desc.args[i])
    }

    pub(crate) fn set_chunks(&mut self, chunks: u64) -> Result<(), ArgsError> {
        if chunks > MAX_CHUNKS {
            return Err(ArgsError::TooManyChunks { chunks });
        }
        #[cfg(feature = "mpi")]
        self.dealt.count_chunked();
        match self.chunks {
            // Of one rank and of all: no wonder that they are not the same number.
            #[cfg(feature = "mpi")]
            Some(first) if first != chunks && self.dealt.is_mixed() => Err(ArgsError::NotDealt),
            Some(first) if first != chunks => Err(ArgsError::UnequalChunks {
                first,
                other: chunks,
                argument: self.desc.head.args,
            }),
            _ => {
                self.chunks = Some(chunks);
                Ok(())
            }
        }
    }

    /// Makes the job a part of a larger one.
    pub(crate) fn set_part(&mut self, part: Part) -> Result<(), ArgsError> {
        let Part { first, total } = part;
        let chunks = self.chunks.unwrap_or(1);
        if first.checked_add(chunks).is_none_or(|end| end > total) {
            return Err(ArgsError::NotAPart { first, chunks, total });
        }
        self.desc.head.first_chunk = first;
        self.desc.head.total_chunks = total;
        Ok(())
    }

    pub(crate) fn array<T: Pod, D: Dimension>(
        &mut self,
        array: &SharedArray<T, D>,
        kind: ArgKind,
        chunk_rows: usize,
    ) -> Result<(), ArgsError> {
        let (segment, offset) = (array.segment(), array.data_offset());
        self.untyped(segment, offset, array.shape(), size_of::<T>(), kind, chunk_rows)
    }

    /// An array whose element type is not known to the compiler.
    pub(crate) fn untyped(
        &mut self,
        segment: &Arc<Segment>,
        data_offset: usize,
        shape: &[usize],
        item_bytes: usize,
        kind: ArgKind,
        chunk_rows: usize,
    ) -> Result<(), ArgsError> {
        if !segment.is_whole() {
            let name = segment.label().into_owned();
            return Err(ArgsError::Truncated { name });
        }
        if shape.len() > MAX_NDIM {
            return Err(ArgsError::TooManyDimensions { ndim: shape.len() });
        }
        let rows = shape.first().copied().unwrap_or(1) as u64;
        let row_bytes = (shape.iter().skip(1).product::<usize>() * item_bytes) as u64;
        if kind != ArgKind::Whole {
            if chunk_rows == 0 {
                return Err(ArgsError::ChunkZero);
            }
            self.set_chunks(chunk_count(rows, chunk_rows as u64))?;
        }
        let arg = self.next()?;
        arg.kind = kind as u64;
        arg.segment = segment.id();
        arg.offset = data_offset as u64;
        arg.rows = rows;
        arg.row_bytes = row_bytes;
        arg.chunk_rows = chunk_rows as u64;
        arg.element_bytes = item_bytes as u64;
        arg.ndim = shape.len() as u64;
        for (to, &from) in arg.shape.iter_mut().zip(shape) {
            *to = from as u64;
        }
        self.segments.push(Arc::clone(segment));
        Ok(())
    }

    /// Bytes for every chunk, as `Param` has them.
    pub(crate) fn param(&mut self, value: &[u8]) -> Result<(), ArgsError> {
        let (start, len) = (self.params, value.len());
        let bytes = start.saturating_add(len);
        if bytes > MAX_PARAM_BYTES {
            return Err(ArgsError::ParamsTooLarge { bytes });
        }
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.desc.params)[start..bytes]
            .copy_from_slice(value);
        self.params = bytes;
        let arg = self.next()?;
        arg.kind = ArgKind::Param as u64;
        arg.offset = start as u64;
        arg.rows = len as u64;
        Ok(())
    }
}
