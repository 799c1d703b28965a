//! A job with a checkpoint: what it is, its file before it runs, and after it has ended.
//!
//! The protocol within a run is that of every job; only where words, journals and slots lie
//! differs (`jobs::Submission::checkpoint`). `crate::checkpoint` has the file itself.

use std::cell::OnceCell;
use std::ptr;
use std::sync::Arc;

use super::running::Place;
use super::{Job, Pool};
use crate::args::Description;
use crate::checkpoint::{ArgRecord, Attached, Checkpoint, CheckpointError, Header};
use crate::config::MAX_ARGS;
use crate::entry::KernelEntry;
use crate::error::{JobError, Result};
use crate::layout::{ArgKind, KEEP_GOING};
use crate::segment::{Kind, Segment};
use crate::sys::{image, mem};

impl<'p> Job<'p> {
    /// Has the job go on after everything has died: what it needs for that is in the
    /// [checkpoint](Checkpoint)'s file.
    ///
    /// For `map`, `try_map` and `for_each` over arrays in files
    /// ([`open_file`](crate::SharedArray::open_file),
    /// [`create_file`](crate::SharedArray::create_file)), on every backend. The results are
    /// written into the file as well, and copied out of it in the end.
    ///
    /// # Errors
    /// Of the call that runs the job: [`CheckpointError`], and
    /// [`CreateError::NoSpace`](crate::CreateError::NoSpace) where the file has no room.
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Job<'p> {
        self.checkpoint = Some(OfJob { checkpoint, open: OnceCell::new() });
        self
    }
}

/// The checkpoint of one job.
#[derive(Debug)]
pub(super) struct OfJob {
    checkpoint: Checkpoint,
    /// The open file, and where its results go in the end.
    open: OnceCell<(Attached, Option<Place>)>,
}

/// What a job is, beside its arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Like {
    pub(crate) entry: &'static KernelEntry,
    pub(crate) offset: i64,
    /// The job number, and the same if it was named by the caller.
    pub(crate) stream: u64,
    pub(crate) named: Option<u64>,
    pub(crate) result_bytes: usize,
    pub(crate) flags: u64,
}

impl OfJob {
    /// Opens the file, and puts back what a dead run had begun and not done.
    pub(super) fn open(
        &self,
        pool: &Pool,
        args: &mut Description,
        like: Like,
        results: Option<Place>,
    ) -> Result<&Attached> {
        if self.open.get().is_some() || like.flags & KEEP_GOING != 0 {
            return Err(CheckpointError::Unsupported.into());
        }
        let asked = header(pool.seed, args, &like)?;
        let attached = self.checkpoint.open(args, asked, like.named, pool.workers())?;
        args.segments.push(Arc::clone(&attached.segment));
        let (attached, _) = self.open.get_or_init(|| (attached, results));
        Ok(attached)
    }

    /// The job could not be submitted: a file that was made for it goes again.
    pub(super) fn abandon(&self) {
        if let Some((attached, _)) = self.open.get() {
            attached.abandoned();
        }
    }

    /// The job is over: its results leave the file, and the file goes if all is well.
    pub(super) fn close<T>(&self, pool: &Pool, value: Result<T, JobError>) -> Result<T> {
        pool.let_go();
        let value = value?;
        if let Some((attached, to)) = self.open.get() {
            if let Some((segment, offset)) = to {
                attached.copy_results(segment, *offset);
            }
            attached.ended()?;
        }
        Ok(value)
    }
}

impl Attached {
    /// Where the chunks' results are written; `None`: there are none.
    pub(crate) fn results(&self) -> Option<Place> {
        let offset = self.layout.results as usize;
        (self.header.result_bytes > 0).then(|| (Arc::clone(&self.segment), offset))
    }

    pub(crate) fn copy_results(&self, to: &Segment, offset: usize) {
        let bytes = (self.header.chunks * self.header.result_bytes) as usize;
        let start = self.layout.results as usize;
        assert!(
            offset + bytes <= to.len() && start + bytes <= self.segment.len(),
            "as it was made"
        );
        let from = self.segment.base().wrapping_add(start).cast_const();
        let to = to.base().wrapping_add(offset);
        // SAFETY: both ranges lie in their mappings, which are different ones; the job is over, so
        // that nobody writes the slots, and the array of results is not its caller's yet.
        unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
    }
}

/// The job as its checkpoint is to know it again.
pub(crate) fn header(seed: u64, args: &Description, like: &Like) -> Result<Header> {
    let identify = |source| CheckpointError::System {
        action: "read the program's own file",
        path: "/proc/self/exe".into(),
        source,
    };
    let head = &args.desc.head;
    let mut header = Header::new(like.entry.name());
    header.build = image::content_id().map_err(identify)?;
    header.entry = like.offset;
    header.seed = seed;
    header.stream = like.stream;
    header.chunks = head.chunks;
    header.first_chunk = head.first_chunk;
    header.total_chunks = head.total_chunks;
    header.result_bytes = like.result_bytes as u64;
    header.journal_bytes = head.journal_bytes;
    header.args = head.args;
    header.param_bytes = head.param_bytes;
    // What lies behind them is of earlier jobs.
    let used = ..head.param_bytes as usize;
    let params: &[u8] = bytemuck::cast_slice(&args.desc.params);
    bytemuck::cast_slice_mut::<u64, u8>(&mut header.params)[used].copy_from_slice(&params[used]);
    for i in 0..(head.args as usize).min(MAX_ARGS) {
        header.arg[i] = record(args, i)?;
    }
    Ok(header)
}

fn record(args: &Description, argument: usize) -> Result<ArgRecord> {
    let arg = &args.desc.args[argument];
    let mut record = ArgRecord {
        kind: arg.kind,
        offset: arg.offset,
        rows: arg.rows,
        row_bytes: arg.row_bytes,
        chunk_rows: arg.chunk_rows,
        element_bytes: arg.element_bytes,
        ndim: arg.ndim,
        shape: arg.shape,
        inode: 0,
        birth: 0,
        file_bytes: 0,
    };
    if matches!(arg.kind, k if k == ArgKind::Param as u64 || k == ArgKind::Index as u64) {
        return Ok(record);
    }
    let segment = args.segments.iter().find(|s| s.id() == arg.segment);
    let Some(segment) = segment.filter(|s| matches!(s.kind(), Kind::File(_))) else {
        return Err(CheckpointError::NotInAFile { argument }.into());
    };
    let path = segment.label().into_owned();
    let stat = mem::stat(segment.fd()).map_err(|source| CheckpointError::System {
        action: "examine",
        path,
        source,
    })?;
    record.inode = mem::identity(&stat).1;
    record.birth = mem::birth(segment.fd());
    record.file_bytes = mem::file_len(&stat);
    Ok(record)
}
