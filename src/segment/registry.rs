//! The registry: a record of every named segment of this user, so that the dead can be found.
//!
//! A user chooses any name, so a name does not tell what is pinpool's. A directory of the user's own
//! in /dev/shm (`pinpool-UID`, mode 0700) holds one small text file for each named segment: name,
//! device and inode, maker, whether it is to stay. What it keeps:
//! - records and names change only under the directory's lock, which is held for microseconds;
//! - a record without inode is written before the object is made, one with it after, so that a
//!   maker killed at any step leaves something the collector can judge;
//! - an object is removed only where name, record and open descriptor are the same inode, it is
//!   this user's, and its own exclusive lock could be had, so that nobody uses it;
//! - everything goes by descriptor and name in a directory (`*at`), and no link is followed.
//!
//! Another user who squats on the directory's name only makes us take another one.
//! Called by `named` and by the public `segments`.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use super::named::{check_attach, check_name};
pub(crate) use super::record::Record;
use crate::sys::mem;

const SHM: &str = "/dev/shm";

/// A record under way; no segment's name begins with a dot.
const NEW_RECORD: &str = ".new";
const MAX_RECORD_BYTES: usize = 1024;

/// How often and how long one waits for the directory's lock, which nobody keeps.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_micros(50);
const LOCK_LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// The directory that named segments are in.
#[derive(Debug)]
pub(crate) struct Registry {
    shm: OwnedFd,
    shm_path: String,
    user: u32,
}

/// What the collector finds a recorded segment to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Somebody holds its lock.
    Live,
    /// It is to stay.
    Persistent,
    /// Nobody holds it.
    Dead,
    /// The name is gone, or something else has it now: only the record is left.
    Gone,
}

impl Registry {
    /// The registry of this user in /dev/shm.
    pub(crate) fn for_writing() -> io::Result<Self> {
        Self::at(Path::new(SHM))
    }

    /// The directory of shared-memory objects.
    pub(crate) fn open_shm() -> io::Result<OwnedFd> {
        open_directory(Path::new(SHM))
    }

    /// A registry in any directory; /dev/shm but in tests.
    pub(crate) fn at(shm: &Path) -> io::Result<Self> {
        Ok(Self {
            shm: open_directory(shm)?,
            shm_path: shm.display().to_string(),
            user: rustix::process::geteuid().as_raw(),
        })
    }

    pub(crate) fn shm(&self) -> &OwnedFd {
        &self.shm
    }

    pub(crate) fn shm_path(&self) -> &str {
        &self.shm_path
    }

    /// Bytes free for new objects; `None`: no limit of its own.
    pub(crate) fn shm_free(&self) -> Option<u64> {
        mem::file_system_free(&self.shm)
    }

