//! `pinpool exec`: foreign programs side by side, their outputs in order and unmixed, and every
//! way in which one can go wrong. Each run has a watchdog (`program/mod.rs`).

#![cfg(feature = "cli")]

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Instant;

use program::{Outcome, is_alive, pinpool, run, run_with, wait, wait_until};

/// Runs commands on two workers, given as arguments.
fn exec(options: &[&str], commands: &[&str]) -> Outcome {
    let base = ["exec", "--workers", "2", "--oversubscribe"];
    let words: Vec<&str> = base.iter().chain(options).chain(commands).copied().collect();
    run(&words)
}

#[test]
fn outputs_come_in_the_order_of_the_commands() {
    let commands: Vec<String> = (0..12)
        .map(|i| format!("sleep 0.0{}; echo out {i}; echo err {i} >&2", (12 - i) % 10))
        .collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let outcome = exec(&["--shell", "--quiet"], &commands);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let lines = |what: &str| (0..12).map(|i| format!("{what} {i}\n")).collect::<String>();
    assert_eq!(outcome.stdout, lines("out"));
    assert_eq!(outcome.stderr, lines("err"));
}

#[test]
fn long_outputs_that_are_written_at_once_are_not_mixed() {
    let commands: Vec<String> = (0..4).map(|i| format!("yes {i} | head -c 2000000")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    let outcome = exec(&["--shell"], &commands);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let expected: String = (0..4).map(|i| format!("{i}\n").repeat(1_000_000)).collect();
    assert!(outcome.stdout == expected, "mixed, lost or out of order");
}

#[test]
fn bytes_that_are_no_text_pass_through_unchanged() {
    let mut command = pinpool(&["exec", "--quiet", r"printf '\377\376\000\n'", "printf ''"]);
    command.stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"\xff\xfe\0\n");
}

#[test]
fn lines_of_standard_input_are_commands() {
    let input = b"# a remark\necho one 'and  more'\n\n  echo two\necho three";
    let outcome = run_with(pinpool(&["exec", "--workers", "2", "--oversubscribe"]), input);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "one and  more\ntwo\nthree\n");
    assert!(outcome.stderr.contains("3 commands: 3 succeeded;"), "{}", outcome.stderr);
}

