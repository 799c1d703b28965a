//! `pinpool sweep --simulate`: what is said of machines that one does not have, that it is called
//! simulated wherever it stands, and that it is near to real runs on the cores there are.

#![cfg(feature = "cli")]

mod fixtures;
mod program;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use program::{Outcome, run};
use serde_json::Value;

/// Tests that compare what they measured are not each other's load.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sweep(words: &[&str]) -> Outcome {
    let repeat = if words.contains(&"--repeat") { &[][..] } else { &["--repeat", "3"] };
    run(&[&["sweep", "trig-power"][..], repeat, words].concat())
}

fn json(words: &[&str]) -> Value {
    let outcome = sweep(&[words, &["--json"]].concat());
    assert_eq!(outcome.code(), 0, "{}", outcome.stderr);
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The points of one policy by number of workers: workers and a member.
fn curve(found: &Value, bind: &str, member: &str) -> Vec<(u64, f64)> {
    let points = found["points"].as_array().unwrap().iter().filter(|p| p["bind"] == bind);
    let mut curve: Vec<_> =
        points.map(|p| (p["workers"].as_u64().unwrap(), p[member].as_f64().unwrap())).collect();
    curve.sort_by_key(|point| point.0);
    curve
}

/// The speed-up where chunks are done `by` times as fast and the call, which a busy machine makes long,
/// takes what was measured.
fn ideal(found: &Value, by: f64) -> f64 {
    let said = found["assumptions"].to_string();
    let (_, call) = said.split_once("workers that are awake ").unwrap();
    let call = call.split_once(" ns").unwrap().0.parse::<f64>().unwrap() / 1e9;
    let bind = found["points"][0]["bind"].as_str().unwrap();
    let (_, one) = curve(found, bind, "seconds")[0];
    one / ((one - call) / by + call)
}

const SMALL: [&str; 2] = ["--elements", "100k"];

/// Chunks long enough that what a call costs here, on a busy machine too, is nothing beside them.
const LONG: [&str; 4] = ["--elements", "4M", "--chunk", "40k"];

#[test]
fn a_machine_in_words_is_simulated_and_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("simulated.csv");
    let csv = csv.to_str().unwrap();
    let machine = ["--simulate", "package:2 core:8 pu:2", "--chunks", "100,1k", "--csv", csv];
    let words = [&SMALL[..], &machine, &["--bind", "close,scatter"]].concat();
    let found = json(&words);
    assert_eq!(found["simulated"], true);
    assert_eq!(found["topology"], "package:2 core:8 pu:2");
    let points = found["points"].as_array().unwrap();
    assert_eq!(points.len(), 5 * 2 * 2, "1, 2, 4, 8 and 16 workers");
    assert!(points.iter().all(|point| point["simulated"] == true));
    for bind in ["close", "scatter"] {
        for (workers, speedup) in curve(&found, bind, "speedup") {
            assert!(speedup > 0.0 && speedup <= workers as f64 * 1.0001, "{bind} {workers}");
        }
    }
    let stated = found["assumptions"].to_string();
    for word in ["a claim", "1000 chunks of 100", "memory roof", "SMT siblings", "lower clock"] {
        assert!(stated.contains(word), "{word} is not in {stated}");
    }
    let text = std::fs::read_to_string(csv).unwrap();
    assert!(text.starts_with("# simulated: trig-power on"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("true,")).count(), 20, "{text}");
    let table = sweep(&words).stdout;
    for word in ["simulated, not run", "EXPECTED s", "contention", "assumed:"] {
        assert!(table.contains(word), "{word} is not in {table}");
    }
}

#[test]
fn the_default_numbers_of_workers_are_those_of_policy_and_places_there() {
    let words = ["--chunk", "1k", "--simulate", "core:4 pu:2", "--places", "threads"];
    let words = [&SMALL[..], &words, &["--bind", "close,spread,close"]].concat();
    let found = json(&words);
    for bind in ["close", "spread"] {
        let counts: Vec<u64> = curve(&found, bind, "speedup").iter().map(|p| p.0).collect();
        assert_eq!(counts, [1, 2, 4, 8], "a place is a PU, and nothing is there twice");
    }
    // What this machine's environment says does not hold there.
    let mut command = program::pinpool(&[&["sweep", "trig-power", "--json"], &words[..]].concat());
    command.env("PINPOOL_WORKERS", "1").env("PINPOOL_PLACES", "sockets");
    let there: Value = serde_json::from_str(&program::run_with(command, b"").stdout).unwrap();
    assert_eq!(curve(&there, "close", "speedup").len(), 4);
}

