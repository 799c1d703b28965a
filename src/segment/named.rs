//! Named segments: POSIX shared memory that other programs find under /dev/shm/NAME.
//!
//! The crate `shared_memory` makes the object (exclusively, mode 0600); we open it again to have a
//! descriptor, and from there on it is mapped like every other segment. A shared `flock` on that
//! descriptor, which workers inherit, is the proof that somebody still uses it.
//!
//! Order of making, each step of which the collector can tell from the state that it leaves:
//! record without inode → object → lock → record with inode → reserve → (header, by `array`).
#![forbid(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use shared_memory::{ShmemConf, ShmemError};

use super::registry::{Record, Registry};
use super::{
    AttachError, CreateError, Kind, Reserve, Segment, audience, check_memory, size_and_reserve,
};
use crate::sys::mem;

/// Longest name: the file system takes 255 bytes.
const MAX_NAME_BYTES: usize = 200;

/// How often and how long an opener waits for one who looks whether the segment is dead.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The name of a segment, and who removes it.
#[derive(Debug)]
pub(crate) struct Named {
    name: String,
    /// Made by this process, not only attached to: only the maker removes the name.
    created: bool,
    persist: AtomicBool,
    /// The name was removed, or left to stay, when its owner let go of it.
    given_up: AtomicBool,
}

impl Named {
    fn new(name: &str, created: bool) -> Named {
        let (persist, given_up) = (AtomicBool::new(false), AtomicBool::new(false));
        Named { name: name.to_owned(), created, persist, given_up }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_removed_on_drop(&self) -> bool {
        self.created
            && !self.persist.load(Ordering::Relaxed)
            && !self.given_up.load(Ordering::Relaxed)
    }

    /// Whether the segment outlives everybody, as far as this process knows.
    pub(crate) fn persist(&self) -> bool {
        self.persist.load(Ordering::Relaxed)
    }

    /// Says so on record, for this process and for the collector.
    pub(crate) fn set_persist(&self, fd: BorrowedFd<'_>, persist: bool) -> io::Result<()> {
        let registry = Registry::for_writing()?;
        let locked = registry.lock()?;
        locked.write(&Record::of(&self.name, &mem::stat(fd)?, persist))?;
        self.persist.store(persist, Ordering::Relaxed);
        Ok(())
    }

    /// Removes name and record, if it is still ours to remove.
    pub(super) fn remove_on_drop(&self, fd: &OwnedFd) {
        if self.is_removed_on_drop() {
            remove(&self.name, fd.as_fd());
        }
        self.given_up.store(true, Ordering::Relaxed);
    }
}

/// Removes a segment's name and record for its dead or dropping maker; `fd` proves which segment it
/// was. What is gone already, is marked to stay, or belongs to somebody else by now is left alone.
pub(crate) fn remove(name: &str, fd: BorrowedFd<'_>) {
    let Ok(stat) = mem::stat(fd) else { return };
    let Ok(registry) = Registry::for_writing() else { return };
    let identity = mem::identity(&stat);
    let Ok(locked) = registry.lock() else {
        // Where the lock cannot be had the object goes all the same; its record is the collector's.
        let _ = registry.remove_object(name, identity);
        return;
    };
    // Somebody who is attached may have marked it since.
    let record = locked.record(name).filter(|record| record.identity == Some(identity));
    let ours = record.is_some();
    if record.is_some_and(|record| record.persist) {
        return;
    }
    if registry.remove_object(name, identity).is_ok() && ours {
        locked.remove_record(name);
    }
}

/// A name without its leading slash, if it can be one.
pub(crate) fn check_name(name: &str) -> Result<&str, &'static str> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if bare.is_empty() {
        Err("it is empty")
    } else if bare.len() > MAX_NAME_BYTES {
        Err("it is longer than 200 bytes")
    } else if bare.starts_with('.') {
        Err("it begins with a dot")
    } else if !bare.bytes().all(plain) {
        Err("it holds a character that is not allowed")
    } else {
        Ok(bare)
    }
}

impl Segment {
    /// Makes a segment of `len` zero bytes under a name that was free.
    pub(crate) fn named(
        name: &str,
        len: usize,
        reserve: Reserve,
    ) -> Result<Arc<Self>, CreateError> {
        let name = check_name(name)
            .map_err(|problem| CreateError::Name { name: name.to_owned(), problem })?
            .to_owned();
        let error = |action| {
            let name = name.clone();
            move |source: io::Error| CreateError::System { action, name, source }
        };
        check_memory(len)?;
        let registry = Registry::for_writing().map_err(error("open the registry for"))?;
        if let Some(free) = registry.shm_free().filter(|&free| free < len as u64) {
            let place = registry.shm_path().to_owned();
            return Err(CreateError::NoSpace { asked: len as u64, free, place });
        }
        let fd = make_recorded(&registry, &name, len)?;
        let fd_for_undo = fd.try_clone().map_err(error("map"));
        let named = Named::new(&name, true);
        let segment = Self::map(fd, len, true, Kind::Named(named)).map_err(|source| {
            if let Ok(fd) = fd_for_undo {
                remove(&name, fd.as_fd());
            }
            CreateError::System { action: "map", name: name.clone(), source }
        })?;
        // Where there is no room, dropping it removes the name. The length comes first, since a
        // worker that hears of the segment looks at it.
        let size =
            |reserve| size_and_reserve(&segment.fd, len, &name, registry.shm_path(), reserve);
        size(Reserve::Later)?;
        // Before the pages are reserved, which takes a while: workers that know the name remove it
        // if this process is killed meanwhile.
        audience::tell(&segment);
        if reserve == Reserve::Now {
            size(Reserve::Now)?;
        }
        Ok(segment)
    }

