//! A process that is a worker: intercepted before `main`, checked, bound, and then the loop.
//!
//! The parent executes the program again with one environment variable. A static in
//! `.init_array` sees it before `main` runs, so that a program needs no guard in its `main`; a
//! host whose kernels need other constructors calls [`init`] first in `main` instead.

use std::collections::{HashMap, HashSet};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};

use crate::control::{Control, ControlError, store_text};
use crate::error::Death;
use crate::mail::{self, Message};
use crate::segment::Segment;
use crate::sys::{image, process};
use crate::worker::{SegmentSource, Worker};

/// The variable that marks a worker; taken out of the environment before user code runs.
pub(crate) const VARIABLE: &str = "PINPOOL_WORKER";

/// For `pinpool-worker`: the shared object that it is to load, and what it is to call in it.
pub(crate) const LIBRARY_VARIABLE: &str = "PINPOOL_LIBRARY";
pub(crate) const ENTRY_VARIABLE: &str = "PINPOOL_ENTRY";

/// The symbol of [`enter`]; it names the version, so that two versions of the library may be in
/// one program.
pub(crate) const ENTRY_NAME: &str = "pinpool_worker_0_1";

/// Status of a worker that could not begin, and could not say it in the control block either:
/// that was not the one it had expected, or was made by another build of the image.
const UNFIT: i32 = 70;
const OTHER_BUILD: i32 = 72;
/// Status of `pinpool-worker` where the image could not be loaded; what the loader said stands on
/// its standard error.
const NOT_LOADED: i32 = 71;

/// The host starts its workers in `main`.
static IN_MAIN: AtomicBool = AtomicBool::new(false);

/// This process is a worker.
static IS_WORKER: AtomicBool = AtomicBool::new(false);

/// For hosts whose kernels need C++ or Fortran constructors, or plugins: call it first in `main`.
///
/// In a worker process it does not return. In the parent it says that workers are to start here
/// and no longer before `main`. Programs in Rust alone need not call it.
pub fn init() {
    IN_MAIN.store(true, Ordering::Relaxed);
    if let Some(marker) = Marker::from_env() {
        become_worker(&marker);
    }
}

/// What `pinpool-worker` calls after it has loaded this image: becomes the worker.
///
/// Not before, while the image's own constructors run: the loader would keep its lock, on which
/// threads of a kernel could wait for ever.
#[unsafe(export_name = "pinpool_worker_0_1")]
pub(crate) extern "C" fn enter() {
    let _ = std::panic::catch_unwind(|| {
        if let Some(marker) = Marker::from_env() {
            become_worker(&marker);
        }
    });
}

pub(crate) fn starts_in_main() -> bool {
    // A linker takes out of a static library what is referred to: whoever starts workers refers
    // to what intercepts them.
    std::hint::black_box(&START);
    IN_MAIN.load(Ordering::Relaxed)
}

/// Why a worker ended before it was ready, where it could not say so itself.
pub(crate) fn start_failure(death: Death) -> String {
    match death {
        Death::Exit(OTHER_BUILD) => "its code is another build than the parent's: the file of the \
             program or of the shared object was replaced; start the program anew"
            .into(),
        Death::Exit(NOT_LOADED) => "the workers' program could not load the shared object that \
             pinpool's code is in; what the loader says stands on standard error"
            .into(),
        death => format!("it died by {death} before it was ready"),
    }
}

pub(crate) fn is_worker() -> bool {
    IS_WORKER.load(Ordering::Relaxed)
}

/// What the parent tells a worker: everything else lies in the control block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) control: i32,
    pub(crate) bytes: usize,
    pub(crate) socket: i32,
    pub(crate) worker: usize,
    pub(crate) incarnation: u32,
    pub(crate) parent: u32,
    pub(crate) in_main: bool,
    /// Where it is to run; empty for anywhere.
    pub(crate) pus: Vec<usize>,
}

impl Marker {
    pub(crate) fn to_text(&self) -> String {
        let pus: Vec<_> = self.pus.iter().map(ToString::to_string).collect();
        format!(
            "1:{}:{}:{}:{}:{}:{}:{}:{}",
            self.control,
            self.bytes,
            self.socket,
            self.worker,
            self.incarnation,
            self.parent,
            u8::from(self.in_main),
            pus.join(",")
        )
    }