    /// Locks the directory of records, which is made if it is not there.
    pub(crate) fn lock(&self) -> io::Result<Locked<'_>> {
        loop {
            let (dir_name, dir) = self.own_directory()?;
            if let Some(locked) = self.lock_directory(dir_name, dir)? {
                return Ok(locked);
            }
        }
    }

    /// Locks every directory of records that there is; more than one only after squatting.
    pub(crate) fn lock_existing(&self) -> io::Result<Vec<Locked<'_>>> {
        let mut all = Vec::new();
        for name in self.candidates()? {
            if let Found::Ours(dir) = self.open_own(&name)?
                && let Some(locked) = self.lock_directory(name, dir)?
            {
                all.push(locked);
            }
        }
        Ok(all)
    }

    /// Removes an object if the name still means this inode. `Err`: it could not be removed.
    pub(crate) fn remove_object(&self, name: &str, identity: (u64, u64)) -> io::Result<()> {
        match mem::stat_at(&self.shm, name)? {
            Some(stat) if mem::identity(&stat) == identity => unlink(&self.shm, name),
            _ => Ok(()),
        }
    }

    fn base_name(&self) -> String {
        format!("pinpool-{}", self.user)
    }

    /// The first directory that is ours, or a new one under a name that is free.
    fn own_directory(&self) -> io::Result<(String, OwnedFd)> {
        let base = self.base_name();
        loop {
            make_directory(&self.shm, &base)?;
            match self.open_own(&base)? {
                Found::Ours(dir) => return Ok((base, dir)),
                // Another process found it empty and removed it in between.
                Found::Nothing => {}
                Found::Foreign => break,
            }
        }
        // Somebody else has our name: take one that he cannot have guessed.
        for name in self.candidates()? {
            if let Found::Ours(dir) = self.open_own(&name)? {
                return Ok((name, dir));
            }
        }
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name = format!("{base}-{:016x}", u64::from_le_bytes(random));
        make_directory(&self.shm, &name)?;
        match self.open_own(&name)? {
            Found::Ours(dir) => Ok((name, dir)),
            Found::Nothing | Found::Foreign => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Names that a directory of ours can have, as far as they are there.
    fn candidates(&self) -> io::Result<Vec<String>> {
        let base = self.base_name();
        let with_suffix = format!("{base}-");
        let mut names = names_in(&self.shm)?;
        names.retain(|name| *name == base || name.starts_with(&with_suffix));
        names.sort();
        Ok(names)
    }

    /// Opens a directory if it is one, ours and closed to all others.
    fn open_own(&self, name: &str) -> io::Result<Found> {
        let dir = match mem::open_at(&self.shm, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(dir) => dir,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ENOENT) => Ok(Found::Nothing),
                    Some(libc::ENOTDIR | libc::ELOOP | libc::EACCES) => Ok(Found::Foreign),
                    _ => Err(error),
                };
            }
        };
        let stat = mem::stat(&dir)?;
        let ours =
            mem::is_directory(&stat) && stat.st_uid == self.user && stat.st_mode & 0o077 == 0;
        Ok(if ours { Found::Ours(dir) } else { Found::Foreign })
    }

    /// Takes a directory's lock. `None`: it was removed while we waited.
    fn lock_directory(&self, dir_name: String, dir: OwnedFd) -> io::Result<Option<Locked<'_>>> {
        let start = Instant::now();
        let mut pause = LOCK_PAUSE;
        while start.elapsed() < LOCK_PATIENCE {
            if mem::try_lock_exclusive(&dir)? {
                let identity = mem::identity(&mem::stat(&dir)?);
                let now = mem::stat_at(&self.shm, &dir_name)?;
                let same = now.is_some_and(|stat| mem::identity(&stat) == identity);
                if !same {
                    // Not a `Locked` yet: dropping one removes what now has the name.
                    return Ok(None);
                }
                return Ok(Some(Locked { registry: self, dir_name, dir }));
            }
            thread::sleep(pause);
            pause = LOCK_LONGEST_PAUSE.min(pause * 2);
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "another process of yours has held {}/{dir_name} locked for 5 s; is it stopped?",
                self.shm_path
            ),
        ))
    }
}

/// What has the name of a directory of records.
enum Found {
    Ours(OwnedFd),
    Nothing,
    /// Somebody else's, no directory, or open to others.
    Foreign,
}

/// The directory of records, locked; given back, and removed if it is empty, on drop.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    registry: &'a Registry,
    dir_name: String,
    dir: OwnedFd,
}