#[test]
fn a_snapshot_is_simulated_with_its_mask_and_quota() {
    let machine = fixtures::f().write();
    let machine = machine.path().to_str().unwrap();
    let found = json(&[&SMALL[..], &["--chunk", "100", "--simulate", machine]].concat());
    let counts: Vec<u64> = curve(&found, "close", "speedup").iter().map(|p| p.0).collect();
    assert_eq!(counts, [1, 2, 3], "a quota of three");
    let four = [&SMALL[..], &["--chunk", "100", "--simulate", machine, "--workers", "4"]].concat();
    let four = json(&four);
    let (_, speedup) = curve(&four, "close", "speedup")[1];
    assert!(speedup < 3.0001, "four workers share a quota of three: {speedup}");
    assert_eq!(four["contention"][0]["from_workers"], 4);
}

#[test]
fn a_roof_bends_the_curve_and_another_node_lifts_it() {
    let _alone = alone();
    let words = ["--simulate", "package:2 numa:1 core:4 pu:1"];
    // More runs than else: a chunk that another program held up in most of them is none of its costs.
    let sweep = ["--bind", "close,scatter", "--workers", "1,2", "--repeat", "15"];
    let words = [&LONG[..], &words, &sweep].concat();
    let free = json(&words);
    // What one worker asks for and a fifth more; a quiet or busy moment may halve or double it.
    let asks = 8.0 * 4e6 / curve(&free, "close", "seconds")[0].1 / 1e9;
    let roof = format!("{}", asks * 1.2);
    let found = json(&[&words[..], &["--roof", &roof]].concat());
    let at_two = |found: &Value, bind: &str| curve(found, bind, "speedup")[1].1;
    assert!(at_two(&free, "close") > 0.95 * ideal(&free, 2.0), "{free}");
    let (close, scatter) = (at_two(&found, "close"), at_two(&found, "scatter"));
    let ideal = ideal(&found, 2.0);
    assert!(close < 0.95 * ideal && scatter > 0.95 * ideal, "{found}");
    assert!(found["assumptions"].to_string().contains("as --roof says"));
    assert_eq!(found["contention"][0]["from_workers"], 2);
    assert_eq!(found["contention"][1]["from_workers"], Value::Null);
}

#[test]
fn siblings_give_what_is_said() {
    let _alone = alone();
    let words = ["--simulate", "core:1 pu:2", "--bind", "compact"];
    let siblings = ["--smt", "last", "--workers", "2", "--smt-throughput", "1.3"];
    let found = json(&[&LONG[..], &words, &siblings].concat());
    let (_, speedup) = curve(&found, "compact", "speedup")[1];
    let expected = ideal(&found, 1.3);
    assert!((speedup - expected).abs() < 0.02, "{speedup}, and not {expected}: {found}");
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    for (words, code, text) in [
        (&["--simulate", "package:x"][..], 2, "is not a level"),
        (&["--simulate", "/nowhere/at/all"], 1, "cannot open /nowhere/at/all"),
        (&["--simulate", "core:2", "--workers", "9", "--bind", "compact"], 2, "9"),
        (&["--simulate", "core:2", "--resume", "--csv", "x"], 2, "cannot be used with"),
        (&["--simulate", "core:2", "--order", "2"], 2, "cannot be used with"),
        (&["--roof", "20"], 2, "--simulate"),
        (&["--simulate", "core:2", "--roof", "0"], 2, "no number above 0"),
    ] {
        let outcome = sweep(&[&SMALL[..], words].concat());
        assert_eq!(outcome.code(), code, "{words:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(text), "{words:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_simulation_of_this_machine_is_near_to_real_runs() {
    let _alone = alone();
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(2);
    let machine = format!("package:1 core:{cores} pu:1");
    let counts = if cores == 2 { "1,2" } else { "1" };
    // Short runs, of which some find the cores free; and long enough that it does not matter whether
    // the caller had a core of its own, which makes 20 us.
    let job = ["--elements", "1M", "--chunk", "50k", "--workers", counts];
    let (mut real, mut simulated) = (HashMap::new(), HashMap::new());
    let mut seen = Vec::new();
    // Other programs are in no simulation, and hold up what it is made from as they do real runs:
    // the best of both counts.
    for _ in 0..15 {
        let least = |of: &mut HashMap<u64, f64>, workers: u64, seconds: f64| {
            let best = of.entry(workers).or_insert(f64::INFINITY);
            *best = best.min(seconds);
        };
        let found = json(&[&job[..], &["--simulate", &machine, "--repeat", "15"]].concat());
        for (workers, seconds) in curve(&found, "close", "seconds") {
            least(&mut simulated, workers, seconds);
        }
        let found = json(&[&job[..], &["--repeat", "25"]].concat());
        for point in found["points"].as_array().unwrap() {
            for seconds in point["seconds"].as_array().unwrap() {
                least(&mut real, point["workers"].as_u64().unwrap(), seconds.as_f64().unwrap());
            }
        }
        let far = simulated.iter().map(|(workers, seconds)| (seconds / real[workers] - 1.0).abs());
        let far = far.fold(0.0, f64::max);
        if far < 0.1 {
            return;
        }
        seen.push(far);
    }
    panic!("no simulation was within 10 % of real runs: {seen:?}");
}
