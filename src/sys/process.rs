//! Processes: starting a worker, what it sets up first, and how a death is seen.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::time::Timespec;

use crate::error::Death;

/// What a worker process is started with.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The path of its program.
    pub(crate) program: String,
    /// What `ps` shows.
    pub(crate) arg0: String,
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Descriptors that it inherits under their own numbers.
    pub(crate) keep: &'a [BorrowedFd<'a>],
    pub(crate) stdout: BorrowedFd<'a>,
    pub(crate) stderr: BorrowedFd<'a>,
    /// It leads a process group of its own; else it is in its parent's.
    pub(crate) own_group: bool,
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

/// File actions of `posix_spawn`, freed on drop.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Actions> {
        let mut raw = std::mem::MaybeUninit::uninit();
        // SAFETY: `init` fills the value that the pointer names.
        check(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        // SAFETY: it was filled just now.
        Ok(Actions(unsafe { raw.assume_init() }))
    }

    /// `from` becomes `to` in the child; with `to == from` it is merely inherited.
    fn dup2(&mut self, from: i32, to: i32) -> io::Result<()> {
        // SAFETY: the actions are initialized; the numbers are only recorded.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&mut self.0, from, to) })
    }

    fn open_null(&mut self, to: i32) -> io::Result<()> {
        let path = c"/dev/null".as_ptr();
        // SAFETY: the actions are initialized; the path is a constant, and it is copied.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(&mut self.0, to, path, libc::O_RDONLY, 0)
        })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

/// Attributes of `posix_spawn`, freed on drop.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    /// No blocked signals, and the default action for each: a worker inherits no habits.
    fn plain_signals(own_group: bool) -> io::Result<Attributes> {
        let mut raw = std::mem::MaybeUninit::uninit();
        // SAFETY: `init` fills the value that the pointer names.
        check(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: it was filled just now.
        let mut attributes = Attributes(unsafe { raw.assume_init() });
        let mut set = std::mem::MaybeUninit::uninit();
        // SAFETY: fills the set.
        unsafe { libc::sigemptyset(set.as_mut_ptr()) };
        // SAFETY: initialized attributes, and a set that was filled just now.
        check(unsafe { libc::posix_spawnattr_setsigmask(&mut attributes.0, set.as_ptr()) })?;
        // SAFETY: fills the set.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: as above.
        check(unsafe { libc::posix_spawnattr_setsigdefault(&mut attributes.0, set.as_ptr()) })?;
        let mut flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        if own_group {
            flags |= libc::POSIX_SPAWN_SETPGROUP;
            // SAFETY: initialized attributes; group 0 is one that is called after the child.
            check(unsafe { libc::posix_spawnattr_setpgroup(&mut attributes.0, 0) })?;
        }
        // SAFETY: initialized attributes.
        check(unsafe {
            libc::posix_spawnattr_setflags(&mut attributes.0, flags as libc::c_short)
        })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialized in `plain_signals`, destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}

/// Executes a worker's program; gives the child and its pidfd.
pub(crate) fn start(start: &Start<'_>) -> io::Result<(Pid, OwnedFd)> {
    let mut actions = Actions::new()?;
    actions.open_null(0)?;
    actions.dup2(start.stdout.as_raw_fd(), 1)?;
    actions.dup2(start.stderr.as_raw_fd(), 2)?;
    for fd in start.keep {
        actions.dup2(fd.as_raw_fd(), fd.as_raw_fd())?;
    }
    let attributes = Attributes::plain_signals(start.own_group)?;
    let program = c_string(start.program.as_bytes())?;
    let arg0 = c_string(start.arg0.as_bytes())?;
    let env: Vec<CString> = start
        .env
        .iter()
        .map(|(k, v)| c_string(&[k.as_bytes(), b"=", v.as_bytes()].concat()))
        .collect::<io::Result<_>>()?;
    let mut argv = [arg0.as_ptr().cast_mut(), std::ptr::null_mut()];
    let mut envp: Vec<_> = env.iter().map(|s| s.as_ptr().cast_mut()).collect();
    envp.push(std::ptr::null_mut());
    let mut pid: libc::pid_t = 0;
    // SAFETY: all pointers are to live, null-terminated strings and arrays for the call.
    check(unsafe {
        libc::posix_spawn(
            &mut pid,
            program.as_ptr(),
            &actions.0,
            &attributes.0,
            argv.as_mut_ptr(),
            envp.as_mut_ptr(),
        )
    })?;
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
    // Free of races: it is our own child, and nobody but the supervisor reaps it.
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok((pid, fd)),
        Err(error) => {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(error.into())
        }
    }
}

