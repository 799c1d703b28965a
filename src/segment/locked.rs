//! A file that one run has to itself: by an exclusive lock on an open file that its workers share.
//!
//! The lock is proof of life, as for names in /dev/shm: it lives as long as any process that has
//! the descriptor, and is never taken over from a process that may still store into the file.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CreateError, Kind, Reserve, Segment, check_memory, size_and_reserve};
use crate::sys::mem;

const FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

/// The file, open and locked.
#[derive(Debug)]
pub(crate) struct Locked {
    fd: OwnedFd,
    path: PathBuf,
}

/// Why a file could not be had.
#[derive(Debug)]
pub(crate) enum Refused {
    NotFound,
    /// Somebody has it, and still had it after the wait.
    InUse,
    /// No regular file of this user alone; the text says what it is.
    NotOurs(&'static str),
    System(&'static str, io::Error),
}

impl Locked {
    /// Opens `path`, made empty if it is not there, and waits so long for the lock.
    pub(crate) fn open(path: &Path, create: bool, wait: Duration) -> Result<Locked, Refused> {
        let end = Instant::now() + wait;
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(create)
                .mode(0o600)
                .custom_flags(FLAGS)
                .open(path)
                .map_err(|error| match error.raw_os_error() {
                    Some(libc::ENOENT) if !create => Refused::NotFound,
                    Some(libc::ELOOP | libc::ENXIO | libc::EISDIR) => {
                        Refused::NotOurs("no regular file")
                    }
                    _ => Refused::System("open", error),
                })?;
            let locked = Locked { fd: file.into(), path: path.to_owned() };
            locked.examine()?;
            let lock = mem::try_lock_exclusive(&locked.fd);
            if lock.map_err(|error| Refused::System("lock", error))? {
                // Who had the lock until a moment ago may have removed the name.
                if locked.is_at_its_path() {
                    return Ok(locked);
                }
            } else if Instant::now() >= end {
                return Err(Refused::InUse);
            } else {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    fn examine(&self) -> Result<(), Refused> {
        let stat = mem::stat(&self.fd).map_err(|error| Refused::System("examine", error))?;
        if !mem::is_regular(&stat) {
            return Err(Refused::NotOurs("no regular file"));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Refused::NotOurs("another user's"));
        }
        if stat.st_mode & 0o077 != 0 {
            return Err(Refused::NotOurs("open to others (chmod 600 it if you trust it)"));
        }
        // None: its maker has just removed it, which the look at the path finds out.
        if mem::links(&stat) > 1 {
            return Err(Refused::NotOurs("linked elsewhere too"));
        }
        Ok(())
    }

    fn is_at_its_path(&self) -> bool {
        is_at(&self.path, self.fd.as_fd())
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        Ok(mem::file_len(&mem::stat(&self.fd)?))
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        mem::read_at(&self.fd, buffer, offset)
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        mem::write_at(&self.fd, bytes, offset)
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        mem::set_len(&self.fd, len)
    }

    /// Sets the length and has every byte reserved.
    pub(crate) fn reserve(&self, len: usize) -> Result<(), CreateError> {
        let name = self.path.display().to_string();
        if mem::is_in_memory(&self.fd) {
            check_memory(len)?;
        }
        let place = format!("the file system of '{name}'");
        size_and_reserve(&self.fd, len, &name, &place, Reserve::Now).map(drop)
    }

    /// Bytes and length are on the disk, and so is the name.
    pub(crate) fn sync(&self) -> io::Result<()> {
        rustix::fs::fsync(&self.fd)?;
        sync_name(&self.path)
    }

    /// Maps so much of it; the mapping shares the lock.
    pub(crate) fn map(&self, len: usize) -> io::Result<Arc<Segment>> {
        let fd = mem::above_stdio(self.fd.try_clone()?)?;
        Segment::map(fd, len, true, Kind::File(self.path.clone()))
    }

    /// Removes the name.
    pub(crate) fn remove(&self) -> io::Result<()> {
        remove_if_at(&self.path, self.fd.as_fd())
    }
}

/// Removes `path`, if it still is the name of the open file.
pub(crate) fn remove_if_at(path: &Path, fd: BorrowedFd<'_>) -> io::Result<()> {
    if is_at(path, fd) { fs::remove_file(path) } else { Ok(()) }
}

fn is_at(path: &Path, fd: BorrowedFd<'_>) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(open), Ok(named)) = (mem::stat(fd), fs::symlink_metadata(path)) else { return false };
    mem::identity(&open) == (named.dev(), named.ino())
}

/// The directory that has the name is on the disk.
pub(crate) fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
