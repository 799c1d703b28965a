//! Recovery after a reaped death: R1 to R5 of `control.md`, by the supervisor alone.
//!
//! It trusts nothing that a dead worker may have written, but the one word and the four numbers
//! that say what it was at; extents and limits follow from the parent's own copy of the job.

use std::io;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{Ordering, compiler_fence};

use super::jobs::{Active, Jobs, OnDeath, words_of};
use crate::args::old_parts;
use crate::checkpoint::put_back;
use crate::config::{MAX_JOBS, MAX_KILLS, MAX_OWN_DEATHS};
use crate::entry::{VERDICT_BYTES, VERDICT_DIED, VERDICT_TEXT_BYTES};
use crate::error::{Death, JobError};
use crate::fault::{Point, any_worker, point};
use crate::layout::{JobDesc, KEEP_GOING};
use crate::mutant::{self, Mutant};
use crate::protocol::{self, Owner, State, Word};
use crate::segment::Segment;

impl Jobs {
    /// R1 to R5: continues from what a dead and reaped worker left.
    pub(crate) fn recover(&self, owner: Owner, pid: u32, death: Death, note: &str) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let worker = owner.worker as usize;
        let current = &self.control.worker(worker).current;
        // R1: read once, then checked against what the parent itself knows.
        let at = (current.epoch.load(Ordering::Acquire), current.chunk.load(Ordering::Relaxed));
        let armed = current.armed.load(Ordering::Acquire) != 0;
        let journal_id = current.journal.load(Ordering::Relaxed);
        let journals = inner.journals.iter().chain(&inner.old_journals);
        let journal = journals.into_iter().find(|j| j.id() == journal_id).cloned();
        point(Point::R1, || any_worker(&self.control));
        // Chunks that could not be put back: slot, chunk, why.
        let mut losses = Vec::new();
        let mut interrupted = false;
        if mutant::on(Mutant::DisarmBeforeRestore) {
            current.armed.store(0, Ordering::Release);
        }
        for slot in 0..MAX_JOBS {
            let Some(job) = inner.active[slot].as_ref() else { continue };
            let words = words_of(&self.control, job.words.as_ref(), slot, job.desc.head.chunks);
            if job.desc.head.checkpoint != 0 {
                // Its armed word and journal are in the file, and so R3 is done here as well.
                let file = job.segments.iter().find(|s| s.id() == job.desc.head.checkpoint);
                let file = file.expect("a job holds its checkpoint");
                let back = put_back(&job.desc, &job.segments, file, worker, words);
                losses.extend(back.err().map(|(chunk, loss)| (slot, chunk, loss.note())));
                continue;
            }
            // R2: only if the word says that it was this incarnation's.
            let mine = words
                .get(at.1 as usize)
                .is_some_and(|w| protocol::is_claim_of(w, owner, job.epoch));
            if mutant::on(Mutant::FreeBeforeRestore) && mine {
                protocol::reclaim(&words[at.1 as usize], owner, job.epoch, State::Free);
            }
            let unchecked = mutant::on(Mutant::RestoreUnchecked)
                || mutant::on(Mutant::FreeBeforeDisarmUnchecked);
            if mutant::on(Mutant::NoRestore) {
                continue;
            }
            if armed && at.0 == job.epoch && (mine || unchecked) {
                let old = journal.as_deref().map(Journal::whole);
                let back = match old {
                    Some(old) => restore(&job.desc, &job.segments, at.1, &old),
                    None => Err(Loss::Damaged),
                };
                losses.extend(back.err().map(|loss| (slot, at.1, loss.note())));
                compiler_fence(Ordering::SeqCst);
                point(Point::R2, || any_worker(&self.control));
            }
        }
        // R3
        if mutant::on(Mutant::FreeBeforeDisarmUnchecked) {
            for job in inner.active.iter().flatten() {
                let words = words_of(&self.control, job.words.as_ref(), 0, job.desc.head.chunks);
                protocol::reclaim(&words[at.1 as usize], owner, job.epoch, State::Free);
            }
        }
        current.armed.store(0, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        point(Point::R3, || any_worker(&self.control));
        for slot in 0..MAX_JOBS {
            let Some(job) = inner.active[slot].as_mut() else { continue };
            let chunks = job.desc.head.chunks;
            let segment = job.words.clone();
            let words = words_of(&self.control, segment.as_ref(), slot, chunks);
            let lost =
                losses.iter().find(|loss| loss.0 == slot).map(|&(_, chunk, note)| (chunk, note));
            if let Some((chunk, note)) = lost
                && job.desc.head.checkpoint != 0
                && let Some(error) = count_death(job, chunk, (worker, pid), death, note, true)
            {
                // Whether or not its chunk was done: a journal in a file must not be used again.
                job.died.get_or_insert((chunk, error));
                self.control.job(slot).stop.fetch_max(job.epoch, Ordering::SeqCst);
            }
            let lost = lost.map(|(_, note)| note);
            for (chunk, word) in words.iter().enumerate() {
                let chunk = chunk as u64;
                if !protocol::is_claim_of(word, owner, job.epoch) {
                    continue;
                }
                interrupted = true;
                let note = lost.unwrap_or(note);
                // A job that is over but for this chunk: killed because of that, or by chance.
                let cancelled =
                    job.calls.as_ref().is_some_and(|calls| calls.is_cancelled(chunk as usize));
                let stopped =
                    cancelled || self.control.job(slot).stop.load(Ordering::SeqCst) == job.epoch;
                let fatal = match lost.is_some() || !stopped {
                    true => count_death(job, chunk, (worker, pid), death, note, lost.is_some()),
                    false => None,
                };
                let to = if fatal.is_some() { State::Failed } else { State::Free };
                if let Some(error) = fatal
                    && !bury(job, chunk, &error)
                {
                    if job.died.as_ref().is_none_or(|(c, _)| chunk < *c) {
                        job.died = Some((chunk, error));
                    }
                    self.control.job(slot).stop.fetch_max(job.epoch, Ordering::SeqCst);
                }
                // R4
                protocol::reclaim(word, owner, job.epoch, to);
                point(Point::R4, || any_worker(&self.control));
            }
            // R5: the hints follow from the words again.
            let tally = self.control.tally(slot, worker);
            if tally.epoch.load(Ordering::Acquire) == job.epoch {
                let over = words
                    .iter()
                    .map(|w| Word(w.load(Ordering::Acquire)))
                    .filter(|w| w.is_over_in(job.epoch) && w.worker() == owner.worker)
                    .count();
                tally.over.store(over as u64, Ordering::SeqCst);
            }
            self.control.job(slot).rescan.fetch_add(1, Ordering::SeqCst);
            point(Point::R5, || any_worker(&self.control));
            self.check_over(slot, job);
            if job.calls.is_some() {
                // A call that has had its deaths, or was cancelled, is over, and no worker says so.
                self.control.tell_watchers(self.control.job(slot));
            }
        }
        let park = &self.control.worker(worker).park;
        let bit = 1u64 << (worker % 64);
        self.control.header().sleepers.bits[worker / 64].fetch_and(!bit, Ordering::SeqCst);
        self.control.set_idle(worker, false);
        park.state.store(crate::layout::BUSY, Ordering::SeqCst);
        // A worker that went because it had run its `max_chunks_per_worker` is no death.
        if death != Death::Exit(0) || interrupted {
            self.deaths.fetch_add(1, Ordering::Relaxed);
        }
        self.control.announce(usize::MAX);
    }
}