/// Reaps the process behind a pidfd if it has ended.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Option<Death> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    loop {
        return match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Ok(None) => None,
            Ok(Some(status)) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Death::Exit(code),
                (_, Some(signal)) => Death::Signal(signal),
                _ => Death::Unknown,
            }),
            Err(rustix::io::Errno::INTR) => continue,
            // The host ignores SIGCHLD or reaps all children itself: the pidfd alone says whether
            // it is dead, and nothing else may, since recovery follows.
            Err(_) => has_ended(pidfd).then_some(Death::Unknown),
        };
    }
}

/// Whether the process behind a pidfd has ended.
fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&at_once)).is_ok_and(|n| n > 0)
}

/// Kills the process behind a pidfd.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

/// First steps of a worker: it dies with the thread that started it, unless it takes over
/// watching the parent itself; `None`: the parent is gone already.
pub(crate) fn watch_parent(parent: u32) -> Option<OwnedFd> {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let expected = Pid::from_raw(parent as i32)?;
    if rustix::process::getppid() != Some(expected) {
        return None;
    }
    rustix::process::pidfd_open(expected, PidfdFlags::empty()).ok()
}

/// The watcher of the parent runs: the parent's threads may come and go now.
pub(crate) fn parent_is_watched() {
    let _ = rustix::process::set_parent_process_death_signal(None);
}

/// The process was started with more rights than its user has.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: reads a word of the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// What std does before `main`, and a worker before that: a closed pipe is an error and no death.
/// What terminals, batch systems and `mpirun` send to whole groups is the parent's business: when
/// it dies of it, workers remove its names and end. In a group of its own a worker writes to a
/// terminal from behind: that must not stop it.
pub(crate) fn worker_signals() {
    let groups = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    for signal in [libc::SIGPIPE, libc::SIGTTOU].into_iter().chain(groups) {
        // SAFETY: installs no handler of ours, only "ignore".
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What C code has printed and not yet written.
pub(crate) fn flush_c_streams() {
    // SAFETY: flushes all output streams of the C library.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process at once, without destructors of anybody.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: does not return; open files are the kernel's business.
    unsafe { libc::_exit(status) }
}

/// Where the kernel runs this thread right now.
pub(crate) fn current_pu() -> usize {
    // The C library's, which asks nobody where the kernel's own code lies: valgrind has it elsewhere.
    // SAFETY: takes nothing and gives a number.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Counts in a child that was forked from this process, so that it knows that it is one.
pub(crate) mod forks {
    use std::sync::Once;
    use std::sync::atomic::{AtomicU64, Ordering};

    static FORKS: AtomicU64 = AtomicU64::new(0);

    extern "C" fn in_child() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    /// How many forks lie between this process and the one that first asked.
    pub(crate) fn generation() -> u64 {
        FORKS.load(Ordering::Relaxed)
    }

    /// From now on children count.
    pub(crate) fn watch() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the handler adds to an atomic and does nothing else.
            unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        });
    }
}

/// PUs that this process may run on, by the scheduler's own count.
pub(crate) fn allowed_pus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bits of a process's mark: its pid, which Linux keeps below 2^22, and the low bits of the time
/// of its start, since pids are used again.
pub(crate) const OWNER_BITS: u32 = PID_BITS + START_BITS;
const PID_BITS: u32 = 22;
const START_BITS: u32 = 12;

/// The mark of this process.
pub(crate) fn own_mark() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    /// Mark and, above it, the number of forks that it was found at.
    static MARK: AtomicU64 = AtomicU64::new(0);
    forks::watch();
    let forks = (forks::generation() & 0xffff) << OWNER_BITS;
    let known = MARK.load(Ordering::Relaxed);
    let mask = (1 << OWNER_BITS) - 1;
    if known & mask != 0 && known & !mask == forks {
        return known & mask;
    }
    let pid = std::process::id();
    let mark = u64::from(pid) | start_of(pid).unwrap_or(0) << PID_BITS;
    MARK.store(mark | forks, Ordering::Relaxed);
    mark
}

/// Whether the process with this mark is alive.
pub(crate) fn process_lives(mark: u64) -> bool {
    let pid = (mark & ((1 << PID_BITS) - 1)) as u32;
    start_of(pid) == Some(mark >> PID_BITS)
}

/// The low bits of a process's start time; `None`: it is dead, a zombie included.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, in parentheses, and may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = fields.next()?;
    let start: u64 = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start & ((1 << START_BITS) - 1))
}
