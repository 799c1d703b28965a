//! Beginning a checkpoint, and going on from one: the file as it must be before its job runs.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytemuck::Zeroable;

use super::error::CheckpointError;
use super::format::{HEADER_BYTES, Header, Layout, MAGIC, MARK};
use super::undo::{armed_word, put_back};
use super::{Attached, Checkpoint};
use crate::args::Description;
use crate::error::Error;
use crate::layout::{DURABLE, JobHead};
use crate::pool::recover::Loss;
use crate::protocol::{MAX_EPOCH, Owner, State, Word};
use crate::segment::Segment;
use crate::segment::locked::{Locked, Refused, sync_name};

/// How long a resume waits for the rest of a run that is dying: its workers are gone within a
/// second of their parent.
const WAIT: Duration = Duration::from_secs(2);

impl Checkpoint {
    /// The file for the job that `asked` describes, on `workers` workers, with all that a dead run
    /// left in its array put back. `stream` is the job number if the caller has named one.
    pub(crate) fn open(
        &self,
        args: &mut Description,
        mut asked: Header,
        stream: Option<u64>,
        workers: usize,
    ) -> Result<Attached, Error> {
        let layout = Layout::of(&asked).ok_or(CheckpointError::TooLarge)?;
        if !self.resume {
            asked.durable = self.durable.into();
            let asked = asked.sealed();
            let segment = self.make(&asked, &layout, workers, &args.segments)?;
            describe(&mut args.desc.head, &asked, &layout, &segment);
            return Ok(self.attached(segment, asked, layout, 0));
        }
        let file = self.lock(false, WAIT)?;
        let begun = self.read_header(&file)?;
        // The job number is the file's, unless the caller has named another one.
        asked.stream = stream.unwrap_or(begun.stream);
        let path = self.label();
        begun
            .compare(&asked)
            .map_err(|difference| CheckpointError::Differs { path, difference })?;
        let (segment, before) = self.go_on(&file, &begun, &layout, workers, args)?;
        Ok(self.attached(segment, begun, layout, before))
    }

    fn attached(&self, segment: Arc<Segment>, of: Header, layout: Layout, before: u64) -> Attached {
        Attached { checkpoint: self.clone(), segment, header: Box::new(of), layout, before }
    }

    fn label(&self) -> String {
        self.path.display().to_string()
    }

    fn system(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> CheckpointError {
        let path = self.label();
        move |source| CheckpointError::System { action, path, source }
    }

    fn lock(&self, create: bool, wait: Duration) -> Result<Locked, CheckpointError> {
        let path = || self.label();
        Locked::open(&self.path, create, wait).map_err(|refused| match refused {
            Refused::NotFound => CheckpointError::NotFound { path: path() },
            Refused::InUse => CheckpointError::InUse { path: path() },
            Refused::NotOurs(what) => CheckpointError::NotYours { path: path(), what },
            Refused::System(action, source) => {
                CheckpointError::System { action, path: path(), source }
            }
        })
    }

    /// Makes the file. One that a killed run had not finished making is made anew.
    fn make(
        &self,
        header: &Header,
        layout: &Layout,
        workers: usize,
        arrays: &[Arc<Segment>],
    ) -> Result<Arc<Segment>, Error> {
        let file = self.lock(true, Duration::ZERO)?;
        self.check_free(&file)?;
        let made = self.fill(&file, header, layout.bytes(workers), arrays);
        if made.is_err() {
            // Best effort: the first error is the one to report.
            let _ = file.remove();
        }
        made
    }

    fn check_free(&self, file: &Locked) -> Result<(), CheckpointError> {
        let mut start = [0u64; 2];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut start);
        let read = file.read_at(bytes, 0).map_err(self.system("read"))?;
        if read == 0 || (read == 16 && start == [0, MARK]) {
            return Ok(());
        }
        Err(CheckpointError::Exists { path: self.label() })
    }

    fn fill(
        &self,
        file: &Locked,
        header: &Header,
        len: usize,
        arrays: &[Arc<Segment>],
    ) -> Result<Arc<Segment>, Error> {
        let durable = header.durable != 0;
        file.set_len(0).map_err(self.system("empty"))?;
        // First the mark, by which an unfinished file is known as ours; last the magic word.
        file.write_at(&MARK.to_ne_bytes(), 8).map_err(self.system("write"))?;
        file.reserve(len)?;
        let bytes = bytemuck::bytes_of(header);
        file.write_at(&bytes[8..], 8).map_err(self.system("write"))?;
        if durable {
            file.sync().map_err(self.system("sync"))?;
            for array in arrays {
                sync_array(array).map_err(self.system("sync the arrays of"))?;
            }
        }
        file.write_at(&MAGIC.to_ne_bytes(), 0).map_err(self.system("write"))?;
        if durable {
            file.sync().map_err(self.system("sync"))?;
        }
        Ok(file.map(len).map_err(self.system("map"))?)
    }

