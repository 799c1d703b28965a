//! File segments: an array in a file that the user names by path.
//!
//! The file is the user's: it is made exclusively and for him alone (mode 0600), and never removed
//! once it is whole. Symbolic links are followed when one is opened, as everywhere else.
#![forbid(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::{AttachError, CreateError, Kind, Reserve, Segment, check_memory, size_and_reserve};
use crate::sys::mem;

/// Opening must not wait for a FIFO's other end, nor make a terminal ours.
const OPEN_FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;

impl Segment {
    /// Makes a file of `len` zero bytes that was not there before. One on a disk is always reserved
    /// now, since its blocks are not memory.
    pub(crate) fn create_file(
        path: &Path,
        len: usize,
        reserve: Reserve,
    ) -> Result<Arc<Self>, CreateError> {
        let name = path.display().to_string();
        let error = |action, source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => CreateError::FileExists { path: name.clone() },
            _ => CreateError::System { action, name: name.clone(), source },
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OPEN_FLAGS)
            .open(path)
            .map_err(|source| error("create", source))?;
        let fd = OwnedFd::from(file);
        let place = format!("the file system of '{name}'");
        let (room, reserve) = match mem::is_in_memory(&fd) {
            true => (check_memory(len), reserve),
            false => (Ok(()), Reserve::Now),
        };
        let sized = room.and_then(|()| size_and_reserve(&fd, len, &name, &place, reserve));
        let made = sized.and_then(|()| {
            Self::map(fd, len, true, Kind::File(path.to_owned()))
                .map_err(|source| error("map", source))
        });
        if made.is_err() {
            // Best effort: the first error is the one to report.
            let _ = fs::remove_file(path);
        }
        made
    }

    /// Maps a file that is there, whole.
    pub(crate) fn open_file(path: &Path, writable: bool) -> Result<Arc<Self>, AttachError> {
        let name = path.display().to_string();
        let error = |action| {
            let name = name.clone();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => AttachError::NotFound { name },
                io::ErrorKind::IsADirectory => AttachError::NotRegular { name },
                _ => AttachError::System { action, name, source },
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(writable)
            .custom_flags(OPEN_FLAGS)
            .open(path)
            .map_err(error("open"))?;
        let fd = OwnedFd::from(file);
        let stat = mem::stat(&fd).map_err(error("examine"))?;
        if !mem::is_regular(&stat) {
            return Err(AttachError::NotRegular { name });
        }
        let len = super::mappable_len(&stat, &name)?;
        super::fill_holes(&fd, &stat, &name, writable)?;
        let map_error = error("map");
        Self::map(fd, len, writable, Kind::File(path.to_owned())).map_err(map_error)
    }
}
