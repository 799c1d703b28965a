//! The soak: everything at once, for as long as one likes, and at the end nothing is left.
//!
//! Hosts in processes of their own run jobs whose kernels die, panic, overrun and are cancelled,
//! under limits that are reached, and compare every bit with a serial run (`soak/host.rs`); a
//! collector removes dead names all the while. From here they get SIGKILL, for workers, for hosts,
//! for whole groups and for the collector, and SIGSTOP with SIGCONT. By default it takes some
//! seconds; half an hour of it, with figures each minute:
//!
//!     PINPOOL_SOAK_SECONDS=1800 cargo test --release --test soak -- --nocapture
#![allow(clippy::zombie_processes)] // `Soak::reap` reaps everything

mod faults;
#[path = "soak/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use faults::{
    Dice, ROLE, children, names, open_descriptors, role, signal_child, skip, stat, victim, watchdog,
};
use pinpool::segments;
use rustix::process::{Pid, Signal, WaitOptions};

/// How the names of arrays of the soak begin.
const PREFIX: &str = "pinpool-soak";
/// Set in the host whose /dev/shm is small.
const SMALL: &str = "PINPOOL_SOAK_SMALL";
const HOSTS: usize = 3;
/// A host that says nothing for so long hangs: no round of it takes two seconds.
const SILENCE: Duration = Duration::from_secs(90);