/// Why a chunk could not be put back.
#[derive(Debug)]
pub(crate) enum Loss {
    /// Its journal does not hold it.
    Damaged,
    /// A store beyond the file's end would end this process as it did the worker.
    Truncated,
    /// The disk refused what was put back; a checkpoint still has the old bytes.
    Unwritten(io::Error),
}

impl Loss {
    /// What the death of the worker is told with.
    pub(crate) fn note(&self) -> &'static str {
        match self {
            Loss::Damaged => "and its journal is damaged: the chunk is lost",
            Loss::Truncated => {
                "and the file under the array was truncated meanwhile: the chunk is lost; no other \
                 program may truncate a file that a job works on"
            }
            Loss::Unwritten(_) => {
                "and the disk refused what was put back; the checkpoint keeps the old bytes"
            }
        }
    }
}

/// Where old bytes are kept.
pub(crate) struct Journal<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) start: usize,
    pub(crate) bytes: usize,
}

impl Journal<'_> {
    fn whole(segment: &Segment) -> Journal<'_> {
        Journal { segment, start: 0, bytes: segment.len() }
    }
}

/// Copies the old bytes of `chunk` back, over extents that follow from the parent's own copy of
/// the job alone.
pub(crate) fn restore(
    desc: &JobDesc,
    segments: &[Arc<Segment>],
    chunk: u64,
    journal: &Journal<'_>,
) -> Result<(), Loss> {
    let Journal { segment: old, start, bytes: room } = *journal;
    if start.checked_add(room).is_none_or(|end| end > old.len()) {
        return Err(Loss::Damaged);
    }
    for part in old_parts(desc, chunk) {
        let arg = &desc.args[part.arg];
        let Some(segment) = segments.iter().find(|s| s.id() == arg.segment) else {
            return Err(Loss::Damaged);
        };
        if part.bytes.end > segment.len() || part.end() > room {
            return Err(Loss::Damaged);
        }
        if !segment.is_whole() {
            return Err(Loss::Truncated);
        }
        // SAFETY: both ranges were just checked against their mappings; the claimer is dead and
        // reaped, and nobody else may claim the chunk before its word is freed.
        unsafe { part.put_back(segment.base(), old.base().wrapping_add(start)) };
    }
    Ok(())
}

