//! Jobs whose arguments and results have types that the compiler does not know: what C has.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::Job;
use super::running::{Running, Value};
use super::ticket::Bits;
use crate::args::Description;
use crate::array::AnyArray;
use crate::config::INLINE_RESULT_BYTES;
use crate::element::Dtype;
use crate::entry::KernelEntry;
use crate::error::{ArgsError, Result};

/// A kernel as the parent speaks of it: what errors call it, and what the workers call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) entry: &'static KernelEntry,
    pub(crate) offset: i64,
}

impl Job<'_> {
    /// Publishes a job with a slot for each chunk, or with none, and does not wait. The caller
    /// sees to it that the arrays described are used by nobody else until the job is over.
    pub(crate) fn start_any(
        &self,
        description: Description,
        kernel: Kernel,
        result: Option<Dtype>,
    ) -> Result<Running<Option<AnyArray>>> {
        self.pool.check_alive()?;
        let chunks = description.chunks.ok_or(ArgsError::NoChunks)?;
        let slots = result
            .map(|dtype| AnyArray::create(dtype, &[chunks as usize], |bytes| self.take(bytes)))
            .transpose()?;
        let place = slots.as_ref().map(|s| (Arc::clone(s.segment()), s.data_offset()));
        let bytes = slots.as_ref().map_or(0, |s| s.dtype().item_bytes());
        let ticket = self.publish_at(description, kernel.entry, kernel.offset, place, bytes)?;
        let running = Running { ticket, chunks, value: Value::Made(slots) };
        self.pool.drive_here(&running);
        Ok(running)
    }

    /// Publishes a job of one chunk whose result fits its slot of the control block.
    pub(crate) fn start_any_call(
        &self,
        description: Description,
        kernel: Kernel,
        result_bytes: usize,
    ) -> Result<Running<Bits>> {
        debug_assert!(result_bytes <= INLINE_RESULT_BYTES);
        let chunks = description.chunks.unwrap_or(1);
        if chunks != 1 {
            return Err(ArgsError::NotACall { chunks }.into());
        }
        let ticket =
            self.publish_at(description, kernel.entry, kernel.offset, None, result_bytes)?;
        Ok(Running { ticket, chunks, value: Value::Read(None, |bits, _| bits.clone()) })
    }
}
