//! `pinpool topo`, `doctor` and `segments`: what they print.

#![cfg(feature = "cli")]

mod program;

use program::run;
use serde_json::Value;

const MACHINE: [&str; 3] = ["topo", "--synthetic", "package:2 core:4 pu:2"];

fn topo(more: &[&str]) -> String {
    let outcome = run(&[&MACHINE, more].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    outcome.stdout
}

#[test]
fn the_machine_is_drawn_with_the_workers_on_it() {
    let text = topo(&["--bind", "spread", "--workers", "2"]);
    assert!(text.contains("2 packages") && text.contains("w1"), "{text}");
    let own = run(&["topo"]);
    assert_eq!(own.code(), 0, "{}", own.stderr);
    assert!(own.stdout.contains("w0"), "{}", own.stdout);
}

#[test]
fn the_dump_has_a_plan_only_where_one_is_asked_for() {
    let dump: Value = serde_json::from_str(&topo(&["--json"])).unwrap();
    assert_eq!((dump["schema"].clone(), dump["workers"].clone()), (1.into(), Value::Null));
    let options = ["--json", "--bind", "scatter", "--workers", "3"];
    let dump: Value = serde_json::from_str(&topo(&options)).unwrap();
    assert_eq!(dump["bind"], "scatter");
    let pus: Vec<u64> = dump["workers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| worker["pu"].as_u64().unwrap())
        .collect();
    assert_eq!(pus, [0, 8, 2]);
}

#[test]
fn the_picture_is_an_svg_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("machine.svg");
    assert_eq!(topo(&["--svg", path.to_str().unwrap()]), "");
    assert!(std::fs::read_to_string(path).unwrap().contains("<svg"));
}

#[test]
fn a_policy_that_cannot_be_met_is_refused() {
    let outcome = run(&[&MACHINE[..], &["--bind", "compact", "--workers", "9"]].concat());
    assert_eq!(outcome.code(), 2);
    assert!(outcome.stderr.contains("9 workers do not fit on 8"), "{}", outcome.stderr);
}

#[test]
fn another_machines_files_that_are_not_there_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(&["topo", "--root", folder.path().to_str().unwrap()]);
    assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("pinpool: "), "{}", outcome.stderr);
}

#[test]
fn segments_without_an_action_is_wrong_use() {
    assert_eq!(run(&["segments"]).code(), 2);
    assert_eq!(run(&["segments", "list"]).code(), 0);
}

#[test]
fn the_doctor_says_what_why_and_how_to_mend_it() {
    let own = run(&["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&own.stdout).unwrap();
    let mut problems = false;
    for finding in findings.as_array().unwrap() {
        for key in ["severity", "what", "why", "mend"] {
            assert!(!finding[key].as_str().unwrap().is_empty(), "{finding}");
        }
        problems |= finding["severity"] == "problem";
    }
    assert_eq!(own.code(), i32::from(problems));
    assert_eq!(run(&["doctor", "--synthetic", "core:2"]).code(), 0);
    assert_eq!(run(&["doctor", "--synthetic", "nonsense"]).code(), 2);
}
