//! Ctrl-C: one is a clean stop that says how far the run was, two end it at once; either way no
//! process, no name and no mark on the terminal is left.
#![cfg(feature = "cli")]

#[path = "program/mod.rs"]
mod program;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use program::{children, is_alive, is_in_shm, pinpool, shm_name, wait, wait_until};

/// A run whose standard error is a terminal.
struct OnTerminal {
    child: Child,
    shm: String,
    terminal: OwnedFd,
    before: libc::termios,
    text: JoinHandle<String>,
}

fn settings(terminal: &OwnedFd) -> libc::termios {
    // SAFETY: plain numbers, all of which may be 0.
    let mut all = unsafe { std::mem::zeroed() };
    // SAFETY: an open terminal, and a place for its settings.
    assert_eq!(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &mut all) }, 0);
    all
}

impl OnTerminal {
    /// Starts a run of so many rounds, and waits until its job and its bar are there.
    fn start(test: &str, rounds: &str) -> OnTerminal {
        let (mut ours, mut theirs) = (0, 0);
        let none = std::ptr::null_mut();
        // SAFETY: two places for descriptors; a name, settings and a size are not asked for.
        let made = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
        assert_eq!(made, 0);
        // SAFETY: just opened, and nobody else's.
        let ours = unsafe { OwnedFd::from_raw_fd(ours) };
        // SAFETY: as above.
        let theirs = unsafe { OwnedFd::from_raw_fd(theirs) };
        let before = settings(&theirs);
        let shm = shm_name(test);
        let arguments = ["run", "trig-power", "--elements", "100k", "--chunk", "64", "--workers"];
        let mut command = pinpool(&arguments);
        command.args(["2", "--oversubscribe", "--rounds", rounds, "--name", &shm]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(theirs.try_clone().expect("a descriptor"));
        let child = command.spawn().expect("the program");
        drop(command);
        let mut from = File::from(ours);
        let text = std::thread::spawn(move || {
            let (mut all, mut part) = (Vec::new(), [0; 4096]);
            // A terminal whose other ends are closed is an error to read.
            while let Ok(n @ 1..) = from.read(&mut part) {
                all.extend_from_slice(&part[..n]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        wait_until("workers are busy", || children(child.id()).len() == 2 && is_in_shm(&shm));
        // The filling is over and the bar is drawn.
        std::thread::sleep(Duration::from_millis(1_000));
        OnTerminal { child, shm, terminal: theirs, before, text }
    }

    fn interrupt(&self) {
        // SAFETY: a child of ours that is not waited for yet.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, libc::SIGINT) }, 0);
    }

    /// Its exit status and what it wrote to the terminal, where nothing else is left.
    fn end(mut self) -> (Option<i32>, String) {
        let workers = children(self.child.id());
        let status = wait(&mut self.child);
        wait_until("its workers are gone", || !workers.iter().any(|&pid| is_alive(pid)));
        assert!(!is_in_shm(&self.shm), "the array is left");
        let after = settings(&self.terminal);
        assert_eq!(after.c_lflag, self.before.c_lflag);
        assert_eq!(after.c_iflag, self.before.c_iflag);
        assert_eq!(after.c_oflag, self.before.c_oflag);
        drop(self.terminal);
        let text = self.text.join().expect("it only reads");
        assert_eq!(
            text.matches("\x1b[?25l").count(),
            text.matches("\x1b[?25h").count(),
            "{text:?}"
        );
        (status.code(), text)
    }
}

#[test]
fn one_ctrl_c_is_a_clean_stop_that_says_how_far_it_came() {
    // A chunk takes some milliseconds.
    let run = OnTerminal::start("interrupt-one", "20k");
    run.interrupt();
    let (status, text) = run.end();
    assert_eq!(status, Some(130), "{text}");
    let last = text.rsplit(['\r', '\n']).find(|line| line.contains("pinpool:")).expect("a word");
    assert!(last.contains("ended by SIGINT after "), "{last}");
    assert!(last.contains("chunks of trig-power; nothing is left behind"), "{last}");
}

#[test]
fn two_end_it_at_once() {
    // A chunk takes minutes, so that a clean stop takes the whole grace of 0.7 seconds.
    let quickest = (0..4)
        .map(|_| {
            let run = OnTerminal::start("interrupt-two", "1G");
            let first = Instant::now();
            run.interrupt();
            // Two signals that are pending together are one.
            std::thread::sleep(Duration::from_millis(100));
            run.interrupt();
            let (status, text) = run.end();
            assert_eq!(status, Some(130), "{text}");
            assert!(text.contains("ended by SIGINT"), "{text}");
            first.elapsed()
        })
        .min();
    let quickest = quickest.expect("four");
    assert!(quickest < Duration::from_millis(600), "it took {quickest:?}");
}
