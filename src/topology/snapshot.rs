//! Files under a root directory: the running machine (`/`) or another machine's snapshot.
//!
//! Reading is bounded and never waits: only regular files count, opened without blocking, cut at
//! [`FILE_LIMIT`]; a missing or unreadable file is `None`. Under another root, links are resolved
//! inside it, so that a snapshot never shows a fact of the machine it is read on. No parsing here.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// No file that we read is longer: a list of every second of 8192 PUs takes 20 KiB.
const FILE_LIMIT: u64 = 1 << 20;

/// No directory that we list has more entries.
const ENTRY_LIMIT: usize = 1 << 17;

/// A root directory that `sys` and `proc` are read under.
#[derive(Debug)]
pub(crate) struct Snapshot {
    root: PathBuf,
    /// Held open where it is not the running machine.
    inside: Option<File>,
}

impl Snapshot {
    pub(crate) fn open(root: &Path) -> std::io::Result<Self> {
        let live = root.canonicalize()? == Path::new("/");
        let inside = if live { None } else { Some(File::open(root)?) };
        Ok(Self { root: root.to_path_buf(), inside })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path as the user would have to type it.
    pub(crate) fn full(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The first bytes of a regular file.
    pub(crate) fn read(&self, path: &str) -> Option<Vec<u8>> {
        let file = self.open_file(path)?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(FILE_LIMIT).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A file that holds one small number, which may be negative.
    pub(crate) fn read_number(&self, path: &str) -> Option<i64> {
        std::str::from_utf8(super::cpulist::trim(&self.read(path)?)).ok()?.parse().ok()
    }

    /// Numbers N for which the directory holds an entry `<prefix>N`, ascending.
    pub(crate) fn numbered(&self, dir: &str, prefix: &str, limit: usize) -> Vec<usize> {
        let mut numbers: Vec<usize> = self
            .names(dir)
            .iter()
            .filter_map(|name| name.strip_prefix(prefix.as_bytes()))
            .filter_map(|digits| super::cpulist::number(digits, limit).ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn names(&self, dir: &str) -> Vec<Vec<u8>> {
        let Some(file) = self.open_with(dir, OFlags::DIRECTORY) else { return Vec::new() };
        let Ok(entries) = rustix::fs::Dir::read_from(file) else { return Vec::new() };
        entries
            .take(ENTRY_LIMIT)
            .map_while(Result::ok)
            .map(|entry| entry.file_name().to_bytes().to_vec())
            .collect()
    }

    fn open_file(&self, path: &str) -> Option<File> {
        self.open_with(path, OFlags::empty())
    }

    fn open_with(&self, path: &str, flags: OFlags) -> Option<File> {
        // Without O_NONBLOCK, opening a FIFO waits for its writer.
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let relative = path.trim_start_matches('/');
        if let Some(dir) = &self.inside {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(dir, relative, flags, Mode::empty(), resolve) {
                Ok(fd) => return Some(fd.into()),
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {}
                Err(_) => return None,
            }
        }
        let extra = (flags - OFlags::RDONLY).bits();
        OpenOptions::new()
            .read(true)
            .custom_flags(i32::try_from(extra).ok()?)
            .open(self.full(path))
            .ok()
    }
}
