//! A segment: one mapped region, the same over a memfd, a POSIX shared-memory object and a file.
//!
//! It owns descriptor and mapping and knows nothing of what lies in it. What it keeps:
//! - every byte is reserved before the segment is handed out, so no store meets a full file system;
//! - the length never changes while it is mapped: sealed for a memfd, exact and checked for a name,
//!   and outside the promise if the same user truncates a named one later;
//! - no child that is forked inside a kernel inherits the mapping (`MADV_DONTFORK`);
//! - only the process that made a named one removes its name, or the collector (`registry`).
//!
//! `array` puts an NPY array into one, the pool its control block, journals and chunk words.
#![forbid(unsafe_code)]

pub(crate) mod audience;
mod error;
mod file;
mod huge;
pub(crate) mod locked;
mod named;
mod nameless;
mod record;
pub(crate) mod registry;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use error::{AttachError, CreateError};
pub(crate) use named::{Named, remove as remove_named};

use crate::memory;
use crate::sys::map::Mapping;
use crate::sys::mem;

/// Is told when a segment's mapping goes away.
pub(crate) trait SegmentWatcher: Send + Sync {
    /// The segment with this id is unmapped; the id is never used again.
    fn segment_gone(&self, id: u64);
}

/// One mapped region of memory that other processes may map too.
pub(crate) struct Segment {
    id: u64,
    /// `None` only while it is dropped.
    map: Option<Mapping>,
    len: usize,
    writable: bool,
    /// A plain fork of the host has the object but not the mapping; only this process tidies up.
    mapped_by: u32,
    fd: OwnedFd,
    kind: Kind,
    watchers: Mutex<Vec<Weak<dyn SegmentWatcher>>>,
}

/// How a segment is found by others.
#[derive(Debug)]
pub(crate) enum Kind {
    /// By descriptor only; the text is for people (`/proc/PID/fd`).
    Nameless(String),
    /// By name in /dev/shm.
    Named(Named),
    /// By path.
    File(PathBuf),
}

impl Segment {
    /// Maps `len` bytes of an open file, and takes it over.
    fn map(fd: OwnedFd, len: usize, writable: bool, kind: Kind) -> io::Result<Arc<Self>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        // No system maps 0 bytes; the page beyond an empty file is never touched.
        let map = Mapping::new(fd.as_fd(), len.max(1), writable)?;
        map.keep_from_children()?;
        Ok(Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            map: Some(map),
            len,
            writable,
            mapped_by: std::process::id(),
            fd,
            kind,
            watchers: Mutex::default(),
        }))
    }

    /// Maps an inherited or received descriptor: a regular file of exactly this length.
    pub(crate) fn from_descriptor(
        fd: OwnedFd,
        len: usize,
        writable: bool,
    ) -> Result<Arc<Self>, AttachError> {
        let name = format!("descriptor {}", fd.as_raw_fd());
        let system = |action| {
            let name = name.clone();
            move |source| AttachError::System { action, name, source }
        };
        let stat = mem::stat(&fd).map_err(system("examine"))?;
        if !mem::is_regular(&stat) {
            return Err(AttachError::NotRegular { name });
        }
        let found = mem::file_len(&stat);
        let expected = len.max(1) as u64;
        if found != expected {
            return Err(AttachError::Length { name, expected, found });
        }
        let map_error = system("map");
        Self::map(fd, len, writable, Kind::Nameless(name)).map_err(map_error)
    }

    /// Unique in this process, never used again.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Where the mapping starts: on a page boundary.
    pub(crate) fn base(&self) -> *mut u8 {
        self.map.as_ref().expect("it is mapped until it is dropped").base()
    }

    /// Bytes of the segment; in reserved huge pages a multiple of theirs.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether a store into it is allowed; one into a read-only mapping is a SIGSEGV.
    pub(crate) fn writable(&self) -> bool {
        self.writable
    }

    /// The open file, to be inherited by or sent to a worker; it carries the lock of a named one.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether its length can never change any more (nameless ones only).
    pub(crate) fn is_sealed(&self) -> bool {
        mem::is_length_sealed(&self.fd)
    }

    /// Whether the file under it is still as long as the mapping. A touch beyond its end is a
    /// SIGBUS; only a file, or a name, that somebody truncated meanwhile can be shorter.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Nameless(_))
            || mem::stat(&self.fd).is_ok_and(|stat| mem::file_len(&stat) >= self.len as u64)
    }

    /// What to call it in a message.
    pub(crate) fn label(&self) -> Cow<'_, str> {
        match &self.kind {
            Kind::Nameless(label) => label.into(),
            Kind::Named(named) => named.name().into(),
            Kind::File(path) => path.to_string_lossy(),
        }
    }

    /// How others find it.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The name that a worker must give to [`remove_named`] when the parent is killed; `None` for
    /// what has no name of its own making or is to stay.
    pub(crate) fn named_for_cleanup(&self) -> Option<&str> {
        match &self.kind {
            Kind::Named(named) if named.is_removed_on_drop() => Some(named.name()),
            _ => None,
        }
    }

    /// Removes the file of a segment that could not be finished; names go when it is dropped.
    pub(crate) fn discard(&self) {
        if let Kind::File(path) = &self.kind {
            // Best effort: the error that led here is the one to report.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Whether it can be looked at here: the mapping does not go with a fork.
    pub(crate) fn is_mapped(&self) -> bool {
        std::process::id() == self.mapped_by
    }

    /// The array of this name is dropped, and the name goes at once: others (a thread that is just
    /// sending the descriptor to a worker) may hold the segment for a moment longer.
    pub(crate) fn unname(&self) {
        if let (Kind::Named(named), true) = (&self.kind, self.is_mapped()) {
            named.remove_on_drop(&self.fd);
        }
    }

    /// Has `watcher` told when this mapping goes away.
    pub(crate) fn watch(&self, watcher: Weak<dyn SegmentWatcher>) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| watcher.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Takes every byte from the file system, if it can.
    pub(crate) fn reserve(&self) -> io::Result<bool> {
        mem::reserve(&self.fd, self.len.max(1) as u64)
    }

    /// Whether it lies in memory and not on a disk.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.huge_page_bytes().is_some() || mem::is_in_memory(&self.fd)
    }

    /// Bytes of its pages, if they are reserved huge ones.
    pub(crate) fn huge_page_bytes(&self) -> Option<usize> {
        mem::huge_page_bytes(&self.fd)
    }

    /// Reads through the descriptor, so that a file which shrinks meanwhile is short, not a SIGBUS.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        mem::read_at(&self.fd, buffer, offset)
    }

    /// Writes through the descriptor, which files in reserved huge pages refuse.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        mem::write_at(&self.fd, bytes, offset)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !self.is_mapped() {
            // A forked child: the range is not mapped here, and the name is the parent's.
            std::mem::forget(self.map.take());
            return;
        }
        self.unname();
        self.map = None;
        let watchers = self.watchers.get_mut().unwrap_or_else(PoisonError::into_inner);
        for watcher in watchers.iter().filter_map(Weak::upgrade) {
            watcher.segment_gone(self.id);
        }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("id", &self.id)
            .field("len", &self.len)
            .field("writable", &self.writable)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// When the bytes of a segment are taken from the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// Before it is handed out, by whoever makes it.
    Now,
    /// By the caller, who touches or reserves every page before anybody else sees the segment.
    Later,
}