    pub(crate) fn parse(text: &str) -> Option<Marker> {
        let mut parts = text.split(':');
        if parts.next()? != "1" {
            return None;
        }
        let marker = Marker {
            control: parts.next()?.parse().ok().filter(|&fd| fd > 2)?,
            bytes: parts.next()?.parse().ok()?,
            socket: parts.next()?.parse().ok().filter(|&fd| fd > 2)?,
            worker: parts.next()?.parse().ok()?,
            incarnation: parts.next()?.parse().ok()?,
            parent: parts.next()?.parse().ok()?,
            in_main: parts.next()? == "1",
            pus: match parts.next()? {
                "" => Vec::new(),
                list => list.split(',').map(|pu| pu.parse().ok()).collect::<Option<_>>()?,
            },
        };
        parts.next().is_none().then_some(marker)
    }

    fn from_env() -> Option<Marker> {
        let marker = Marker::parse(std::env::var_os(VARIABLE)?.to_str()?)?;
        (!process::is_privileged()).then_some(marker)
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = before_main;

extern "C" fn before_main() {
    // Whatever happens in a constructor must not unwind into the loader.
    let _ = std::panic::catch_unwind(|| match Marker::from_env() {
        Some(marker) if !marker.in_main => become_worker(&marker),
        _ => {}
    });
}

fn become_worker(marker: &Marker) -> ! {
    // SAFETY: the only thread so far: a worker's own threads start below.
    unsafe { std::env::remove_var(VARIABLE) };
    IS_WORKER.store(true, Ordering::Relaxed);
    process::worker_signals();
    let status = std::panic::catch_unwind(|| serve(marker));
    // A line that a kernel has begun.
    let _ = std::io::Write::flush(&mut std::io::stdout());
    process::flush_c_streams();
    process::exit_now(match status {
        Ok(Ok(())) => 0,
        Ok(Err(status)) => status,
        Err(_) => UNFIT,
    })
}

/// The whole life of a worker; an error is the status of one that could not even say what was
/// wrong.
fn serve(marker: &Marker) -> Result<(), i32> {
    let Some(parent) = process::watch_parent(marker.parent) else { return Ok(()) };
    // SAFETY: the parent handed this number down for this purpose, and nobody else has it.
    let control = unsafe { OwnedFd::from_raw_fd(marker.control) };
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(marker.socket) };
    // For this process alone: a child of a kernel must not reach the control block.
    for fd in [&control, &socket] {
        let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    }
    let control = attach(control, marker.bytes)?;
    if marker.worker >= control.workers() {
        return Err(UNFIT);
    }
    let standing = &control.worker(marker.worker).standing;
    let refuse = |text: &str| {
        let len = store_text(&standing.text, text);
        standing.text_len.store(len, Ordering::Release);
        Ok(())
    };
    let name = format!("pinpool/{}", marker.worker);
    let _ = rustix::thread::set_name(&std::ffi::CString::new(name).unwrap_or_default());
    let cleanup = Arc::new(Mutex::new(HashMap::new()));
    let watched =
        socket.try_clone().and_then(|socket| watch_parent(parent, socket, Arc::clone(&cleanup)));
    if let Err(error) = watched {
        return refuse(&format!("its watcher thread did not start: {error}"));
    }
    if let Err(text) = bind(&marker.pus) {
        return refuse(&text);
    }
    if let Some(isa) = forced_isa(&control) {
        let _ = pinpool_kernels::isa::force(isa);
    }
    crate::panics::install_hook();
    let mut source = Mailbox::new(socket, cleanup);
    // A successor learns at once what its predecessor knew: which names go if the parent dies.
    source.tidy();
    let mut worker = Worker::new(control.clone(), marker.worker, marker.incarnation, source);
    if let Err(text) = worker.initialize() {
        return refuse(&text);
    }
    standing.pid.store(std::process::id().into(), Ordering::Relaxed);
    standing.pu.store(process::current_pu() as u64, Ordering::Relaxed);
    standing.ready.store(u64::from(marker.incarnation) + 1, Ordering::Release);
    control.ring();
    worker.run();
    Ok(())
}

/// Maps the control block if it is what the parent makes: ours, sealed, of this build.
fn attach(fd: OwnedFd, bytes: usize) -> Result<Control, i32> {
    let stat = rustix::fs::fstat(&fd).map_err(|_| UNFIT)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(UNFIT);
    }
    let segment = Segment::from_descriptor(fd, bytes, true).map_err(|_| UNFIT)?;
    if !segment.is_sealed() {
        return Err(UNFIT);
    }
    let id = image::build_id().map_err(|_| UNFIT)?;
    Control::attach(segment, id).map_err(|error| match error {
        ControlError::Build | ControlError::Version { .. } => OTHER_BUILD,
        _ => UNFIT,
    })
}

/// Takes the place that the parent chose, before any memory of a job is touched.
fn bind(pus: &[usize]) -> Result<(), String> {
    if pus.is_empty() {
        return Ok(());
    }
    crate::placement::bind::bind_current_thread(pus).map(|_| ()).map_err(|e| e.to_string())
}

