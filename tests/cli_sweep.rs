//! `pinpool sweep`: every combination is timed, in a file that a later sweep goes on with.

#![cfg(feature = "cli")]

mod program;

use std::process::{Output, Stdio};

use program::{Outcome, pinpool, run, wait, wait_until};
use serde_json::Value;

/// Sweeps a small job over two numbers of workers and two chunk lengths.
fn sweep(options: &str) -> Outcome {
    let base = "sweep trig-power --elements 5000 --workers 1,2 --chunks 100,1k --oversubscribe";
    run(&format!("{base} {options}").split_whitespace().collect::<Vec<_>>())
}

fn json(options: &str) -> Value {
    let outcome = sweep(&format!("{options} --json"));
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn every_combination_is_timed_as_often_as_asked() {
    let found = json("--bind close,none --repeat 3");
    let points = found["points"].as_array().unwrap();
    assert_eq!(points.len(), 8);
    for point in points {
        assert_eq!(point["repeats"], 3);
        let times = ["low_seconds", "median_seconds", "high_seconds"];
        let times = times.map(|key| point[key].as_f64().unwrap());
        assert!(times.is_sorted() && times[0] > 0.0, "{point}");
        assert_eq!(point["confidence"], 0.75, "that of the range of three");
    }
    assert_eq!(points[0]["as_fast_as_the_best"], true);
    let medians: Vec<f64> = points.iter().map(|p| p["median_seconds"].as_f64().unwrap()).collect();
    assert!(medians.is_sorted());
    let table = sweep("--repeat 1").stdout;
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("MEDIAN s"), "{table}");
    let marks = ["  best", "too few runs to tell"].map(|mark| table.matches(mark).count());
    assert_eq!(marks, [1, 3], "single runs have no noise to be above: {table}");
}

#[test]
fn a_sweep_that_was_cut_off_goes_on_where_it_left_off() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let file = format!("--csv {}", csv.display());
    json(&format!("--repeat 2 {file}"));
    let whole = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(whole.lines().count(), 2 + 8, "{whole}");
    // As if it had been killed in the middle of the sixth line of measurements.
    let kept: String = whole.lines().take(7).map(|line| format!("{line}\n")).collect();
    std::fs::write(&csv, format!("{kept}1,\"clo")).unwrap();
    let goes_on = sweep(&format!("--repeat 2 {file} --resume"));
    assert_eq!(goes_on.code(), 0, "{}", goes_on.stderr);
    assert!(goes_on.stderr.contains("was cut off; that measurement is made again"));
    let again = std::fs::read_to_string(&csv).unwrap();
    assert!(again.starts_with(&kept), "what was measured is kept: {again}");
    assert_eq!(again.lines().count(), 2 + 8);
    // No time for any more, and nothing to do.
    let nothing = json(&format!("--repeat 2 {file} --resume --budget 0.000001"));
    assert_eq!(nothing["not_measured"], 0);
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), again);
}

#[test]
fn another_jobs_measurements_are_not_taken_for_this_ones() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let file = format!("--repeat 1 --csv {}", csv.display());
    json(&file);
    let whole = std::fs::read_to_string(&csv).unwrap();
    for other in ["--seed 5", "--rounds 5", "--in-place", "--isa scalar", "--numa interleave"] {
        let outcome = sweep(&format!("{file} --resume {other}"));
        assert_eq!(outcome.code(), 1, "{other}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("no file of measurements of this job"), "{other}");
        assert_eq!(std::fs::read_to_string(&csv).unwrap(), whole, "{other}");
    }
    // A pipe has nothing to go on with, and is written to as any other file.
    let pipe = |options: &str| sweep(&format!("--repeat 1 --csv /dev/stdout {options}"));
    assert!(pipe("").stdout.starts_with("# pinpool"));
    assert!(pipe("--resume").stderr.contains("no file of measurements"));
    // A file that cannot be read as text is left as it is, too.
    std::fs::write(&csv, b"\xff\xfe").unwrap();
    assert_eq!(sweep(&format!("{file} --resume")).code(), 1);
    assert_eq!(std::fs::read(&csv).unwrap(), b"\xff\xfe");
}

