//! Starts the ranks, and looks at what became of them.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

/// No run of ranks takes longer, on the slowest machine.
const WATCHDOG_S: u32 = 100;

pub(crate) fn main() -> ExitCode {
    let tests: [(&str, fn()); 9] = [
        ("any_ranks_and_workers_have_the_bits_of_one_pool", same_bits),
        ("an_error_on_one_rank_is_the_same_error_on_all", errors),
        ("a_panic_on_one_rank_ends_all", panic_of_a_rank),
        ("a_rank_that_leaves_is_an_error_on_the_others", a_rank_leaves),
        ("ranks_at_different_calls_are_told_so", ranks_apart),
        ("what_a_cluster_cannot_do_is_refused_on_all_ranks", refused),
        ("a_pool_that_does_not_start_is_an_error_on_all", no_start),
        ("a_killed_rank_ends_the_job_and_leaves_nothing", killed_rank),
        ("a_job_that_is_told_to_end_leaves_nothing", told_to_end),
    ];
    let only = std::env::args().nth(1).filter(|word| !word.starts_with('-'));
    for (name, test) in tests {
        if only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            let start = Instant::now();
            test();
            println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
        }
    }
    ExitCode::SUCCESS
}

fn exe() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn ranks(ranks: usize, workers: usize, mode: &str) -> Command {
    let mut command = Command::new("timeout");
    command
        .args([
            "-k",
            "5",
            &WATCHDOG_S.to_string(),
            "mpirun",
            "--allow-run-as-root",
            "--oversubscribe",
        ])
        .args(["-n", &ranks.to_string()])
        .arg(exe())
        .env("PINPOOL_TEST_RANK", mode)
        .env("PINPOOL_TEST_WORKERS", workers.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Ended {
    good: bool,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended {
            good: output.status.success(),
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

fn run(mut command: Command) -> Ended {
    let ended: Ended = command.output().unwrap().into();
    assert_ne!(ended.code, Some(124), "the ranks hung:\n{}\n{}", ended.stdout, ended.stderr);
    ended
}

fn good(command: Command) -> Ended {
    let ended = run(command);
    assert!(ended.good, "{}\n{}", ended.stdout, ended.stderr);
    ended
}

fn bad(command: Command) -> Ended {
    let ended = run(command);
    assert!(!ended.good, "{}\n{}", ended.stdout, ended.stderr);
    ended
}

fn count(text: &str, what: &str) -> usize {
    text.matches(what).count()
}

fn same_bits() {
    let mut single = Command::new(exe());
    single.env("PINPOOL_TEST_RANK", "single").env("PINPOOL_TEST_WORKERS", "2");
    let expected = good(single).stdout;
    assert!(expected.starts_with("bits "), "{expected}");
    for (n, workers) in [(1, 2), (2, 1), (3, 2), (4, 1), (7, 1)] {
        let got = good(ranks(n, workers, "bits"));
        assert_eq!(got.stdout, expected, "{n} ranks of {workers} workers\n{}", got.stderr);
    }
}

fn errors() {
    let got = good(ranks(3, 1, "error"));
    assert_eq!(count(&got.stderr, "heard: rank 2 on "), 3, "{}", got.stderr);
    assert_eq!(count(&got.stderr, "failed in chunk 99"), 3, "{}", got.stderr);
    assert_eq!(count(&got.stderr, "heard: rank 0 on "), 3, "{}", got.stderr);
}

fn panic_of_a_rank() {
    let got = bad(ranks(3, 1, "panic"));
    assert!(got.stderr.contains("rank 1 gives up"), "{}", got.stderr);
    assert!(got.stderr.contains("has panicked; the program ends on all ranks"), "{}", got.stderr);
}

fn a_rank_leaves() {
    let got = good(ranks(3, 1, "leave"));
    assert_eq!(count(&got.stderr, "ends with: rank 1 has left the cluster"), 2, "{}", got.stderr);
}

fn ranks_apart() {
    let got = good(ranks(3, 1, "apart"));
    assert_eq!(count(&got.stderr, "the ranks are not at the same call"), 3, "{}", got.stderr);
}

fn refused() {
    good(ranks(2, 1, "refused"));
}

fn no_start() {
    let got = good(ranks(2, 1, "start"));
    assert_eq!(count(&got.stderr, "ends with: rank 1 on "), 2, "{}", got.stderr);
}

/// A job of ranks that hold on, and all that they consist of.
struct Held {
    mpirun: Child,
    ranks: Vec<u32>,
    processes: Vec<u32>,
    names: Vec<String>,
    /// What Open MPI itself leaves when its ranks are killed: not in /dev/shm.
    _of_mpi: tempfile::TempDir,
}

fn hold() -> Held {
    let of_mpi = tempfile::tempdir().unwrap();
    let mut mpirun = ranks(3, 2, "hold");
    mpirun.env("OMPI_MCA_btl_vader_backing_directory", of_mpi.path());
    let mut mpirun = mpirun.spawn().unwrap();
    let (mut ranks, mut processes, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut lines = BufReader::new(mpirun.stdout.take().unwrap());
    while ranks.len() < 3 {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the ranks ended early");
        let Some(words) = line.strip_prefix("hold ") else { continue };
        let mut words = words.split_whitespace();
        names.push(words.next().unwrap().to_owned());
        let pids: Vec<u32> = words.map(|pid| pid.parse().unwrap()).collect();
        ranks.push(pids[0]);
        processes.extend(pids);
    }
    assert_eq!(processes.len(), 9);
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    // Until the jobs have begun, which maps the named arrays in the workers.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(processes.iter().all(|&pid| lives(pid)));
    assert!(names.iter().all(|name| segment(name).exists()));
    Held { mpirun, ranks, processes, names, _of_mpi: of_mpi }
}

fn lives(pid: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.starts_with(" Z"))
}

fn segment(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// `mpirun` ends, and soon after nothing is there any more.
fn nothing_is_left(held: Held) {
    let Held { mpirun, processes, names, _of_mpi, .. } = held;
    let ended: Ended = mpirun.wait_with_output().unwrap().into();
    assert!(!ended.good && ended.code != Some(124), "{}", ended.stderr);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let alive: Vec<_> = processes.iter().filter(|&&pid| lives(pid)).collect();
        let left: Vec<_> = names.iter().filter(|name| segment(name).exists()).collect();
        if alive.is_empty() && left.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left: processes {alive:?}, segments {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn killed_rank() {
    let held = hold();
    kill("-KILL", held.ranks[1]);
    nothing_is_left(held);
}

fn told_to_end() {
    let held = hold();
    kill("-TERM", held.mpirun.id());
    nothing_is_left(held);
}
