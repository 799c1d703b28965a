//! `pinpool run … --checkpoint`, `--resume`, `--durable`: killed at any time, the same bits.

#![cfg(feature = "cli")]

mod program;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use pinpool::{Checkpoint, SharedArray};
use program::{Outcome, pinpool, run, wait_until};
use rustix::process::{Pid, Signal};
use serde_json::Value;

const ELEMENTS: usize = 300_000;

fn make(path: &Path) {
    // SAFETY: this test's own file.
    let made = unsafe { SharedArray::<f64, _>::create_file(path, ELEMENTS) };
    let mut x = made.unwrap();
    x.as_mut_slice().iter_mut().zip(0u32..).for_each(|(v, i)| *v = f64::from(i % 1000) / 1000.0);
}

/// The words of a run in place of many rounds, so that it takes a while.
fn words(array: &Path, more: &[&str]) -> Vec<String> {
    let line = "run trig-power --in-place --rounds 60 --chunk 1000 --json --quiet --array";
    let words = line.split(' ').chain([array.to_str().unwrap()]).chain(more.iter().copied());
    words.map(str::to_owned).collect()
}

fn run_words(words: &[String]) -> Outcome {
    run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn start(words: &[String]) -> Child {
    let mut command = pinpool(&words.iter().map(String::as_str).collect::<Vec<_>>());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn().unwrap()
}

fn signal_group(child: &Child, signal: Signal) {
    let group = Pid::from_raw(child.id() as i32).unwrap();
    let _ = rustix::process::kill_process_group(group, signal);
}

struct Folder {
    folder: tempfile::TempDir,
    array: PathBuf,
    checkpoint: PathBuf,
}

fn folder() -> Folder {
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("x.npy");
    make(&array);
    let checkpoint = Checkpoint::beside(&array);
    Folder { folder, array, checkpoint }
}

/// Total, hash of the slots, and the file of a run that nothing disturbs.
fn undisturbed() -> (Value, Vec<u8>) {
    let f = folder();
    let outcome = run_words(&words(&f.array, &["--checkpoint", "--workers", "2"]));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(!f.checkpoint.exists(), "it has ended well");
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    (report, fs::read(&f.array).unwrap())
}

fn same(report: &Value, outcome: &Outcome) {
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    for key in ["total_bits", "slots_hash", "chunk", "chunks", "elements"] {
        assert_eq!(found[key], report[key], "{key}");
    }
}

#[test]
fn a_run_that_is_killed_as_a_whole_again_and_again_ends_with_the_same_bits() {
    let (report, changed) = undisturbed();
    for how in [&["--checkpoint"][..], &["--checkpoint", "--durable"]] {
        let f = folder();
        let mut kills = 0;
        let outcome = loop {
            let begun = f.checkpoint.exists();
            let more = if begun { &["--resume"][..] } else { how };
            let backend = ["processes", "threads", "serial"][kills as usize % 3];
            let more: Vec<&str> = more.iter().copied().chain(["--backend", backend]).collect();
            let child = start(&words(&f.array, &more));
            if kills < 12 {
                std::thread::sleep(Duration::from_millis(15 + 7 * kills));
                signal_group(&child, Signal::KILL);
            }
            let output = child.wait_with_output().unwrap();
            // The checkpoint goes after the result was printed: a kill behind that changes nothing.
            let printed = !f.checkpoint.exists() && !output.stdout.is_empty();
            if output.status.success() || printed {
                break Outcome {
                    status: output.status,
                    stdout: String::from_utf8(output.stdout).unwrap(),
                    stderr: String::from_utf8(output.stderr).unwrap(),
                };
            }
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
            if stderr.contains("was not complete") {
                // Killed while it made its checkpoint: begun anew.
                fs::remove_file(&f.checkpoint).unwrap();
                continue;
            }
            assert!(killed, "{stderr}");
            kills += 1;
        };
        println!("{how:?}: {kills} kills");
        same(&report, &outcome);
        assert!(fs::read(&f.array).unwrap() == changed, "{how:?}: the file's bytes");
        assert_eq!(fs::read_dir(f.folder.path()).unwrap().count(), 1, "only the array is left");
    }
}

#[test]
fn ctrl_c_keeps_what_is_done_and_says_how_to_go_on() {
    let (report, changed) = undisturbed();
    let f = folder();
    let child = start(&words(&f.array, &["--checkpoint", "--workers", "2"]));
    wait_until("it has begun", || {
        fs::read(&f.checkpoint).is_ok_and(|b| b.get(4096..4104).is_some_and(|w| w[0] & 3 == 2))
    });
    signal_group(&child, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("x.npy.pinpool': --resume goes on"), "{stderr}");
    let outcome = run_words(&words(&f.array, &["--resume", "--workers", "3"]));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    same(&report, &outcome);
    assert!(fs::read(&f.array).unwrap() == changed);
    assert!(!f.checkpoint.exists());
}

#[test]
fn what_does_not_fit_is_refused_and_named() {
    let f = folder();
    let first = fs::read(&f.array).unwrap();
    let refused = |more: &[&str], text: &str, code: i32| {
        let mut line = words(&f.array, more);
        // The last of an option that is given twice would be an error of its own.
        if more.contains(&"--chunk") || more.contains(&"--rounds") {
            let given = |option: &str| more.contains(&option);
            for option in ["--chunk", "--rounds"] {
                if given(option) {
                    let at = line.iter().position(|w| w == option).unwrap();
                    line.drain(at..at + 2);
                }
            }
        }
        let outcome = run_words(&line);
        assert_eq!(outcome.code(), code, "{more:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(text), "{more:?}: {}", outcome.stderr);
        assert_eq!(outcome.stdout, "");
    };
    refused(&[], "give --checkpoint to begin or --resume to go on", 2);
    refused(&["--resume"], "there is no checkpoint", 2);
    refused(&["--checkpoint", "--resume"], "cannot be used with", 2);
    refused(&["--resume", "--durable"], "cannot be used with", 2);
    refused(&["--durable"], "required", 2);
    refused(&["--checkpoint", "--verify"], "cannot be used with", 2);
    refused(&["--checkpoint", "--elements", "5"], "cannot be used with", 2);
    assert!(fs::read(&f.array).unwrap() == first && !f.checkpoint.exists());

    // A run that was interrupted, to be gone on with by the wrong words.
    let child = start(&words(&f.array, &["--checkpoint", "--workers", "1"]));
    wait_until("it has begun", || {
        fs::read(&f.checkpoint).is_ok_and(|b| b.get(4096..4104).is_some_and(|w| w[0] & 3 == 2))
    });
    signal_group(&child, Signal::KILL);
    child.wait_with_output().unwrap();
    let state = || (fs::read(&f.array).unwrap(), fs::read(&f.checkpoint).unwrap());
    let before = state();
    refused(&["--resume", "--chunk", "2000"], "the chunk length was 1000 and is 2000 now", 2);
    refused(&["--resume", "--rounds", "61"], "other parameters", 2);
    refused(&["--resume", "--seed", "7"], "the seed was 42 and is 7 now", 2);
    refused(&["--checkpoint"], "is there already", 2);
    assert!(state() == before, "refused, but something was changed");
    fs::remove_file(&f.array).unwrap();
    make(&f.array);
    refused(&["--resume"], "argument 0 is another file", 2);
}