impl Locked<'_> {
    /// Whether anything has this name, a symbolic link included.
    pub(crate) fn object_exists(&self, name: &str) -> io::Result<bool> {
        Ok(mem::stat_at(&self.registry.shm, name)?.is_some())
    }

    /// Writes a record whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let file = mem::open_at(&self.dir, NEW_RECORD, flags)?;
        mem::write_at(&file, record.to_text().as_bytes(), 0)?;
        Ok(rustix::fs::renameat(&self.dir, NEW_RECORD, &self.dir, record.name.as_str())?)
    }

    /// Removes a record; one that is not there is no error.
    pub(crate) fn remove_record(&self, name: &str) {
        let _ = unlink(&self.dir, name);
    }

    /// Removes an object that its maker, who holds this lock, could not finish.
    pub(crate) fn remove_unfinished(&self, name: &str) {
        let _ = unlink(&self.registry.shm, name);
    }

    /// All records, and the names of files here that are none.
    pub(crate) fn records(&self) -> io::Result<(Vec<Record>, Vec<String>)> {
        let (mut records, mut damaged) = (Vec::new(), Vec::new());
        let mut names = names_in(&self.dir)?;
        names.sort();
        for name in names {
            match self.read(&name)? {
                Some(record) => records.push(record),
                None => damaged.push(name),
            }
        }
        Ok((records, damaged))
    }

    /// The record of a name, if there is one that can be read.
    pub(crate) fn record(&self, name: &str) -> Option<Record> {
        self.read(name).ok()?
    }

    /// `None`: there is no such record. That it cannot be looked at (no descriptor is free, say) proves
    /// nothing, and is an error.
    fn read(&self, name: &str) -> io::Result<Option<Record>> {
        if check_name(name).is_err() {
            return Ok(None);
        }
        let file = match mem::open_at(&self.dir, name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) => {
                let no_record = [libc::ENOENT, libc::ELOOP, libc::ENXIO, libc::EACCES];
                let errno = error.raw_os_error().unwrap_or(0);
                return if no_record.contains(&errno) { Ok(None) } else { Err(error) };
            }
        };
        if !mem::is_regular(&mem::stat(&file)?) {
            return Ok(None);
        }
        let mut text = [0; MAX_RECORD_BYTES];
        let len = mem::read_at(&file, &mut text, 0)?;
        let record = std::str::from_utf8(&text[..len]).ok().and_then(Record::from_text);
        Ok(record.filter(|record| record.name == name))
    }

    /// Judges a recorded segment, and gives its length; with `collect` a dead one is removed with
    /// its record, and so is a record that nothing is left of.
    pub(crate) fn examine(&self, record: &Record, collect: bool) -> io::Result<(Finding, u64)> {
        let finding = self.judge(record, collect)?;
        if collect && matches!(finding.0, Finding::Dead | Finding::Gone) {
            self.remove_record(&record.name);
        }
        Ok(finding)
    }

    fn judge(&self, record: &Record, collect: bool) -> io::Result<(Finding, u64)> {
        let gone = Ok((Finding::Gone, 0));
        let shm = &self.registry.shm;
        let object = match mem::open_at(shm, &record.name, OFlags::RDONLY) {
            Ok(object) => object,
            Err(error) => {
                // Nothing, a link, a socket, or somebody else's: not what was recorded.
                let absent = [libc::ENOENT, libc::ELOOP, libc::ENXIO, libc::EACCES];
                let errno = error.raw_os_error().unwrap_or(0);
                return if absent.contains(&errno) { gone } else { Err(error) };
            }
        };
        let stat = mem::stat(&object)?;
        let bytes = mem::file_len(&stat);
        match record.identity {
            Some(identity) if identity != mem::identity(&stat) => return gone,
            Some(_) if stat.st_uid != self.registry.user => return gone,
            Some(_) => {}
            // Its maker was killed half way. Only what looks just made is taken for his.
            None if check_attach(&stat, &record.name).is_err() => return gone,
            None if !begins_with_zeros(&object)? => return gone,
            None => {}
        }
        if record.persist {
            return Ok((Finding::Persistent, bytes));
        }
        if !mem::try_lock_exclusive(&object)? {
            return Ok((Finding::Live, bytes));
        }
        if collect {
            self.registry.remove_object(&record.name, mem::identity(&stat))?;
        }
        mem::unlock(&object);
        Ok((Finding::Dead, bytes))
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Fails where records are left, which is the usual case.
        let _ =
            rustix::fs::unlinkat(&self.registry.shm, self.dir_name.as_str(), AtFlags::REMOVEDIR);
        mem::unlock(&self.dir);
    }
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Makes a directory for this user alone, if nothing has that name.
fn make_directory(parent: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn unlink(dir: &OwnedFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Names in a directory, but for `.` and `..` and what is not UTF-8, which no name of ours is.
fn names_in(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir.as_fd())? {
        if let Ok(name) = entry?.file_name().to_str()
            && name != "."
            && name != ".."
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether no header was written yet: the magic comes last when an array is made.
fn begins_with_zeros(object: &OwnedFd) -> io::Result<bool> {
    let mut start = [0; 8];
    mem::read_at(object, &mut start, 0)?;
    Ok(start == [0; 8])
}
