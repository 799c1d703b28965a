//! Checkpoints: a job on arrays in files that goes on after everything has died.
//!
//! The words, journals and result slots of such a job lie in a file beside its array instead of in
//! memory, so that what a kill of all processes leaves is what any worker's death leaves: a state
//! to recover from. Layout of the file, order of all writes and why it is enough:
//! `docs/checkpoint.md`. This file is the public face; `format` has the file's layout, `open`
//! begins and resumes, `undo` puts back, `error` says what was wrong. How a job uses one is in
//! `pool/checkpoint.rs`.

mod error;
mod format;
mod open;
#[cfg(test)]
mod power;
mod undo;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::{CheckpointError, Difference};
pub(crate) use format::{ArgRecord, Header, Layout, RECORD_BYTES};
pub(crate) use undo::put_back;

use crate::segment::Segment;
use crate::segment::locked::{remove_if_at, sync_name};

/// The file that a job over arrays in files can go on from, after every process has died.
///
/// It is given to one job by [`Job::checkpoint`](crate::Job::checkpoint). What it holds is bound to
/// the program's build, the kernel, its parameters, the geometry, the seed, the job number and the
/// files of the arrays: anything else is refused. A job that ended well removes its file; any other
/// end, be it an error, leaves it.
///
/// ```
/// use pinpool::{Checkpoint, Pool, SharedArray};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("x.npy");
/// let pool = Pool::builder().workers(2).oversubscribe(true).build()?;
/// // SAFETY: nobody else writes into this file.
/// let mut x = unsafe { SharedArray::<f64, _>::create_file(&path, 10_000) }?;
/// let file = Checkpoint::beside(&path);
/// // Where the file is there, an earlier run of this program did not come to its end.
/// let checkpoint =
///     if file.exists() { Checkpoint::resume(&file) } else { Checkpoint::begin(&file) };
/// let sums = pool.job().checkpoint(checkpoint).map(x.chunks_mut(1_000), |mut c, _| {
///     c.iter_mut().for_each(|v| *v += 1.0);
///     c.sum()
/// })?;
/// assert_eq!(sums.total(), 10_000.0);
/// # Ok::<(), pinpool::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a job uses it when it is given to `Job::checkpoint`"]
pub struct Checkpoint {
    path: PathBuf,
    resume: bool,
    durable: bool,
    keep: bool,
}

impl Checkpoint {
    /// A new file: the job begins from its first chunk. It is an error where the file is there.
    pub fn begin(path: impl AsRef<Path>) -> Checkpoint {
        let path = path.as_ref().to_owned();
        Checkpoint { path, resume: false, durable: false, keep: false }
    }

    /// The file of a job that did not come to its end: it goes on with the chunks that are not
    /// done, on any number of workers, and gives the same bits as without the interruption.
    ///
    /// A run that is just dying is waited for; one that lives is an error.
    pub fn resume(path: impl AsRef<Path>) -> Checkpoint {
        Checkpoint { resume: true, ..Checkpoint::begin(path) }
    }

    /// Has the job survive a loss of power too: each step of a chunk is on the disk before the
    /// next one. It costs four to five waits for the disk a chunk; a job that goes on keeps to
    /// what it was begun with.
    pub fn durable(mut self, yes: bool) -> Checkpoint {
        self.durable = yes;
        self
    }

    /// Leaves the file where the job ends well. Resumed, it gives the results again without running
    /// a chunk; [`remove`](Self::remove) it when what came of them is safe.
    pub fn keep(mut self, yes: bool) -> Checkpoint {
        self.keep = yes;
        self
    }

    /// The usual place: the array's own path with `.pinpool` behind it.
    #[must_use]
    pub fn beside(array: impl AsRef<Path>) -> PathBuf {
        let mut path: OsString = array.as_ref().as_os_str().to_owned();
        path.push(".pinpool");
        path.into()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, which nobody may be using.
    ///
    /// # Errors
    /// [`CheckpointError`]: there is none, a run has it, or the system refuses.
    pub fn remove(&self) -> Result<(), CheckpointError> {
        self.delete()
    }
}

/// The file of a job that is about to run, or runs.
#[derive(Debug)]
pub(crate) struct Attached {
    checkpoint: Checkpoint,
    pub(crate) segment: Arc<Segment>,
    pub(crate) header: Box<Header>,
    pub(crate) layout: Layout,
    /// Chunks that an earlier run has done.
    pub(crate) before: u64,
}

impl Attached {
    /// The job never began.
    pub(crate) fn abandoned(&self) {
        let Checkpoint { path, resume, .. } = &self.checkpoint;
        if !resume {
            // Best effort: the error that led here is the one to report.
            let _ = remove_if_at(path, self.segment.fd().as_fd());
        }
    }

    /// The job has ended well.
    pub(crate) fn ended(&self) -> Result<(), CheckpointError> {
        let Checkpoint { path, keep, .. } = &self.checkpoint;
        if *keep {
            return Ok(());
        }
        let mut done = remove_if_at(path, self.segment.fd().as_fd());
        if self.header.durable != 0 {
            done = done.and_then(|()| sync_name(path));
        }
        let path = || path.display().to_string();
        done.map_err(|source| CheckpointError::System { action: "remove", path: path(), source })
    }
}
