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

use super::Args;
use crate::array::SharedArray;
use crate::chunk::chunk_count;
use crate::config::{MAX_ARGS, MAX_CHUNKS, MAX_JOBS, MAX_NDIM};
use crate::error::ArgsError;
use crate::layout::{ArgDesc, ArgKind, JobDesc, JobHead};
use crate::segment::Segment;

thread_local! {
    /// What jobs of this thread left, as many as may be in flight at once.
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
    journal_bytes: u64,
    params: usize,
}

impl Description {
    pub(crate) fn of(args: &impl Args) -> Result<Description, ArgsError> {
        let mut d = Description {
            desc: fresh(),
            segments: Vec::new(),
            chunks: None,
            journal_bytes: 0,
            params: 0,
        };
        args.describe(&mut d)?;
        d.desc.head.chunks = d.chunks.unwrap_or(1);
        d.desc.head.journal_bytes = d.journal_bytes;
        d.desc.head.param_bytes = d.params as u64;
        Ok(d)
    }

    /// Bytes of parameters so far.
    pub(crate) fn params(&self) -> usize {
        self.params
    }

    /// The bytes of one more parameter, for which there is room.
    pub(crate) fn add_param(&mut self, bytes: &[u8]) {
        let end = self.params + bytes.len();
        let all = bytemuck::cast_slice_mut::<u64, u8>(&mut self.desc.params);
        all[self.params..end].copy_from_slice(bytes);
        self.params = end;
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
        match self.chunks {
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

    pub(crate) fn array<T: Pod, D: Dimension>(
        &mut self,
        array: &SharedArray<T, D>,
        kind: ArgKind,
        chunk_rows: usize,
    ) -> Result<(), ArgsError> {
        let shape = array.shape();
        if shape.len() > MAX_NDIM {
            return Err(ArgsError::TooManyDimensions { ndim: shape.len() });
        }
        let (rows, row_bytes) = (array.rows() as u64, (array.row_len() * size_of::<T>()) as u64);
        if kind != ArgKind::Whole {
            if chunk_rows == 0 {
                return Err(ArgsError::ChunkZero);
            }
            self.set_chunks(chunk_count(rows, chunk_rows as u64))?;
        }
        if kind == ArgKind::Update {
            self.journal_bytes += rows.min(chunk_rows as u64) * row_bytes;
        }
        let arg = self.next()?;
        arg.kind = kind as u64;
        arg.segment = array.segment().id();
        arg.offset = array.data_offset() as u64;
        arg.rows = rows;
        arg.row_bytes = row_bytes;
        arg.chunk_rows = chunk_rows as u64;
        arg.element_bytes = size_of::<T>() as u64;
        arg.ndim = shape.len() as u64;
        for (to, &from) in arg.shape.iter_mut().zip(shape) {
            *to = from as u64;
        }
        self.segments.push(Arc::clone(array.segment()));
        Ok(())
    }
}