/// Smaller segments (result slots, above all) are made without a look at the limits: the look costs
/// more than making them, and what is left over (`memory`) has room for some.
const UNCHECKED_BYTES: usize = 1 << 20;

/// Is there memory for `len` more bytes?
fn check_memory(len: usize) -> Result<(), CreateError> {
    if len < UNCHECKED_BYTES {
        return Ok(());
    }
    memory::check(len as u64).map_err(|room| CreateError::NoMemory {
        asked: len as u64,
        free: room.free,
        limit: room.limit,
    })
}

/// Sets the length, and reserves it where that is due and the file system can.
fn size_and_reserve(
    fd: &OwnedFd,
    len: usize,
    name: &str,
    place: &str,
    reserve: Reserve,
) -> Result<(), CreateError> {
    // One byte at least, since an empty file cannot be mapped.
    let bytes = len.max(1) as u64;
    let no_space =
        |free, place: &str| CreateError::NoSpace { asked: bytes, free, place: place.to_owned() };
    let free = mem::file_system_free(fd);
    if let Some(free) = free.filter(|&free| free < bytes) {
        return Err(no_space(free, place));
    }
    // Beyond this limit the kernel sends SIGXFSZ, which ends the process.
    if let Some(limit) = mem::file_size_limit().filter(|&limit| limit < bytes) {
        return Err(no_space(limit, "the limit on file sizes (ulimit -f)"));
    }
    let error = |action, source: io::Error| match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            no_space(free.unwrap_or(0), place)
        }
        _ => CreateError::System { action, name: name.to_owned(), source },
    };
    mem::set_len(fd, bytes).map_err(|source| error("set the length of", source))?;
    if reserve == Reserve::Now {
        mem::reserve(fd, bytes).map_err(|source| error("reserve space for", source))?;
    }
    Ok(())
}

/// The length of an existing file as one that can be mapped.
fn mappable_len(stat: &mem::Stat, name: &str) -> Result<usize, AttachError> {
    let found = mem::file_len(stat);
    match usize::try_from(found) {
        Ok(len) if isize::try_from(len).is_ok() => Ok(len),
        _ => Err(AttachError::Length { name: name.to_owned(), expected: isize::MAX as u64, found }),
    }
}

/// Reserves what was never written of an existing file, before a store meets a full file system.
/// In memory (tmpfs) a load takes room as well; without the right to reserve it must at least be there.
fn fill_holes(
    fd: &OwnedFd,
    stat: &mem::Stat,
    name: &str,
    writable: bool,
) -> Result<(), AttachError> {
    let missing = mem::hole_bytes(stat);
    if missing == 0 {
        return Ok(());
    }
    if !writable {
        let short =
            mem::is_in_memory(fd) && mem::file_system_free(fd).is_some_and(|free| free < missing);
        return if short { Err(AttachError::NoSpace { name: name.to_owned() }) } else { Ok(()) };
    }
    match mem::reserve(fd, mem::file_len(stat)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            Err(AttachError::NoSpace { name: name.to_owned() })
        }
        Err(source) => {
            Err(AttachError::System { action: "reserve space for", name: name.to_owned(), source })
        }
    }
}