#[test]
fn a_range_is_the_same_job_whatever_chunk_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let csv = csv.to_str().unwrap();
    let sweep = |high: &str, chunks: &str| {
        let words = "sweep count-primes --workers 1 --repeat 1 --resume --csv";
        let words = words.split(' ').chain([csv, "--high", high, "--chunks", chunks]);
        run(&words.collect::<Vec<_>>()).code()
    };
    assert_eq!(sweep("100k", "10k,20k"), 0);
    assert_eq!(sweep("100k", "20k,10k,50k"), 0);
    assert_eq!(std::fs::read_to_string(csv).unwrap().lines().count(), 2 + 3);
    assert_eq!(sweep("200k", "10k"), 1);
}

#[test]
fn a_file_that_has_changed_is_another_job() {
    let folder = tempfile::tempdir().unwrap();
    let (csv, input) = (folder.path().join("sweep.csv"), folder.path().join("x.npy"));
    let data: Vec<u8> = (0..1000).flat_map(|i| (f64::from(i) / 1000.0).to_le_bytes()).collect();
    let write = |len: usize| {
        let shape = format!("({len},)");
        std::fs::write(&input, program::npy("<f8", false, &shape, &data[..8 * len])).unwrap();
    };
    let sweep = || {
        let words = ["sweep", "trig-power", "--workers", "1", "--repeat", "1", "--resume"];
        let files = ["--csv", csv.to_str().unwrap(), "--input", input.to_str().unwrap()];
        run(&[&words[..], &files].concat()).code()
    };
    write(1000);
    assert_eq!((sweep(), sweep()), (0, 0));
    write(900);
    assert_eq!(sweep(), 1);
}

/// A sweep of a small job in an environment.
fn sweep_in(vars: &[(&str, &str)], options: &str) -> Value {
    let words = format!("sweep trig-power --elements 5000 --repeat 1 --json {options}");
    let mut command = program::pinpool(&words.split_whitespace().collect::<Vec<_>>());
    command.envs(vars.iter().copied());
    let outcome = program::run_with(command, b"");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// Policies and numbers of workers of what was swept.
fn settings(found: &Value) -> Vec<(&str, u64)> {
    let points = found["points"].as_array().unwrap().iter();
    let mut all: Vec<_> =
        points.map(|p| (p["bind"].as_str().unwrap(), p["workers"].as_u64().unwrap())).collect();
    all.sort_unstable();
    all
}

#[test]
fn the_environment_is_asked_for_what_the_words_leave_open_and_told() {
    let vars =
        [("PINPOOL_WORKERS", "3"), ("OMP_PROC_BIND", "spread"), ("PINPOOL_PLACES", "threads")];
    let folder = tempfile::tempdir().unwrap();
    let (csv, page) = (folder.path().join("sweep.csv"), folder.path().join("report.html"));
    let files = format!("--csv {} --report {}", csv.display(), page.display());
    let found = sweep_in(&vars, &format!("--oversubscribe {files}"));
    assert_eq!(settings(&found), [("spread", 1), ("spread", 3)]);
    let csv = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(csv.matches(",\"spread\",\"--places threads\",").count(), 2, "{csv}");
    // The advised command says it all: it needs no environment.
    let page = std::fs::read_to_string(&page).unwrap();
    let (_, command) = page.split_once("id=\"command\">").unwrap();
    let (command, _) = command.split_once('<').unwrap();
    for words in ["--bind spread", "--places threads", "--oversubscribe"] {
        assert!(command.contains(words), "{words} is not in {command}");
    }
    // An option beats it.
    let found = sweep_in(&vars, "--workers 1 --bind close,none");
    assert_eq!(settings(&found), [("close", 1), ("none", 1)]);
}

#[test]
fn seed_and_instruction_set_of_the_environment_are_in_the_advised_command() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let vars = [("PINPOOL_SEED", "7"), ("PINPOOL_ISA", "scalar")];
    sweep_in(&vars, &format!("--workers 1 --report {}", page.display()));
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("trig-power --elements 5000 --seed 7 --isa scalar --workers 1"));
}

#[test]
fn what_is_given_twice_is_swept_once() {
    let found = sweep_in(
        &[],
        "--workers 2,1,2 --bind close,close --chunks 100,1k,1000 --pages base,base --oversubscribe",
    );
    assert_eq!(settings(&found), [("close", 1), ("close", 1), ("close", 2), ("close", 2)]);
    for point in found["points"].as_array().unwrap() {
        assert_eq!(point["repeats"], 1);
    }
}

#[test]
fn the_default_number_of_workers_is_that_of_policy_and_places() {
    // One place, whatever the machine has.
    assert_eq!(settings(&sweep_in(&[], "--places cores(1)")), [("close", 1)]);
}