    /// Removes a checkpoint that nobody uses, be it unfinished.
    pub(super) fn delete(&self) -> Result<(), CheckpointError> {
        let file = self.lock(false, WAIT)?;
        match self.read_header(&file) {
            Err(error @ CheckpointError::NotACheckpoint { .. }) => Err(error),
            _ => file.remove().map_err(self.system("remove")),
        }
    }

    fn read_header(&self, file: &Locked) -> Result<Header, CheckpointError> {
        let mut header = Header::zeroed();
        let read = file.read_at(bytemuck::bytes_of_mut(&mut header), 0);
        let path = self.label();
        match read.map_err(self.system("read"))? {
            0 => Err(CheckpointError::Unbegun { path }),
            HEADER_BYTES => header.check(&path),
            _ if header.mark == MARK && header.magic == 0 => Err(CheckpointError::Unbegun { path }),
            found => Err(CheckpointError::Length { path, found: found as u64 }),
        }
    }

    /// Everything is checked before anything is changed.
    fn go_on(
        &self,
        file: &Locked,
        begun: &Header,
        layout: &Layout,
        workers: usize,
        args: &mut Description,
    ) -> Result<(Arc<Segment>, u64), Error> {
        let damaged = |what| CheckpointError::Damaged { path: self.label(), what };
        let found = file.len().map_err(self.system("examine"))?;
        let Some(had) = layout.workers(found) else {
            return Err(CheckpointError::Length { path: self.label(), found }.into());
        };
        let mut segment = file.map(found as usize).map_err(self.system("map"))?;
        describe(&mut args.desc.head, begun, layout, &segment);
        check(&segment, layout, begun.chunks, had).map_err(damaged)?;
        let words = words(&segment, begun.chunks);
        for worker in 0..had {
            let back = put_back(&args.desc, &args.segments, &segment, worker, words);
            back.map_err(|(_, loss)| match loss {
                Loss::Unwritten(source) => self.system("put a chunk back from")(source),
                loss => damaged(loss.note()),
            })?;
        }
        let before = settle(words);
        if had < workers {
            let len = layout.bytes(workers);
            let grown = file.reserve(len);
            if grown.is_err() {
                let _ = file.set_len(found);
            }
            grown?;
            if begun.durable != 0 {
                file.sync().map_err(self.system("sync"))?;
            }
            segment = file.map(len).map_err(self.system("map"))?;
            describe(&mut args.desc.head, begun, layout, &segment);
        }
        Ok((segment, before))
    }
}

/// Where the job finds its words, records and results.
fn describe(head: &mut JobHead, header: &Header, layout: &Layout, segment: &Arc<Segment>) {
    head.words_offset = Layout::WORDS;
    head.checkpoint = segment.id();
    head.records = layout.records;
    head.record_stride = layout.record_stride;
    if header.durable != 0 {
        head.flags |= DURABLE;
    }
}

/// Records and words as no run leaves them are damage.
fn check(
    segment: &Segment,
    layout: &Layout,
    chunks: u64,
    workers: usize,
) -> Result<(), &'static str> {
    for worker in 0..workers as u64 {
        let at = layout.records + worker * layout.record_stride;
        if armed_word(segment, at as usize).load(Ordering::Acquire) > chunks {
            return Err("a worker's record");
        }
    }
    // A chunk of a worker whose journal was cut off could not be put back.
    let orphan = |word: &AtomicU64| {
        let word = Word(word.load(Ordering::Acquire));
        word.state() == State::Claimed && word.worker() as usize >= workers
    };
    if words(segment, chunks).iter().any(orphan) { Err("a chunk word") } else { Ok(()) }
}

/// Words as a job begins with them: done for good, or free. Gives how many are done.
///
/// The file is of one job alone, so a word's epoch, which counts the jobs of a pool that is gone,
/// says nothing here. That of a done word is beyond all jobs: it is never free, nor of this run.
fn settle(words: &[AtomicU64]) -> u64 {
    let done = Word::new(State::Done, Owner { worker: 0, incarnation: 0 }, MAX_EPOCH);
    let mut before = 0;
    for word in words {
        let is_done = Word(word.load(Ordering::Relaxed)).state() == State::Done;
        word.store(if is_done { done.0 } else { 0 }, Ordering::Relaxed);
        before += u64::from(is_done);
    }
    before
}

fn words(segment: &Segment, chunks: u64) -> &[AtomicU64] {
    let at = segment.base().wrapping_add(Layout::WORDS as usize);
    // SAFETY: the file's length was found to be that of a checkpoint of so many chunks, whose
    // words begin at this page; they are only ever used as atomics, and live with the mapping.
    unsafe { std::slice::from_raw_parts(at.cast(), chunks as usize) }
}

/// An array's file, and its name, are on the disk.
fn sync_array(array: &Segment) -> std::io::Result<()> {
    rustix::fs::fsync(array.fd())?;
    match array.kind() {
        crate::segment::Kind::File(path) => sync_name(Path::new(path)),
        _ => Ok(()),
    }
}