#[test]
fn nothing_to_run_and_a_line_that_is_no_command_are_wrong_use() {
    let outcome = run_with(pinpool(&["exec"]), b"\n# nothing\n");
    assert_eq!(outcome.code(), 2);
    assert!(outcome.stderr.contains("no command was given"), "{}", outcome.stderr);
    let outcome = exec(&[], &["echo ran", "echo 'open"]);
    assert_eq!(outcome.code(), 2);
    assert!(outcome.stderr.contains("command 2 (echo 'open): a quote"), "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "", "it is said before anything runs");
    assert_eq!(exec(&["--timeout", "0"], &["true"]).code(), 2);
    assert_eq!(run(&["exec", "--workers", "100000", "true"]).code(), 2);
}

#[test]
fn what_cannot_start_is_named_and_the_rest_still_runs() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.sh");
    fs::write(&plain, "#!/bin/sh\necho never\n").unwrap();
    let plain = plain.display().to_string();
    let outcome = exec(&[], &["echo first", "./no-such-script.sh 1", &plain, "echo last"]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(outcome.stdout, "first\nlast\n");
    for text in [
        "command 2 (./no-such-script.sh 1): did not start: no such program",
        &format!("command 3 ({plain}): did not start: it may not be executed; chmod +x"),
        "4 commands: 2 succeeded, 2 did not start",
    ] {
        assert!(outcome.stderr.contains(text), "{text} is not in {}", outcome.stderr);
    }
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(exec(&[], &[&plain]).stdout, "never\n");
}

#[test]
fn failures_are_told_by_status_and_by_signal() {
    let outcome = exec(&["--shell"], &["exit 3", "echo fine", "kill -SEGV $$"]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(outcome.stdout, "fine\n");
    assert!(outcome.stderr.contains("command 1 (exit 3): exit status 3\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("killed by SIGSEGV\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 succeeded, 2 failed"), "{}", outcome.stderr);
}

#[test]
fn a_command_that_fails_is_tried_again_and_only_the_last_output_counts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("times").display().to_string();
    let command =
        format!("echo x >> {file}; wc -l < {file} | tr -d ' '; [ $(wc -l < {file}) = 3 ]");
    let outcome = exec(&["--shell", "--retries", "5"], &[&command]);
    assert_eq!((outcome.code(), outcome.stdout.as_str()), (0, "3\n"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 tried more than once"), "{}", outcome.stderr);
    let outcome = exec(&["--shell", "--retries", "2"], &["exit 4"]);
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("exit status 4, 3 times"), "{}", outcome.stderr);
}

#[test]
fn a_command_whose_time_is_up_ends_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    // The shell waits for a child of its own, and neither listens to SIGTERM.
    let stubborn = format!(
        "trap '' TERM; echo before; sleep 1000 & echo $! > {}; wait; sleep 1000",
        file.display()
    );
    let outcome = exec(&["--shell", "--timeout", "0.3"], &[&stubborn, "echo after"]);
    assert_eq!(outcome.code(), 1);
    assert_eq!(outcome.stdout, "before\nafter\n");
    assert!(outcome.stderr.contains("ended after its 0.3 s were up"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("1 succeeded, 1 timed out"), "{}", outcome.stderr);
    let pid: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    wait_until("the grandchild is gone", || !is_alive(pid));
}

#[test]
fn what_a_command_leaves_behind_holds_up_nobody() {
    let started = Instant::now();
    let outcome = exec(&["--shell"], &["sleep 40 & echo $!; echo done", "echo two"]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stdout.ends_with("done\ntwo\n"), "{}", outcome.stdout);
    let pid: u32 = outcome.stdout.lines().next().unwrap().parse().unwrap();
    assert!(is_alive(pid), "it was to wait 40 s and we waited for it: {:?}", started.elapsed());
    std::process::Command::new("kill").arg(pid.to_string()).status().unwrap();
}

#[test]
fn each_command_runs_on_the_place_of_its_worker() {
    let allowed =
        run(&["exec", "--workers", "1", "-q", "grep Cpus_allowed_list /proc/self/status"]);
    let topo = run(&["topo", "--json", "--workers", "1"]);
    let plan: serde_json::Value = serde_json::from_str(&topo.stdout).unwrap();
    let pu = &plan["workers"][0]["pus"][0];
    assert_eq!(allowed.stdout.split_whitespace().last().unwrap(), pu.to_string());
    let threads = exec(&["--shell", "-q"], &["echo $OMP_NUM_THREADS $PINPOOL_EXEC_INDEX"; 2]);
    assert_eq!(threads.stdout, "1 0\n1 1\n");
}

#[test]
fn never_more_commands_than_workers_run_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().display().to_string();
    let command = format!("touch {here}/$$; ls {here} | wc -l; sleep 0.05; rm {here}/$$");
    let outcome = exec(&["--shell", "-q"], &[command.as_str(); 10]);
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let counts: Vec<u32> = outcome.stdout.lines().map(|n| n.trim().parse().unwrap()).collect();
    assert!(counts.len() == 10 && counts.iter().all(|n| (1..=2).contains(n)), "{counts:?}");
}

/// Starts two commands that would run for long, and gives the program and their processes.
fn start_long() -> (std::process::Child, Vec<u32>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let command =
        format!("trap '' TERM; echo $$ > {}/$$; sleep 1000; sleep 1000", folder.path().display());
    let words =
        ["exec", "--workers", "2", "--oversubscribe", "--shell", &command, &command, "echo 3"];
    let child = pinpool(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = || {
        let entries = fs::read_dir(folder.path()).unwrap().flatten();
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        texts.filter_map(|text| text.trim().parse().ok()).collect::<Vec<u32>>()
    };
    wait_until("both commands run", || started().len() == 2);
    let pids = started();
    (child, pids, folder)
}

fn signal(pid: u32, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn ctrl_c_and_sigterm_end_every_command_and_nothing_is_left() {
    for (name, number) in [("-INT", 2), ("-TERM", 15)] {
        let (mut child, pids, _folder) = start_long();
        signal(child.id(), name);
        let status = wait(&mut child);
        assert_eq!(status.code(), Some(128 + number), "{status:?}");
        wait_until("the commands are gone", || !pids.iter().any(|&pid| is_alive(pid)));
    }
}

#[test]
fn commands_do_not_outlive_a_program_that_is_killed() {
    let (mut child, pids, _folder) = start_long();
    signal(child.id(), "-KILL");
    assert_eq!(wait(&mut child).signal(), Some(9));
    wait_until("the commands are gone", || !pids.iter().any(|&pid| is_alive(pid)));
}

#[test]
fn a_reader_that_goes_away_ends_the_rest() {
    let mut child = pinpool(&["exec", "--shell", "-q", "yes | head -c 5000000", "sleep 1000"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(wait(&mut child).code(), Some(141));
}

#[test]
fn a_closed_standard_error_changes_no_exit_status() {
    for (words, status) in
        [(&["exec", "false"][..], 1), (&["run", "trig-power", "--input", "/no/such/file"][..], 1)]
    {
        let mut child = pinpool(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stderr.take());
        assert_eq!(wait(&mut child).code(), Some(status), "{words:?}");
    }
}

#[test]
fn json_tells_how_each_command_ended_and_what_it_wrote() {
    let commands =
        ["echo one; echo err >&2", "exit 3", "kill -9 $$", "sleep 60", r"printf '\377\376\000\n'"];
    let options = ["--shell", "--json", "--quiet", "--timeout", "2", "--retries", "1"];
    let outcome = exec(&options, &commands);
    assert_ne!(outcome.code(), 0, "three of them fail");
    assert_eq!(outcome.stderr, "", "what they wrote is in the object");
    let all: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let entries = all["commands"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    for (i, entry) in entries.iter().enumerate() {
        assert_eq!(entry["index"], i);
        assert_eq!(entry["command"], commands[i]);
        assert!(entry["worker"].as_u64().unwrap() < 2 && entry["pus"].is_array());
        assert!(entry["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(entry["succeeded"], i == 0 || i == 4);
        assert_eq!(entry["attempts"], if i == 0 || i == 4 { 1 } else { 2 });
        assert_eq!(entry["timed_out"], i == 3);
    }
    assert_eq!(entries[0]["stdout"], "one\n");
    assert_eq!(entries[0]["stderr"], "err\n");
    assert_eq!(entries[0]["status"], 0);
    assert_eq!(entries[1]["status"], 3);
    assert!(entries[1]["error"].as_str().unwrap().contains("exit status 3"));
    assert_eq!((&entries[2]["status"], &entries[2]["signal"]), (&().into(), &"SIGKILL".into()));
    assert_eq!(entries[4]["stdout"], "\u{fffd}\u{fffd}\0\n");
    assert_eq!(entries[4]["stdout_base64"], "//4ACg==");
    assert!(entries[0].get("stdout_base64").is_none());
    let summary = &all["summary"];
    assert_eq!(summary["commands"], 5);
    assert_eq!(summary["succeeded"], 2);
    assert_eq!(summary["failed"], 2);
    assert_eq!(summary["timed_out"], 1);
    assert_eq!(summary["tried_more_than_once"], 3);
}

#[test]
fn json_names_a_script_that_does_not_exist() {
    let outcome = exec(&["--json"], &["/no/such/script", "echo there"]);
    let all: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let first = &all["commands"][0];
    assert!(first["error"].as_str().unwrap().contains("no such program or script"));
    assert_eq!((&first["status"], &first["signal"]), (&().into(), &().into()));
    assert_eq!(all["commands"][1]["stdout"], "there\n");
    assert_eq!(all["summary"]["not_started"], 1);
}