#[test]
fn single_runs_say_nothing_of_the_noise() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let found = json(&format!("--repeat 1 --report {}", page.display()));
    let points = found["points"].as_array().unwrap();
    let told: Vec<&Value> = points.iter().map(|p| &p["as_fast_as_the_best"]).collect();
    assert_eq!(told, [&Value::Bool(true), &Value::Null, &Value::Null, &Value::Null]);
    let html = std::fs::read_to_string(&page).unwrap();
    let (advice, _) = html.split_once("<noscript>").unwrap();
    assert!(!advice.contains("by more than the noise"), "{advice}");
    assert!(advice.contains("3 settings are slower by the median, with too few runs"), "{advice}");
}

#[test]
fn two_sweeps_rank_alike_what_differs_by_more_than_the_noise() {
    // Chunks of two cost claims; close and compact put one worker on the same place.
    let words = "sweep trig-power --elements 40k --workers 1 --chunks 2,10k --bind close,compact --repeat 7 --json";
    let ranking = |order: &str| {
        let outcome =
            run(&[&words.split(' ').collect::<Vec<_>>()[..], &["--order", order]].concat());
        let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let points = found["points"].as_array().unwrap().clone();
        points
            .iter()
            .map(|p| (p["chunk"].as_u64().unwrap(), p["as_fast_as_the_best"].as_bool().unwrap()))
            .collect::<Vec<_>>()
    };
    let expected = [(10_000, true), (10_000, true), (2, false), (2, false)];
    // Another program may be in the way of a whole sweep: two of eight must be as they should.
    let (mut alike, mut seen) = (0, Vec::new());
    for order in 1..=8 {
        seen.push(ranking(&order.to_string()));
        alike += usize::from(seen.last() == Some(&expected.to_vec()));
        if alike == 2 {
            return;
        }
    }
    panic!("{seen:?}");
}

/// The data that a report carries.
fn data_of(page: &std::path::Path) -> Value {
    let html = std::fs::read_to_string(page).unwrap();
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn the_roof_is_that_of_each_kind_of_pages_and_the_traffic_has_the_results_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let words = ["sweep", "factor", "--low", "2", "--high", "100", "--elements", "5000"];
    let sweep = ["--workers", "1", "--pages", "base,thp", "--repeat", "1", "--report"];
    let outcome = run(&[&words[..], &sweep, &[page.to_str().unwrap()]].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let data = data_of(&page);
    let mut pages: Vec<&Value> =
        data["roofs"].as_array().unwrap().iter().map(|roof| &roof["pages"]).collect();
    pages.sort_by_key(|pages| pages.to_string());
    assert_eq!(pages, ["base", "thp"]);
    // A row of 17 numbers is written for each number that is read.
    let traffic = &data["traffic"];
    assert_eq!((&traffic["read_bytes"], &traffic["written_bytes"]), (&8.into(), &136.into()));
    assert_eq!(traffic["working_bytes"], 5000 * (8 + 136));
}

#[test]
fn a_report_is_one_file_with_the_measurements_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    let found = json(&format!("--repeat 2 --report {}", page.display()));
    let html = std::fs::read_to_string(&page).unwrap();
    let data = data_of(&page);
    let (points, told) = (data["points"].as_array().unwrap(), found["points"].as_array().unwrap());
    assert_eq!(points.len(), told.len());
    for (point, told) in points.iter().zip(told) {
        assert_eq!(point["seconds"], told["median_seconds"]);
        assert_eq!(point["workers"], told["workers"]);
    }
    let command = points[0]["command"].as_str().unwrap();
    assert!(html.contains(&format!("id=\"command\">{command}<")), "{command}");
    // The command runs, with the setting that it is for.
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
    let ran: Value = serde_json::from_str(&run(&words).stdout).unwrap();
    assert_eq!((&ran["workers"], &ran["chunk"]), (&points[0]["workers"], &points[0]["chunk"]));
    let lines = data["timelines"][0]["lines"].as_array().unwrap();
    let chunks: u64 = lines.iter().map(|line| line["chunks"].as_u64().unwrap()).sum();
    assert_eq!(chunks, 5000u64.div_ceil(points[0]["chunk"].as_u64().unwrap()));
    let wall = data["timelines"][0]["seconds"].as_f64().unwrap();
    for line in lines {
        let sums = line["sums"].as_array().unwrap().iter();
        let sum: f64 = sums.map(|sum| sum.as_f64().unwrap()).sum();
        // What is between two events, such as a claim, is none.
        assert!(sum < wall * 1.001 && sum > wall * 0.2, "{sum} of {wall}: {line}");
    }
    assert_eq!(data["traffic"]["slot_bytes"], 8, "a sum for each chunk");
    let roof = &data["roofs"][0];
    assert!(roof["read"].as_f64().unwrap() > 1e8 && roof["copy"].as_f64().unwrap() > 1e8, "{roof}");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_anything_is_timed() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let page = folder.path().join("nowhere/report.html");
    let files = format!("--csv {} --report {}", csv.display(), page.display());
    let outcome = sweep(&format!("--repeat 1 {files}"));
    assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot open the file for the report"), "{}", outcome.stderr);
    assert!(!csv.exists(), "nothing was timed, and an earlier file is as it was");
    let folder = folder.path().to_str().unwrap();
    let outcome = run(&["sweep", "trig-power", "--simulate", "core:2", "--report", folder]);
    assert!(outcome.stderr.contains("cannot open the file for the report"), "{}", outcome.stderr);
}