/// Counts a death in a chunk; gives the error where the chunk has had enough of them.
fn count_death(
    job: &mut Active,
    chunk: u64,
    (worker, pid): (usize, u32),
    death: Death,
    note: &str,
    lost: bool,
) -> Option<JobError> {
    let counts = job.deaths.entry(chunk).or_default();
    let count = if death.is_kill() { &mut counts.1 } else { &mut counts.0 };
    *count += 1;
    let (own, kills) = *counts;
    let fatal =
        lost || job.on_death == OnDeath::Fail || own >= MAX_OWN_DEATHS || kills >= MAX_KILLS;
    let (kernel, chunk) = job.names(chunk);
    fatal.then(|| JobError::Died {
        kernel,
        chunk,
        worker,
        pid,
        death,
        deaths: own + kills,
        note: note.to_owned(),
    })
}

/// In a job that keeps going, the chunk's own slot says how it ended, and of a call its batch;
/// `false` in any other job.
fn bury(job: &mut Active, chunk: u64, error: &JobError) -> bool {
    if let Some(calls) = &mut job.calls {
        calls.set_error(chunk as usize, error.clone());
        return true;
    }
    let head = &job.desc.head;
    let JobError::Died { death, deaths, note, .. } = error else { return false };
    let results = job.segments.iter().find(|s| s.id() == head.results);
    let (Some(results), true) = (results, head.flags & KEEP_GOING != 0) else { return false };
    let (start, bytes) = (head.results_offset + chunk * head.result_bytes, head.result_bytes);
    let smallest = (VERDICT_BYTES + VERDICT_TEXT_BYTES) as u64;
    if bytes < smallest || start + bytes > results.len() as u64 {
        return false;
    }
    let text = format!("{deaths} deaths of its worker, the last by {death}; {note}");
    let mut len = text.len().min(VERDICT_TEXT_BYTES);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    let slot = results.base().wrapping_add(start as usize);
    let to = slot.wrapping_add(bytes as usize - VERDICT_TEXT_BYTES);
    // SAFETY: inside the slot, whose size was just checked; its claimer is dead and reaped, and
    // nobody else may claim the chunk before its word is freed.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), to, len) };
    let verdict = VERDICT_DIED | (len as u64) << 8;
    // SAFETY: as above.
    unsafe { slot.cast::<u64>().write_unaligned(verdict) };
    true
}
