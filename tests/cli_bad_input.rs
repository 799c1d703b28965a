//! Bad input: a clear message, the right exit status, and nothing left behind.

#![cfg(feature = "cli")]

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use program::{children, is_alive, is_in_shm, npy, pinpool, run, run_with, shm_name, wait_until};

/// Runs a command line that must fail with this status and a message of one line that has `words`.
fn bad(line: &[&str], code: i32, words: &str) {
    let outcome = run(line);
    let context = format!("{line:?}: {} / {}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.code(), code, "{context}");
    assert_eq!(outcome.stdout, "", "{context}");
    assert!(outcome.stderr.contains(words), "{words:?} is not in {context}");
    assert!(!outcome.stderr.contains("panicked"), "{context}");
}

#[test]
fn no_workers_or_absurdly_many_are_refused() {
    bad(&["run", "trig-power", "--workers", "0"], 2, "give at least 1");
    bad(&["run", "trig-power", "--workers", "1000000"], 2, "1000000 workers");
    bad(&["compare", "trig-power", "--workers", "1e18"], 2, "workers");
    bad(&["run", "trig-power", "--workers", "-1"], 2, "-1");
}

#[test]
fn chunks_and_elements_of_zero_are_refused() {
    bad(&["run", "trig-power", "--chunk", "0"], 2, "give at least 1");
    bad(&["run", "trig-power", "--elements", "0"], 2, "give at least 1");
    bad(&["run", "is-prime", "--count", "0"], 2, "give at least 1");
}

#[test]
fn a_chunk_larger_than_the_array_is_refused() {
    let line = ["run", "trig-power", "--elements", "100", "--chunk", "101"];
    bad(&line, 2, "a chunk of 101 is longer than the array of 100");
}

#[test]
fn more_than_memory_is_refused() {
    bad(&["run", "trig-power", "--elements", "1e13"], 1, "of memory asked for");
    bad(&["run", "trig-power", "--elements", "1e18"], 1, "use a file-backed array");
    bad(&["run", "trig-power", "--elements", "18446744073709551615"], 1, "larger than any memory");
}

#[test]
fn words_that_mean_nothing_are_refused() {
    bad(&["run", "trig-power", "--elements", "many"], 2, "is no number");
    bad(&["run", "trig-power", "--elements", "1.5"], 2, "no whole number");
    bad(&["run", "cosine"], 2, "cosine");
    bad(&["run", "trig-power", "--backend", "gpu"], 2, "processes, threads, serial");
    bad(&["run", "trig-power", "--bind", "tight"], 2, "tight");
    bad(&["run", "trig-power", "--isa", "sse9"], 2, "sse9");
    bad(&["run", "is-prime", "--low", "5", "--high", "5"], 2, "give a --high above --low");
    bad(&["run", "is-prime", "--rounds", "5"], 2, "--rounds is for trig-power");
    bad(&["run", "trig-power", "--keep"], 2, "--name");
    bad(&["run", "trig-power", "--elements", "9", "--name", "a/b"], 2, "cannot name a segment");
    bad(&["topo", "--synthetic", "core:0"], 2, "core");
    let mut command = pinpool(&["run", "trig-power"]);
    command.env("PINPOOL_SEED", "x");
    let outcome = run_with(command, b"");
    assert_eq!(outcome.code(), 2);
    assert!(outcome.stderr.contains("PINPOOL_SEED"), "{}", outcome.stderr);
}

#[test]
fn an_instruction_set_that_the_cpu_lacks_is_refused() {
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    bad(&["run", "trig-power", "--isa", foreign], 2, "this CPU lacks");
}

/// Writes a file and has the program refuse it as input.
struct BadFile {
    folder: tempfile::TempDir,
}

impl BadFile {
    fn new() -> BadFile {
        BadFile { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("input.npy")
    }

    fn refused(&self, bytes: &[u8], words: &str) {
        fs::write(self.path(), bytes).unwrap();
        let path = self.path().display().to_string();
        bad(&["run", "trig-power", "--input", &path], 1, words);
        bad(&["run", "trig-power", "--in-place", "--input", &path], 1, words);
    }
}

#[test]
fn a_file_that_is_no_good_array_is_refused() {
    let file = BadFile::new();
    let good = npy("<f8", false, "(4,)", &[0; 32]);
    file.refused(b"", "input.npy");
    file.refused(b"hello, world; this is text and no array at all\n", "input.npy");
    file.refused(&good[..20], "input.npy");
    file.refused(&good[..good.len() - 1], "input.npy");
    file.refused(&npy(">f8", false, "(4,)", &[0; 32]), ">f8");
    file.refused(&npy("<f4", false, "(4,)", &[0; 16]), "<f4");
    file.refused(&npy("|O", false, "(4,)", &[0; 32]), "input.npy");
    file.refused(&npy("<f8", true, "(2, 2)", &[0; 32]), "ortran");
    file.refused(&npy("<f8", false, "(2, 2)", &[0; 32]), "2 axes");
    file.refused(&npy("<f8", false, "(0,)", b""), "holds no elements");
    file.refused(&npy("<f8", false, "(2305843009213693953,)", &[0; 32]), "input.npy");
    file.refused(&npy("<f8", false, "(-4,)", &[0; 32]), "input.npy");
    let mut corrupt = good.clone();
    corrupt[30] = 0xff;
    file.refused(&corrupt, "input.npy");
    fs::write(file.path(), good).unwrap();
    let path = file.path().display().to_string();
    bad(&["run", "is-prime", "--input", &path], 1, "<u8 is asked for");
    bad(&["run", "trig-power", "--input", &path, "--chunk", "5"], 2, "longer than the array of 4");
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let file = BadFile::new();
    let path = file.path().display().to_string();
    bad(&["run", "trig-power", "--input", &path], 1, "does not exist");
    fs::create_dir(file.path()).unwrap();
    bad(&["run", "trig-power", "--input", &path], 1, "is not a regular file");
    fs::remove_dir(file.path()).unwrap();
    fs::write(file.path(), npy("<f8", false, "(4,)", &[0; 32])).unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(file.path()).is_ok() {
        eprintln!("skipped: this user may read a file of mode 0");
        return;
    }
    bad(&["run", "trig-power", "--input", &path], 1, "ermission denied");
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no/such/folder/out.npy").display().to_string();
    for option in ["--output", "--save-array", "--save-input"] {
        bad(&["run", "trig-power", "--elements", "100", option, &path], 1, "cannot write");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_full_dev_shm_is_an_error_that_says_how_much_is_free() {
    let script = "mount -t tmpfs -o size=256k tmpfs /dev/shm && exec \"$0\" \"$@\"";
    let mut probe = Command::new("unshare");
    probe.args(["-m", "sh", "-c", script, "true"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not mount a small /dev/shm of his own");
        return;
    }
    let program = pinpool(&[]).get_program().to_owned();
    let line = ["run", "trig-power", "--elements", "100_000", "--name", "full"];
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(program).args(line);
    let outcome = run_with(command, b"");
    assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("free in /dev/shm"), "{}", outcome.stderr);
}

#[test]
fn a_full_device_as_standard_output_is_an_error() {
    let mut command = pinpool(&["run", "trig-power", "--elements", "100", "--json"]);
    command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}

/// A run that takes long, with its array under a name; and its workers, once they are there.
fn long_run(test: &str, backend: &str) -> (Child, Vec<u32>, String) {
    let name = shm_name(test);
    let line = ["run", "trig-power", "--elements", "100k", "--rounds", "100M", "--workers", "2"];
    let child = pinpool(&line)
        .args(["--quiet", "--name", &name, "--backend", backend])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the array is there", || is_in_shm(&name));
    if backend == "processes" {
        wait_until("the workers are there", || children(child.id()).len() >= 2);
    }
    let workers = children(child.id());
    (child, workers, name)
}

fn text_of(stream: Option<impl std::io::Read>) -> String {
    let mut text = String::new();
    stream.unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn control_c_ends_everything_with_status_130() {
    let cases = [("INT", 2, "processes"), ("TERM", 15, "threads"), ("INT", 2, "serial")];
    for (signal, number, backend) in cases {
        let (mut child, workers, name) = long_run(&format!("signal-{backend}"), backend);
        let words = [format!("-{signal}"), child.id().to_string()];
        assert!(Command::new("kill").args(words).status().unwrap().success());
        let status = program::wait(&mut child);
        assert_eq!(status.code(), Some(128 + number));
        let stderr = text_of(child.stderr.take());
        assert!(stderr.contains(&format!("SIG{signal}")), "{stderr}");
        assert_eq!(text_of(child.stdout.take()), "");
        assert!(!is_in_shm(&name), "{backend}");
        wait_until("the workers are gone", || !workers.iter().any(|&pid| is_alive(pid)));
    }
}

#[test]
fn kill_9_of_the_parent_leaves_no_worker_and_no_segment() {
    let (mut child, workers, name) = long_run("parent", "processes");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the workers are gone", || !workers.iter().any(|&pid| is_alive(pid)));
    wait_until("the segment is gone", || !is_in_shm(&name));
}

#[test]
fn kill_9_of_a_worker_changes_no_bit() {
    let mut rounds = 1000u64;
    loop {
        let rounds_text = rounds.to_string();
        let line = ["run", "trig-power", "--elements", "20k", "--in-place", "--json", "--rounds"];
        let mut child = pinpool(&line)
            .args([&rounds_text, "--workers", "2"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut killed = false;
        wait_until("a worker is there, or all is done", || {
            killed = children(child.id()).len() >= 2;
            killed || child.try_wait().unwrap().is_some()
        });
        // Well into the job, if it takes long enough.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let worker = children(child.id()).first().copied();
        let running = child.try_wait().unwrap().is_none();
        if let (Some(worker), true) = (worker, running) {
            let kill = Command::new("kill").args(["-9", &worker.to_string()]).status().unwrap();
            killed = kill.success();
        }
        let status = program::wait(&mut child);
        if !(killed && running) {
            rounds *= 4;
            continue;
        }
        assert_eq!(status.code(), Some(0));
        let report: serde_json::Value =
            serde_json::from_str(&text_of(child.stdout.take())).unwrap();
        let undisturbed = run(&[&line[..], &[&rounds_text, "--backend", "threads"]].concat());
        let expected: serde_json::Value = serde_json::from_str(&undisturbed.stdout).unwrap();
        assert_eq!(report["slots_hash"], expected["slots_hash"]);
        return;
    }
}
