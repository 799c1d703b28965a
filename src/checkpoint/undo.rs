//! R2 and R3 for a job with a checkpoint: what a worker left in its record and journal.
//!
//! The supervisor does it after a death within a run, a resume for every worker of a run that
//! died as a whole. Each step may be repeated from the top. **Armed and not done: copy back**;
//! only then disarm; and only then is the chunk anybody's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use super::RECORD_BYTES;
use crate::args::old_parts;
use crate::layout::{DURABLE, JobDesc};
use crate::mutant::{self, Mutant};
use crate::pool::recover::{Journal, Loss, restore};
use crate::protocol::{State, Word};
use crate::segment::Segment;
use crate::sys::flush::{self, Step};

/// Puts back what `worker`, which is dead, had begun and not done; else the chunk, and what keeps it
/// from being put back: then its journal still counts.
pub(crate) fn put_back(
    desc: &JobDesc,
    segments: &[Arc<Segment>],
    checkpoint: &Segment,
    worker: usize,
    words: &[AtomicU64],
) -> Result<(), (u64, Loss)> {
    let durable = desc.head.flags & DURABLE != 0;
    let at = (desc.head.records + worker as u64 * desc.head.record_stride) as usize;
    let armed = armed_word(checkpoint, at);
    // Read once, then checked.
    let Some(chunk) = armed.load(Ordering::Acquire).checked_sub(1) else { return Ok(()) };
    let Some(word) = words.get(chunk as usize) else {
        return Err((chunk, Loss::Damaged));
    };
    let unwritten = |error| (chunk, Loss::Unwritten(error));
    let done = Word(word.load(Ordering::Acquire)).state() == State::Done;
    if mutant::on(Mutant::DisarmBeforeRestore) {
        armed.store(0, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
    }
    if !done && !mutant::on(Mutant::NoRestore) || mutant::on(Mutant::RestoreUnchecked) {
        let (start, bytes) = (at + RECORD_BYTES, desc.head.record_stride as usize - RECORD_BYTES);
        let journal = Journal { segment: checkpoint, start, bytes };
        restore(desc, segments, chunk, &journal).map_err(|loss| (chunk, loss))?;
        compiler_fence(Ordering::SeqCst);
        if durable {
            sync_chunk(desc, segments, chunk).map_err(unwritten)?;
        }
    } else if durable {
        // The mark counts once it is on the disk; until then the journal may be needed.
        let at = std::ptr::from_ref(word).cast();
        flush::range(Step::Mark, at, 8).map_err(unwritten)?;
    }
    armed.store(0, Ordering::Release);
    compiler_fence(Ordering::SeqCst);
    if durable {
        let at = std::ptr::from_ref(armed).cast();
        flush::range(Step::Disarmed, at, 8).map_err(unwritten)?;
    }
    Ok(())
}

/// The first word of the record at `at`.
pub(super) fn armed_word(checkpoint: &Segment, at: usize) -> &AtomicU64 {
    assert!(at.is_multiple_of(8) && at + 8 <= checkpoint.len(), "a record outside the checkpoint");
    let word = checkpoint.base().wrapping_add(at).cast::<AtomicU64>();
    // SAFETY: aligned and inside the mapping, which lives as long as the borrow; every process
    // uses this word as an atomic alone.
    unsafe { &*word }
}

/// What was put back is on the disk.
fn sync_chunk(desc: &JobDesc, segments: &[Arc<Segment>], chunk: u64) -> std::io::Result<()> {
    for part in old_parts(desc, chunk) {
        let arg = &desc.args[part.arg];
        if let Some(segment) = segments.iter().find(|s| s.id() == arg.segment) {
            let start = segment.base().wrapping_add(part.bytes.start);
            flush::range(Step::Restored, start, part.bytes.len())?;
        }
    }
    Ok(())
}
