//! A job as a worker knows it: description, mappings, undo copies, and where it is in the chunks.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytemuck::Zeroable;

use super::SegmentSource;
use crate::args::old_parts;
use crate::checkpoint::RECORD_BYTES;
use crate::config::{INLINE_WORDS, MAX_ARGS};
use crate::control::Control;
use crate::cursor::Cursor;
use crate::entry::KernelEntry;
use crate::layout::{BATCH_BYTES, BATCH_CALLS, CALLS, JobDesc};
use crate::segment::Segment;

/// A job as this worker knows it: description, mappings, and where it is in the chunks.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) slot: usize,
    pub(super) epoch: u64,
    pub(super) desc: JobDesc,
    pub(super) entry: Option<&'static KernelEntry>,
    pub(super) bases: [*mut u8; MAX_ARGS],
    pub(super) words: *const AtomicU64,
    pub(super) results: *mut u8,
    pub(super) journal: u64,
    pub(super) journal_base: *mut u8,
    /// The armed word in the job's checkpoint; null where it has none.
    armed: *const AtomicU64,
    /// Keeps the mappings above alive.
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) cursor: Cursor,
    /// The job's `rescan` from before the cursor's first look: it differs once recovery has freed
    /// a chunk that this cursor may have passed.
    pub(super) rescan: u64,
    /// The cursor found nothing more to claim.
    pub(super) exhausted: bool,
}

// SAFETY: the pointers lead into mappings that `segments` keeps alive and that belong to the
// process, not to a thread; a task is used by the one thread that has its worker.
unsafe impl Send for Task {}

impl Task {
    pub(super) fn new(slot: usize) -> Box<Task> {
        Box::new(Task {
            slot,
            epoch: 0,
            desc: JobDesc::zeroed(),
            entry: None,
            bases: [ptr::null_mut(); MAX_ARGS],
            words: ptr::null(),
            results: ptr::null_mut(),
            journal: 0,
            journal_base: ptr::null_mut(),
            armed: ptr::null(),
            segments: Vec::new(),
            cursor: Cursor::default(),
            rescan: 0,
            exhausted: false,
        })
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        let len = self.desc.head.chunks as usize;
        // SAFETY: `attach` checked that so many words lie there, in the control block or in a
        // segment that `self.segments` keeps mapped; they are only ever used as atomics.
        unsafe { std::slice::from_raw_parts(self.words, len) }
    }

    /// Maps what the job speaks of and checks that it lies inside; the text says what is wrong.
    pub(super) fn attach<S: SegmentSource>(
        &mut self,
        control: &Control,
        source: &mut S,
        worker: usize,
        journal: u64,
    ) -> Result<(), String> {
        let head = self.desc.head;
        self.segments.clear();
        self.bases = [ptr::null_mut(); MAX_ARGS];
        // The words first: what goes wrong after them can be told to a job that others are in.
        self.words = ptr::null();
        self.results = ptr::null_mut();
        self.words = if head.words == 0 {
            if head.chunks > INLINE_WORDS as u64 {
                return Err("the job's chunk words do not fit its slot".into());
            }
            control.inline_words(self.slot).as_ptr()
        } else {
            let bytes = head.chunks.checked_mul(8);
            let end = bytes.and_then(|bytes| bytes.checked_add(head.words_offset));
            let words = self.map(source, head.words, end)?.wrapping_add(head.words_offset as usize);
            words.cast_const().cast()
        };
        let is_batch = head.flags & CALLS != 0;
        self.entry = KernelEntry::at(head.entry);
        if self.entry.is_none() && !is_batch {
            return Err("the job names a place in the executable where no kernel is".into());
        }
        for i in 0..head.args as usize {
            let arg = self.desc.args[i];
            if arg.segment != 0 {
                let end = arg
                    .rows
                    .checked_mul(arg.row_bytes)
                    .and_then(|bytes| bytes.checked_add(arg.offset));
                self.bases[i] = self.map(source, arg.segment, end)?;
            }
        }
        self.results = if head.results == 0 {
            control.inline_result(self.slot, head.result_bytes)
        } else if is_batch {
            if head.chunks != BATCH_CALLS as u64 {
                return Err("the job is no batch of calls that this program knows".into());
            }
            self.map(source, head.results, Some(BATCH_BYTES as u64))?
        } else {
            let end = head
                .chunks
                .checked_mul(head.result_bytes)
                .and_then(|bytes| bytes.checked_add(head.results_offset));
            self.map(source, head.results, end)?.wrapping_add(head.results_offset as usize)
        };
        self.journal = 0;
        self.journal_base = ptr::null_mut();
        self.armed = ptr::null();
        if head.checkpoint != 0 {
            let record = head.records + worker as u64 * head.record_stride;
            let base = self.map(source, head.checkpoint, record.checked_add(head.record_stride))?;
            let record = base.wrapping_add(record as usize);
            self.armed = record.cast_const().cast();
            self.journal_base = record.wrapping_add(RECORD_BYTES);
            self.journal = if head.journal_bytes == 0 { 0 } else { head.checkpoint };
        } else if head.journal_bytes != 0 {
            self.journal_base = self.map(source, journal, Some(head.journal_bytes))?;
            self.journal = journal;
        }
        Ok(())
    }

    /// This worker's record in the job's checkpoint.
    pub(super) fn record(&self) -> *const u8 {
        self.armed.cast()
    }

    /// The word that says that this worker's journal counts.
    pub(super) fn armed<'a>(&'a self, control: &'a Control, worker: usize) -> &'a AtomicU64 {
        if self.armed.is_null() {
            return &control.worker(worker).current.armed;
        }
        // SAFETY: `attach` checked that the record lies in the checkpoint, which `self.segments`
        // keeps mapped and which begins its records at pages; it is only ever used as an atomic.
        unsafe { &*self.armed }
    }

    pub(super) fn map<S: SegmentSource>(
        &mut self,
        source: &mut S,
        id: u64,
        end: Option<u64>,
    ) -> Result<*mut u8, String> {
        let segment = source.segment(id).ok_or_else(|| {
            format!("segment {id} did not arrive whole (was the file under an array truncated?)")
        })?;
        if end.is_none_or(|end| end > segment.len() as u64) {
            return Err(format!("segment {id} is shorter than the job says"));
        }
        let base = segment.base();
        self.segments.push(segment);
        Ok(base)
    }

    /// W2: keeps the old bytes of `chunk`. A call of its own, so that `tests/python/stores.py` sees
    /// it in the machine code.
    #[inline(never)]
    pub(super) fn save(&self, chunk: u64) {
        // On a disk, a store of the kernel may come before the copy that it follows.
        let ahead = self.is_durable();
        for part in old_parts(&self.desc, chunk) {
            // SAFETY: the chunk lies inside the argument's segment and its bytes fit into the
            // journal, both checked by `attach`; a journal overlaps no array; the chunk is
            // claimed by this worker, so nobody else writes either.
            unsafe { part.begin(self.bases[part.arg], self.journal_base, ahead) };
        }
    }

    /// Puts the old bytes of `chunk` back; a call of its own, as `save`.
    #[inline(never)]
    pub(super) fn restore(&self, chunk: u64) {
        for part in old_parts(&self.desc, chunk) {
            // SAFETY: as in `save`.
            unsafe { part.put_back(self.bases[part.arg], self.journal_base) };
        }
    }
}