    /// Attaches to a segment that another process of this user made.
    pub(crate) fn open_named(name: &str, writable: bool) -> Result<Arc<Self>, AttachError> {
        let name = check_name(name)
            .map_err(|problem| AttachError::Name { name: name.to_owned(), problem })?
            .to_owned();
        let error = |action| {
            let name = name.clone();
            move |source: io::Error| match source.raw_os_error() {
                Some(libc::ENOENT) => AttachError::NotFound { name },
                Some(libc::ELOOP | libc::ENXIO) => AttachError::NotRegular { name },
                _ => AttachError::System { action, name, source },
            }
        };
        let shm = Registry::open_shm().map_err(error("open"))?;
        let flags = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let fd = mem::open_at(&shm, &name, flags).map_err(error("open"))?;
        lock_shared(&fd, &name)?;
        // After the lock, so that a collector that was faster shows as a missing link.
        let stat = mem::stat(&fd).map_err(error("examine"))?;
        check_attach(&stat, &name)?;
        let len = super::mappable_len(&stat, &name)?;
        super::fill_holes(&fd, &stat, &name, writable)?;
        let named = Named::new(&name, false);
        let map_error = error("map");
        Self::map(fd, len, writable, Kind::Named(named)).map_err(map_error)
    }
}

/// Record, object, lock, record again: all under the registry's lock, which is held for
/// microseconds, so that neither a collector nor another maker sees anything in between.
fn make_recorded(registry: &Registry, name: &str, len: usize) -> Result<OwnedFd, CreateError> {
    let error = |action| {
        move |source: io::Error| CreateError::System { action, name: name.to_owned(), source }
    };
    let locked = registry.lock().map_err(error("lock the registry for"))?;
    if locked.object_exists(name).map_err(error("look for"))? {
        return Err(CreateError::NameTaken { name: name.to_owned() });
    }
    locked.write(&Record::intent(name)).map_err(error("record"))?;
    let made = make_object(name, len).and_then(|()| {
        let fd = mem::open_at(registry.shm(), name, OFlags::RDWR).map_err(error("open"))?;
        mem::try_lock_shared(&fd).map_err(error("lock"))?;
        let stat = mem::stat(&fd).map_err(error("examine"))?;
        locked.write(&Record::of(name, &stat, false)).map_err(error("record"))?;
        Ok(fd)
    });
    if let Err(error) = &made {
        if !matches!(error, CreateError::NameTaken { .. }) {
            // What was made is ours: nobody else had the name a moment ago.
            locked.remove_unfinished(name);
        }
        locked.remove_record(name);
    }
    made
}

/// Has `shared_memory` make the object, and takes it out of its hands.
fn make_object(name: &str, len: usize) -> Result<(), CreateError> {
    let system = |source| CreateError::System { action: "create", name: name.to_owned(), source };
    // An object that gets descriptor 0 is never closed by shared_memory 0.12.
    let _occupied = occupy_descriptor_0().map_err(system)?;
    let made = ShmemConf::new().os_id(format!("/{name}")).size(len.max(1)).create();
    match made {
        Ok(mut object) => {
            object.set_owner(false);
            Ok(())
        }
        Err(ShmemError::MappingIdExists | ShmemError::LinkExists) => {
            Err(CreateError::NameTaken { name: name.to_owned() })
        }
        Err(
            ShmemError::MapCreateFailed(errno)
            | ShmemError::UnknownOsError(errno)
            | ShmemError::MapOpenFailed(errno),
        ) => Err(system(io::Error::from_raw_os_error(errno as i32))),
        Err(other) => Err(system(io::Error::other(other.to_string()))),
    }
}

/// Opens /dev/null on descriptor 0 for a moment, if the host closed its standard input.
fn occupy_descriptor_0() -> io::Result<Option<File>> {
    let file = File::open("/dev/null")?;
    Ok((file.as_raw_fd() == 0).then_some(file))
}

/// Takes the lock that says "in use"; somebody may be looking at it for a moment.
fn lock_shared(fd: &OwnedFd, name: &str) -> Result<(), AttachError> {
    for _ in 0..LOCK_TRIES {
        let locked = mem::try_lock_shared(fd).map_err(|source| AttachError::System {
            action: "lock",
            name: name.to_owned(),
            source,
        })?;
        if locked {
            return Ok(());
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(AttachError::Dying { name: name.to_owned() })
}

/// The rules of attaching, on what is open and not on its name: a regular file, ours, for nobody
/// else, with one name.
pub(super) fn check_attach(stat: &mem::Stat, name: &str) -> Result<(), AttachError> {
    let name = || name.to_owned();
    let user = rustix::process::geteuid().as_raw();
    if !mem::is_regular(stat) {
        Err(AttachError::NotRegular { name: name() })
    } else if stat.st_uid != user {
        Err(AttachError::Owner { name: name(), owner: stat.st_uid, user })
    } else if stat.st_mode & 0o077 != 0 {
        Err(AttachError::Mode { name: name(), mode: stat.st_mode & 0o7777 })
    } else if stat.st_nlink != 1 {
        Err(AttachError::Links { name: name(), links: mem::links(stat) })
    } else {
        Ok(())
    }
}