#[test]
fn what_was_measured_is_shown_where_the_report_fails() {
    // It opens, and has no room.
    let outcome = sweep("--repeat 1 --report /dev/full --json");
    assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot write the report"), "{}", outcome.stderr);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found["points"].as_array().unwrap().len(), 4);
}

#[test]
fn a_report_is_there_whole_or_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    // The array takes more memory than any machine has.
    let words = ["sweep", "trig-power", "--elements", "1e15", "--workers", "1", "--report"];
    let words = [&words[..], &[page.to_str().unwrap()]].concat();
    assert_ne!(run(&words).code(), 0);
    assert!(!page.exists(), "an empty file is no report");
    std::fs::write(&page, "an earlier one").unwrap();
    assert_ne!(run(&words).code(), 0);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "an earlier one");
}

#[test]
fn the_budget_ends_a_sweep_and_it_says_what_is_missing() {
    let outcome = sweep("--repeat 50 --budget 0.000001");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    let said = "before 200 measurements, and 4 settings have none; a larger --budget makes them";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}

#[test]
fn an_interrupted_sweep_shows_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let words = "sweep trig-power --elements 5000 --workers 1 --repeat 1000000 --csv";
    let mut command = pinpool(&words.split(' ').collect::<Vec<_>>());
    let mut child =
        command.arg(&csv).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let measured = || std::fs::read_to_string(&csv).is_ok_and(|text| text.lines().count() > 12);
    wait_until("ten measurements are made", measured);
    // SAFETY: a child of ours that is not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    assert_eq!(wait(&mut child).code(), Some(128 + libc::SIGTERM));
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    let (table, said) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(said.contains("ended by SIGTERM"), "{said}");
    assert!(table.contains("MEDIAN s") && table.lines().count() == 2, "{table}");
}

#[test]
fn a_file_in_place_is_not_compared_with_copies_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("x.npy");
    let data: Vec<u8> = (0..1000).flat_map(|i| (f64::from(i) / 1000.0).to_le_bytes()).collect();
    std::fs::write(&input, program::npy("<f8", false, "(1000,)", &data)).unwrap();
    for (options, code) in [
        ("--pages system,base", 2),
        ("--pages system", 0),
        ("--pages base,thp", 0),
        ("--pages system,base --in-place", 0),
        ("--pages system,base --prefault", 0),
    ] {
        let words = "sweep trig-power --workers 1 --repeat 1 --input";
        let words = words.split(' ').chain([input.to_str().unwrap()]).chain(options.split(' '));
        let outcome = run(&words.collect::<Vec<_>>());
        assert_eq!(outcome.code(), code, "{options}: {}", outcome.stderr);
        if code == 2 {
            assert!(outcome.stderr.contains("leave system out"), "{}", outcome.stderr);
        }
    }
}

#[test]
fn what_cannot_be_swept_is_refused_before_anything_is_timed() {
    for options in ["--chunks 10k", "--bind sideways", "--workers 100000", "--resume", "--repeat 0"]
    {
        let words = format!("sweep trig-power --elements 5000 {options}");
        let outcome = run(&words.split_whitespace().collect::<Vec<_>>());
        assert_eq!(outcome.code(), 2, "{options}: {}", outcome.stderr);
    }
}
