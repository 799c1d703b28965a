//! `pinpool sweep`: every combination is timed, in a file that a later sweep goes on with.

#![cfg(feature = "cli")]

mod program;

use program::{Outcome, run};
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
    assert!(table.contains("MEDIAN s") && table.contains("best, or below the noise"), "{table}");
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
    json(&format!("--repeat 2 {file} --resume"));
    let again = std::fs::read_to_string(&csv).unwrap();
    assert!(again.starts_with(&kept), "what was measured is kept: {again}");
    assert_eq!(again.lines().count(), 2 + 8);
    // No time for any more, and nothing to do.
    let nothing = json(&format!("--repeat 2 {file} --resume --budget 0.000001"));
    assert_eq!(nothing["not_measured"], 0);
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), again);
    // Another job's measurements are not taken for this one's.
    let other = sweep(&format!("--repeat 2 {file} --resume --seed 5"));
    assert_eq!(other.code(), 1);
    assert!(other.stderr.contains("no file of measurements of this job"), "{}", other.stderr);
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), again);
}

#[test]
fn the_budget_ends_a_sweep_and_it_says_what_is_missing() {
    let outcome = sweep("--repeat 50 --budget 0.000001");
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("before 200 measurements"), "{}", outcome.stderr);
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