/// Plays a role, in a process of its own.
#[test]
fn the_victim() {
    if role().is_some() {
        // Nobody plays on when the soak has failed.
        // SAFETY: sets an attribute of this process.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    }
    match role().as_deref() {
        Some("host") => host::host(),
        Some("collector") => loop {
            let report = segments::gc().expect("a registry");
            println!("collected {}", report.removed.len());
            segments::list().expect("a registry");
            std::thread::sleep(Duration::from_millis(30));
        },
        _ => {}
    }
}

/// A process that this one started, and what it says.
struct Player {
    pid: u32,
    role: &'static str,
    lines: Receiver<String>,
    heard: Instant,
    /// It is itself, and not a shell that prepares its /dev/shm.
    ready: bool,
}

/// A host was killed; these of its workers are still to notice.
struct Orphans {
    since: Instant,
    pids: Vec<u32>,
}

struct Soak {
    dice: Dice,
    players: Vec<Player>,
    orphans: Vec<Orphans>,
    /// Stopped processes, and when each goes on.
    stopped: Vec<(u32, Instant)>,
    figures: BTreeMap<String, u64>,
    longest_notice: Duration,
    /// Whether `unshare` gives a host a /dev/shm of its own here.
    small: bool,
}

fn start(role: &'static str, seed: u64, small: bool) -> Player {
    let mut command = victim(role);
    if small {
        // Behind a mount namespace of its own.
        let script = "mount -t tmpfs -o size=64k tmpfs /dev/shm && exec \"$0\" \"$@\"";
        let inner = command;
        command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(inner.get_program()).args(inner.get_args());
        command.env(ROLE, role).env(SMALL, "1");
    }
    command.env("PINPOOL_TEST_SEED", seed.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("a process");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let (send, lines): (Sender<String>, _) = channel();
    std::thread::spawn(move || {
        // Lines that a death cut short, or made of bytes, say nothing.
        for line in output.lines() {
            let Ok(line) = line else { continue };
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Player { pid: child.id(), role, lines, heard: Instant::now(), ready: !small }
}

impl Soak {
    fn new() -> Soak {
        let works = Command::new("unshare").args(["-m", "true"]).output();
        let small = works.is_ok_and(|o| o.status.success());
        if !small {
            skip("the host with a small /dev/shm", "`unshare -m` does not work here; run as root");
        }
        Soak {
            dice: Dice::new("soak"),
            players: Vec::new(),
            orphans: Vec::new(),
            stopped: Vec::new(),
            figures: BTreeMap::new(),
            longest_notice: Duration::ZERO,
            small,
        }
    }

    fn count(&mut self, what: &str, n: u64) {
        *self.figures.entry(what.to_owned()).or_default() += n;
    }

    /// Starts whoever is missing.
    fn fill(&mut self) {
        while self.players.iter().filter(|p| p.role == "host").count() < HOSTS {
            let small = self.small && self.dice.below(4) == 0;
            let host = start("host", self.dice.roll(), small);
            self.players.push(host);
            self.count("hosts started", 1);
        }
        if !self.players.iter().any(|p| p.role == "collector") {
            self.players.push(start("collector", 0, false));
            self.count("collectors started", 1);
        }
    }

    /// Takes what the players have said.
    fn listen(&mut self) {
        let mut said = Vec::new();
        for player in &mut self.players {
            for line in player.lines.try_iter() {
                player.heard = Instant::now();
                player.ready = true;
                said.push(line);
            }
            let silent = player.heard.elapsed();
            assert!(
                silent < SILENCE,
                "{} {} hangs: silent for {silent:?}",
                player.role,
                player.pid
            );
        }
        said.iter().for_each(|line| self.take(line));
    }

    fn take(&mut self, line: &str) {
        assert!(!line.starts_with("WRONG"), "{line}");
        let words: Vec<&str> = line.split(' ').collect();
        for pair in words.chunks_exact(2) {
            let known = ["rounds", "jobs", "chunks", "again", "deaths", "collected"];
            if let (true, Ok(n)) = (known.contains(&pair[0]), pair[1].parse()) {
                self.count(pair[0], n);
            }
        }
    }

    fn pick(&mut self, role: &str) -> Option<u32> {
        let all: Vec<u32> = self.players.iter().filter(|p| p.role == role).map(|p| p.pid).collect();
        (!all.is_empty()).then(|| all[self.dice.below(all.len() as u64) as usize])
    }

    /// One fault from outside.
    fn strike(&mut self) {
        let me = std::process::id();
        let Some(host) = self.pick("host") else { return };
        // A shell that mounts has no workers, and ends when what it runs is killed.
        let ready = self.players.iter().any(|p| p.pid == host && p.ready);
        let workers = if ready { children(host) } else { Vec::new() };
        let one = |dice: &mut Dice| match workers.len() {
            0 => None,
            n => Some(workers[dice.below(n as u64) as usize]),
        };
        match self.dice.below(1_000) {
            0..12 => self.end(host, false),
            12..20 => self.end(host, true),
            20..24 => {
                let collector = self.pick("collector").expect("there is one");
                self.count("collectors killed", signal_child(collector, me, Signal::KILL).into());
                self.forget(collector);
            }
            24..32 if signal_child(host, me, Signal::STOP) => {
                let until = Instant::now() + Duration::from_millis(self.dice.below(60));
                self.stopped.push((host, until));
                self.count("hosts stopped", 1);
            }
            32..150 => {
                let Some(worker) = one(&mut self.dice) else { return };
                if signal_child(worker, host, Signal::STOP) {
                    let until = Instant::now() + Duration::from_millis(self.dice.below(40));
                    self.stopped.push((worker, until));
                    self.count("workers stopped", 1);
                }
            }
            150..200 => {
                let killed = workers.iter().filter(|&&w| signal_child(w, host, Signal::KILL));
                let killed = killed.count() as u64;
                self.count("workers killed", killed);
                self.count("times all workers of a pool at once", 1);
            }
            _ => {
                let Some(worker) = one(&mut self.dice) else { return };
                self.count("workers killed", signal_child(worker, host, Signal::KILL).into());
            }
        }
    }

    /// Kills a host, or all of its group at once.
    fn end(&mut self, host: u32, group: bool) {
        let workers = children(host);
        let pid = Pid::from_raw(host as i32).expect("a pid");
        if group {
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            self.count("groups killed", 1);
        } else {
            assert!(signal_child(host, std::process::id(), Signal::KILL), "a host ended by itself");
            self.count("hosts killed", 1);
        }
        self.orphans.push(Orphans { since: Instant::now(), pids: workers });
        self.forget(host);
    }

    /// Takes what is left of a player's words, and the player off the list.
    fn forget(&mut self, pid: u32) {
        let at = self.players.iter().position(|p| p.pid == pid).expect("a player");
        let player = self.players.swap_remove(at);
        // Its pipe ends with the last of its processes.
        while let Ok(line) = player.lines.recv_timeout(Duration::from_millis(1)) {
            self.take(&line);
        }
    }

    /// Lets stopped processes go on whose time has come, or all.
    fn go_on(&mut self, all: bool) {
        let now = Instant::now();
        let (due, rest): (Vec<_>, Vec<_>) =
            self.stopped.drain(..).partition(|(_, until)| all || *until <= now);
        self.stopped = rest;
        for (pid, _) in due {
            // Whoever its parent is now; a pid that is another's by now is ours or not stopped.
            if let Some(parent) = stat(pid).and_then(|s| s[1].parse().ok()) {
                signal_child(pid, parent, Signal::CONT);
            }
        }
    }

    /// Reaps what ended, and sees how long orphans live; no player ends by itself.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get() as u32;
            if self.players.iter().any(|p| p.pid == pid) {
                // What it said last may be the reason.
                self.forget(pid);
                panic!("player {pid} ended by itself: {status:?}");
            }
        }
        let mut longest = self.longest_notice;
        self.orphans.retain_mut(|o| {
            o.pids.retain(|&pid| stat(pid).is_some_and(|s| s[0] != "Z" && s[0] != "X"));
            longest = longest.max(o.since.elapsed());
            !o.pids.is_empty()
        });
        self.longest_notice = longest;
        assert!(longest < Duration::from_secs(20), "orphans run on for {longest:?}");
    }

    fn report(&self, since: Instant) {
        let figures: Vec<_> = self.figures.iter().map(|(what, n)| format!("{what} {n}")).collect();
        println!(
            "after {} s: {}; longest notice of a host's death {:?}",
            since.elapsed().as_secs(),
            figures.join(", "),
            self.longest_notice
        );
    }
}

fn prepare() {
    // SAFETY: sets an attribute of this process: orphans come to it.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads a live value; thousands of deaths leave no core.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) }, 0);
}

#[test]
fn under_all_faults_at_once_no_bit_changes_and_nothing_is_left() {
    if role().is_some() {
        return;
    }
    let seconds = std::env::var("PINPOOL_SOAK_SECONDS").map_or(6, |s| s.parse().expect("seconds"));
    let _watchdog = watchdog("the soak", seconds + 300);
    prepare();
    let before = open_descriptors();
    let (mut soak, start) = (Soak::new(), Instant::now());
    let end = start + Duration::from_secs(seconds);
    let (mut next, mut report) = (start, start + Duration::from_secs(60));
    while Instant::now() < end {
        soak.fill();
        soak.listen();
        soak.go_on(false);
        soak.reap();
        if Instant::now() >= next {
            soak.strike();
            next = Instant::now() + Duration::from_micros(soak.dice.below(24_000));
        }
        if Instant::now() >= report {
            soak.report(start);
            report += Duration::from_secs(60);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    soak.go_on(true);
    for pid in soak.players.iter().map(|p| p.pid).collect::<Vec<_>>() {
        soak.end(pid, false);
    }
    let gone = faults::wait_until(30, || {
        soak.reap();
        // Reaped to the last: the first thread of a process that ends is a zombie while its other
        // threads still hold their files, and with them the locks of names.
        matches!(rustix::process::wait(WaitOptions::NOHANG), Err(rustix::io::Errno::CHILD))
    });
    soak.report(start);
    assert!(gone, "processes are left: {:?}", children(std::process::id()));
    segments::gc().expect("a registry");
    assert_eq!(names(PREFIX), [""; 0], "names are left");
    let on_record = segments::list().expect("a registry");
    assert!(!on_record.iter().any(|s| s.name.starts_with(PREFIX)), "{on_record:?}");
    // The threads that listen end with the pipes.
    assert!(faults::wait_until(10, || open_descriptors() == before), "descriptors are left");
    assert!(soak.figures.get("rounds").is_some_and(|&n| n > 0), "no round was finished");
}
