//! `--pages`, `--numa` and `--prefault`: the same bits, another memory, and what was got is told.

#![cfg(feature = "cli")]

mod program;

use program::{Outcome, run};
use serde_json::Value;

fn words(line: &str) -> Outcome {
    run(&line.split_whitespace().collect::<Vec<_>>())
}

fn json(line: &str) -> Value {
    let outcome = words(&format!("{line} --json --quiet"));
    assert_eq!(outcome.code(), 0, "{line}: {}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

const JOB: &str = "trig-power --elements 1M --workers 2 --oversubscribe";

#[test]
fn a_run_has_the_same_bits_by_any_pages_and_says_what_it_got() {
    let plain = json(&format!("run {JOB}"));
    for options in [
        "--pages base",
        "--pages thp --numa first-touch",
        "--pages try-huge --prefault",
        "--numa interleave --prefault",
        "--pages thp --in-place",
    ] {
        let found = json(&format!("run {JOB} {options}"));
        assert_eq!(found["slots_hash"], plain["slots_hash"], "{options}");
        let memory = &found["memory"];
        assert!(memory["mapped_bytes"].as_u64() >= Some(8_000_000 + 4096), "{found}");
        assert_eq!(memory["resident_bytes"], memory["mapped_bytes"], "{found}");
        assert!(memory["page_bytes"].as_u64() >= Some(4096), "{found}");
    }
    let text = words(&format!("run {JOB} --pages base --quiet")).stdout;
    let line = text.lines().find(|line| line.starts_with("pages    ")).unwrap();
    assert!(line.contains("7.6 MiB by pages of 4.0 KiB"), "{line}");
}

#[test]
fn compare_makes_each_of_its_arrays_so() {
    let found = json(&format!("compare {JOB} --pages thp --numa first-touch --repeat 1"));
    assert_eq!(found["identical"], true);
    for run in found["runs"].as_array().unwrap() {
        assert!(run["memory"]["mapped_bytes"].as_u64() > Some(8_000_000), "{run}");
    }
}

#[test]
fn an_input_is_copied_into_memory_of_the_kind_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.npy");
    let file = file.display();
    let first = json(&format!("run {JOB} --save-input {file}"));
    let again = json(
        &format!("run {JOB} --pages base --numa first-touch")
            .replace("--elements 1M", &format!("--input {file}")),
    );
    assert_eq!(again["slots_hash"], first["slots_hash"]);
    assert_eq!(again["memory"]["resident_bytes"], again["memory"]["mapped_bytes"]);
}

#[test]
fn kinds_of_pages_are_swept() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("sweep.csv");
    let base = "sweep trig-power --elements 400k --workers 1 --repeat 2 --pages base,thp";
    let found = json(&format!("{base} --csv {}", csv.display()));
    let mut pages: Vec<&str> =
        found["points"].as_array().unwrap().iter().map(|p| p["pages"].as_str().unwrap()).collect();
    pages.sort_unstable();
    assert_eq!(pages, ["base", "thp"]);
    let whole = std::fs::read_to_string(&csv).unwrap();
    assert_eq!(whole.lines().filter(|line| line.contains("\",base,")).count(), 2, "{whole}");
    assert_eq!(whole.lines().filter(|line| line.contains("\",thp,")).count(), 2, "{whole}");
    // Another kind is measured anew, what is there is kept; another policy is another sweep.
    let more = base.replace("base,thp", "base,system");
    json(&format!("{more} --csv {} --resume", csv.display()));
    let again = std::fs::read_to_string(&csv).unwrap();
    assert!(again.starts_with(&whole) && again.lines().count() == whole.lines().count() + 2);
    let other = words(&format!("{base} --numa first-touch --csv {} --resume", csv.display()));
    assert_eq!(other.code(), 1, "{}", other.stderr);
}

#[test]
fn what_cannot_be_had_is_refused() {
    for (line, status, says) in [
        ("run trig-power --pages big", 2, "no kind of pages"),
        ("run trig-power --numa left", 2, "no NUMA policy"),
        ("run trig-power --numa bind:1023", 2, "bind to one of"),
        ("sweep trig-power --numa bind:1023", 2, "bind to one of"),
        ("run count-primes --pages thp", 2, "--pages is for"),
        ("sweep count-primes --pages system,thp", 2, "--pages is for"),
        ("run prime-pi 1000 --numa first-touch", 2, "--numa is for"),
        ("compare count-primes --prefault", 2, "--prefault is for"),
        ("run trig-power --pages huge --name pinpool-test-cli-huge", 2, "without a name"),
        ("run trig-power --elements 100G --pages huge", 1, "nr_hugepages"),
    ] {
        let outcome = words(line);
        assert_eq!(outcome.code(), status, "{line}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{line}: {}", outcome.stderr);
    }
}
