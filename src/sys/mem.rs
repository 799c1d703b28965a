//! System calls on segments: make, size, reserve, seal, lock, read and write by descriptor.
//!
//! One function a call, or a call with its retries; no policy. Everything goes through rustix, so
//! nothing here is unsafe. Mapping itself is `memmap2`'s. Called by `segment` and `memory`.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;

pub(crate) use rustix::fs::Stat;

/// Reserved piece by piece, so that a signal that interrupts the call costs one piece, not all.
const RESERVE_PIECE_BYTES: u64 = 64 << 20;

/// Type bits of `st_mode`.
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;

/// A nameless file in memory: closed on exec, sealable, never executable where the kernel can say so.
pub(crate) fn memfd(label: &str) -> io::Result<OwnedFd> {
    memfd_with(label, MemfdFlags::empty())
}

/// The same in reserved huge pages of 2^`shift` bytes; 0: of the system's default size.
pub(crate) fn memfd_huge(label: &str, shift: u32) -> io::Result<OwnedFd> {
    const SHIFT_AT: u32 = 26; // MFD_HUGE_SHIFT
    memfd_with(label, MemfdFlags::HUGETLB | MemfdFlags::from_bits_retain(shift << SHIFT_AT))
}

fn memfd_with(label: &str, more: MemfdFlags) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | more;
    let fd = match rustix::fs::memfd_create(label, flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 does not know NOEXEC_SEAL.
        Err(Errno::INVAL) => rustix::fs::memfd_create(label, flags),
        other => other,
    }?;
    above_stdio(fd)
}

/// The same file under a number above 2: a host that has closed its standard streams gets their
/// numbers from the next call, and a child's would be lost under its own standard streams.
pub(crate) fn above_stdio(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, 3)?)
}

/// Nobody that holds this memfd can change its length from here on, nor take the seals off.
pub(crate) fn seal_length(fd: impl AsFd) -> io::Result<()> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    Ok(rustix::fs::fcntl_add_seals(fd, seals)?)
}

/// Whether the length of this file is sealed, which only a memfd's can be.
pub(crate) fn is_length_sealed(fd: impl AsFd) -> bool {
    let wanted = SealFlags::SHRINK | SealFlags::GROW;
    rustix::fs::fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(wanted))
}

/// Sets the length of a file.
pub(crate) fn set_len(fd: impl AsFd, len: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(fd, len)?)
}

/// Reserves `len` bytes from the start of a file, so that no later store can meet a full file
/// system. `Ok(false)`: this file system cannot reserve.
pub(crate) fn reserve(fd: impl AsFd, len: u64) -> io::Result<bool> {
    let fd = fd.as_fd();
    let mut offset = 0;
    while offset < len {
        let piece = RESERVE_PIECE_BYTES.min(len - offset);
        match rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, piece) {
            Ok(()) => offset += piece,
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Takes the shared lock that proves that somebody lives. `Ok(false)`: a collector has it.
pub(crate) fn try_lock_shared(fd: impl AsFd) -> io::Result<bool> {
    try_lock(fd, FlockOperation::NonBlockingLockShared)
}

/// Takes the lock that only one can have. `Ok(false)`: somebody else has one.
pub(crate) fn try_lock_exclusive(fd: impl AsFd) -> io::Result<bool> {
    try_lock(fd, FlockOperation::NonBlockingLockExclusive)
}

fn try_lock(fd: impl AsFd, operation: FlockOperation) -> io::Result<bool> {
    let fd = fd.as_fd();
    loop {
        match rustix::fs::flock(fd, operation) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives a lock back. Said aloud, since a plain fork of the host may hold the same open file.
pub(crate) fn unlock(fd: impl AsFd) {
    // It fails only for a descriptor that is not open.
    let _ = rustix::fs::flock(fd, FlockOperation::Unlock);
}

/// What the kernel says of an open file.
pub(crate) fn stat(fd: impl AsFd) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(fd)?)
}

/// What the kernel says of a name in a directory; a symbolic link is not followed.
pub(crate) fn stat_at(dir: impl AsFd, name: &str) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether this is a regular file.
pub(crate) fn is_regular(stat: &Stat) -> bool {
    stat.st_mode & S_IFMT == S_IFREG
}

/// Whether this is a directory.
pub(crate) fn is_directory(stat: &Stat) -> bool {
    stat.st_mode & S_IFMT == S_IFDIR
}

/// Device and inode: the identity of a file while it exists.
pub(crate) fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// When a file was made, in nanoseconds since 1970; 0 where the file system does not keep it.
///
/// With the inode's number it is the identity of a file that outlives the machine's being off: the
/// device's number does not.
pub(crate) fn birth(fd: impl AsFd) -> u64 {
    let flags = rustix::fs::StatxFlags::BTIME;
    match rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, flags) {
        Ok(found) if found.stx_mask & flags.bits() != 0 => {
            let seconds = u64::try_from(found.stx_btime.tv_sec).unwrap_or(0);
            seconds.wrapping_mul(1_000_000_000).wrapping_add(found.stx_btime.tv_nsec.into())
        }
        _ => 0,
    }
}

/// How many names a file has.
#[allow(clippy::unnecessary_cast, reason = "it is a u32 on aarch64")]
pub(crate) fn links(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

/// Length in bytes; a negative one, which no kernel reports, is 0.
pub(crate) fn file_len(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Bytes of a file that have no block yet, so that a store may have to find one.
pub(crate) fn hole_bytes(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0);
    file_len(stat).saturating_sub(blocks.saturating_mul(512))
}

/// Opens a name in a directory: no link followed, no wait for a FIFO's other end, closed on exec.
pub(crate) fn open_at(dir: impl AsFd, name: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?)
}

/// Reads at an offset until `buffer` is full or the file ends; says how much.
pub(crate) fn read_at(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let fd = fd.as_fd();
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` at an offset.
pub(crate) fn write_at(fd: impl AsFd, bytes: &[u8], offset: u64) -> io::Result<()> {
    let fd = fd.as_fd();
    let mut done = 0;
    while done < bytes.len() {
        match rustix::io::pwrite(fd, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Bytes that this user may still take from the file system of an open file; `None` where it has
/// no limit of its own (a tmpfs of size 0) or does not say.
pub(crate) fn file_system_free(fd: impl AsFd) -> Option<u64> {
    let stat = rustix::fs::fstatvfs(fd).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The longest file that this process may make; `None`: no limit.
pub(crate) fn file_size_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// Bytes of a page of a file in reserved huge pages; `None` for every other file.
pub(crate) fn huge_page_bytes(fd: impl AsFd) -> Option<usize> {
    const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;
    let fs = rustix::fs::fstatfs(fd).ok()?;
    (fs.f_type as u64 & 0xffff_ffff == HUGETLBFS_MAGIC)
        .then(|| usize::try_from(fs.f_bsize).ok())
        .flatten()
}

/// Whether a file lies in memory (tmpfs, ramfs), so that its bytes count as memory.
pub(crate) fn is_in_memory(fd: impl AsFd) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    rustix::fs::fstatfs(fd).is_ok_and(|fs| matches!(fs.f_type as u64, TMPFS_MAGIC | RAMFS_MAGIC))
}