fn forced_isa(control: &Control) -> Option<pinpool_kernels::isa::Isa> {
    let index = control.header().isa.load(Ordering::Relaxed);
    pinpool_kernels::isa::Isa::ALL.get(usize::try_from(index).ok()?.checked_sub(1)?).copied()
}

/// When the parent is gone, the names of its segments go, and so does this process.
fn watch_parent(parent: OwnedFd, socket: OwnedFd, cleanup: Cleanup) -> std::io::Result<()> {
    std::thread::Builder::new().name("pinpool/parent".into()).stack_size(64 * 1024).spawn(
        move || {
            loop {
                let mut fds = [PollFd::new(&parent, PollFlags::IN)];
                if poll(&mut fds, None).is_ok_and(|n| n > 0) {
                    break;
                }
            }
            // A worker that sleeps or is busy has not taken all its mail.
            let mut rest = Mailbox::new(socket, cleanup);
            rest.tidy();
            let names = rest.cleanup.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, segment) in names.values() {
                crate::segment::remove_named(name, segment.fd());
            }
            process::exit_now(0)
        },
    )?;
    // The death signal is this thread's own (the kernel keeps one a thread), so it is this one that
    // must clear it; it would kill the watcher before the names are gone.
    process::parent_is_watched();
    Ok(())
}

/// Names to remove, by segment.
type Cleanup = Arc<Mutex<HashMap<u64, (String, Arc<Segment>)>>>;

/// Segments that arrive by descriptor.
#[derive(Debug)]
struct Mailbox {
    socket: OwnedFd,
    segments: HashMap<u64, Arc<Segment>>,
    /// Came, and could not be mapped: a file that was truncated meanwhile.
    broken: HashSet<u64>,
    cleanup: Cleanup,
}

impl Mailbox {
    fn new(socket: OwnedFd, cleanup: Cleanup) -> Mailbox {
        Mailbox { socket, segments: HashMap::new(), broken: HashSet::new(), cleanup }
    }

    /// Takes one message, if one is there.
    fn take(&mut self) -> Result<Option<Message>, rustix::io::Errno> {
        // Locked first: between a message's arrival and its place in the list the other thread could
        // find neither.
        let mut names = self.cleanup.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((message, fd)) = mail::receive(&self.socket)? else { return Ok(None) };
        if !message.is_map() {
            self.segments.remove(&message.id);
            self.broken.remove(&message.id);
            names.remove(&message.id);
        } else if let Some(fd) = fd {
            let len = usize::try_from(message.len).unwrap_or(usize::MAX);
            let Ok(segment) = Segment::from_descriptor(fd, len, message.writable != 0) else {
                self.broken.insert(message.id);
                return Ok(Some(message));
            };
            if let Some(name) = message.cleanup() {
                names.insert(message.id, (name.to_owned(), Arc::clone(&segment)));
            }
            self.segments.insert(message.id, segment);
        }
        Ok(Some(message))
    }
}

impl SegmentSource for Mailbox {
    fn segment(&mut self, id: u64) -> Option<Arc<Segment>> {
        loop {
            if let Some(segment) = self.segments.get(&id) {
                return Some(Arc::clone(segment));
            }
            if self.broken.contains(&id) {
                return None;
            }
            let Some(message) = self.take().ok()? else {
                let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
                let limit = rustix::time::Timespec { tv_sec: 10, tv_nsec: 0 };
                if let Ok(0) = poll(&mut fds, Some(&limit)) {
                    return None;
                }
                continue;
            };
            if message.id == id && !message.is_map() {
                // Gone before it came: this worker is late in a job that is over.
                return None;
            }
        }
    }

    fn tidy(&mut self) {
        while matches!(self.take(), Ok(Some(_))) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_as_it_was_written() {
        let marker = Marker {
            control: 17,
            bytes: 4096,
            socket: 18,
            worker: 3,
            incarnation: 2,
            parent: 4711,
            in_main: true,
            pus: vec![0, 1030],
        };
        assert_eq!(Marker::parse(&marker.to_text()), Some(marker));
    }

    #[test]
    fn the_entry_is_called_after_the_version_of_this_crate() {
        let version =
            concat!(env!("CARGO_PKG_VERSION_MAJOR"), "_", env!("CARGO_PKG_VERSION_MINOR"));
        assert_eq!(ENTRY_NAME, format!("pinpool_worker_{version}"));
    }

    #[test]
    fn a_foreign_marker_is_refused() {
        for text in
            ["", "1", "2:3:4:5:6:7:8:0:", "1:0:4096:4:0:0:1:0:", "1:3:4:5:6:7:8:0:9:", "1:a"]
        {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
    }
}
