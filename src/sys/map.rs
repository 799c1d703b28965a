//! Mapping a file so that huge pages fit: from an address that is a multiple of 2 MiB.
//!
//! The kernel maps a huge page of a file in one piece only where file offset and address agree
//! modulo its size, and picks such an address by itself only under some settings. `memmap2` maps
//! wherever the kernel likes; what came to lie askew is mapped again at a place of our choice.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use memmap2::{Advice, MmapOptions, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags};

/// Transparent huge pages of x86-64, and of aarch64 with pages of 4 KiB.
pub(crate) const HUGE_BYTES: usize = 2 << 20;

/// A mapping of a whole file from its start, shared, undone on drop.
#[derive(Debug)]
pub(crate) enum Mapping {
    /// Where the kernel put it.
    Plain(MmapRaw),
    /// Where huge pages fit.
    Aligned(Aligned),
}

impl Mapping {
    /// Maps `len` bytes of a file.
    pub(crate) fn new(fd: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Self> {
        let map = plain(fd, len, writable)?;
        if len < HUGE_BYTES || (map.as_ptr() as usize).is_multiple_of(HUGE_BYTES) {
            return Ok(Self::Plain(map));
        }
        // Before the second one, since the address space may be limited.
        drop(map);
        match Aligned::new(fd, len, writable) {
            Ok(map) => Ok(Self::Aligned(map)),
            Err(_) => Ok(Self::Plain(plain(fd, len, writable)?)),
        }
    }

    /// The first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        match self {
            Self::Plain(map) => map.as_mut_ptr(),
            Self::Aligned(map) => map.base,
        }
    }

    /// No child that is forked inherits it.
    pub(crate) fn keep_from_children(&self) -> io::Result<()> {
        match self {
            Self::Plain(map) => map.advise(Advice::DontFork),
            Self::Aligned(map) => map.keep_from_children(),
        }
    }
}

fn plain(fd: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<MmapRaw> {
    let mut options = MmapOptions::new();
    options.len(len);
    if writable {
        options.map_raw(fd.as_raw_fd())
    } else {
        options.map_raw_read_only(fd.as_raw_fd())
    }
}

/// A mapping at a multiple of [`HUGE_BYTES`].
#[derive(Debug)]
pub(crate) struct Aligned {
    base: *mut u8,
    len: usize,
}

// SAFETY: the address of a mapping that belongs to the process, not to a thread; it is only handed
// out, never read through here.
unsafe impl Send for Aligned {}
// SAFETY: as above.
unsafe impl Sync for Aligned {}

impl Aligned {
    fn new(fd: BorrowedFd<'_>, len: usize, writable: bool) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let len = len.checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let room = len.checked_add(HUGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address that the kernel chooses touches no other one.
        let found =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), room, ProtFlags::empty(), flags) };
        let found: *mut u8 = found?.cast();
        let before = (found as usize).next_multiple_of(HUGE_BYTES) - found as usize;
        let base = found.wrapping_add(before);
        let read = ProtFlags::READ;
        let protection = if writable { read | ProtFlags::WRITE } else { read };
        // SAFETY: it replaces a part of the mapping of a line above, which nobody else knows.
        let mapped = unsafe {
            rustix::mm::mmap(
                base.cast(),
                len,
                protection,
                MapFlags::SHARED | MapFlags::FIXED,
                fd,
                0,
            )
        };
        if let Err(error) = mapped {
            unmap(found, room);
            return Err(error.into());
        }
        unmap(found, before);
        unmap(base.wrapping_add(len), room - before - len);
        Ok(Self { base, len })
    }

    fn keep_from_children(&self) -> io::Result<()> {
        // SAFETY: the range is this mapping, which the value owns; no byte of it changes.
        let done = unsafe {
            rustix::mm::madvise(self.base.cast(), self.len, rustix::mm::Advice::LinuxDontFork)
        };
        Ok(done?)
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        unmap(self.base, self.len);
    }
}

/// Takes away a range of whole pages that this file has mapped and nobody uses.
fn unmap(at: *mut u8, len: usize) {
    if len > 0 {
        // SAFETY: the callers own the range and give it up. It fails for odd ranges only.
        let _ = unsafe { rustix::mm::munmap(at.cast(), len) };
    }
}
