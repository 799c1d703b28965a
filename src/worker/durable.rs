//! What a durable checkpoint adds to W1 to W6: each step is on the disk before the next begins.
//!
//! journal - armed - (kernel) - data, slot - mark - (disarm). Which loss of power each call is
//! for stands in `docs/checkpoint.md`; the test that convicts each one left out in
//! `checkpoint/power.rs`.

#![forbid(unsafe_code)]

use std::io;

use super::task::Task;
use crate::args::{chunk_bytes, journal_bytes};
use crate::layout::{ArgKind, DURABLE};
use crate::sys::flush::{self, Step};

impl Task {
    /// Whether a chunk's steps wait for the disk.
    pub(super) fn is_durable(&self) -> bool {
        self.desc.head.flags & DURABLE != 0
    }

    /// The undo copy is on the disk.
    #[cold]
    #[inline(never)]
    pub(super) fn sync_journal(&self, chunk: u64) -> Result<(), String> {
        let bytes = journal_bytes(&self.desc, chunk);
        told(flush::range(Step::Journal, self.journal_base, bytes), "the checkpoint")
    }

    /// So is whether it counts.
    #[cold]
    #[inline(never)]
    pub(super) fn sync_armed(&self, step: Step) -> Result<(), String> {
        told(flush::range(step, self.record(), 8), "the checkpoint")
    }

    /// So is all that the chunk changed, but not yet the mark.
    #[cold]
    #[inline(never)]
    pub(super) fn sync_data(&self, step: Step, chunk: u64) -> Result<(), String> {
        let written = [ArgKind::Update, ArgKind::Undo, ArgKind::Overwrite].map(|kind| kind as u64);
        let args = &self.desc.args[..self.desc.head.args as usize];
        for (arg, base) in args.iter().zip(self.bases) {
            if written.contains(&arg.kind) {
                let bytes = chunk_bytes(arg, chunk);
                let start = base.wrapping_add(bytes.start);
                told(flush::range(step, start, bytes.len()), "the array")?;
            }
        }
        let bytes = self.desc.head.result_bytes as usize;
        let slot = self.results.wrapping_add(chunk as usize * bytes);
        told(flush::range(Step::Slot, slot, bytes), "the checkpoint")
    }

    /// And the mark.
    #[cold]
    #[inline(never)]
    pub(super) fn sync_mark(&self, chunk: u64) -> Result<(), String> {
        let word = &raw const self.words()[chunk as usize];
        told(flush::range(Step::Mark, word.cast(), 8), "the checkpoint")
    }
}

fn told(done: io::Result<()>, what: &str) -> Result<(), String> {
    done.map_err(|error| format!("{what} could not be written to the disk: {error}"))
}
