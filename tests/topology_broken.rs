//! Broken snapshots: whatever the files hold, the reader answers with a machine that makes sense
//! or with an error, and never panics, hangs or takes more memory than the files are worth.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use std::path::{Path, PathBuf};

use pinpool::placement::{Bind, PlacementOptions, Places, Smt, plan};
use pinpool::topology::{PuSet, Topology};
use proptest::prelude::*;

/// What happens to a file.
#[derive(Clone, Debug)]
enum Damage {
    Bytes(Vec<u8>),
    Cut(usize),
    Flip(usize, u8),
    Gone,
    Directory,
    Loop,
    /// A line of another file, or a number of the same kind.
    Text(String),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Damage::Bytes),
        any::<usize>().prop_map(Damage::Cut),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        Just(Damage::Gone),
        Just(Damage::Directory),
        Just(Damage::Loop),
        "[0-9,:-]{0,12}".prop_map(Damage::Text),
        "([0-9]{1,2}(-[0-9]{1,2})?,){0,3}[0-9]{1,2}".prop_map(Damage::Text),
        Just(Damage::Text("0-65535".into())),
        Just(Damage::Text("0-8191,0-8191,0-8191".into())),
        Just(Damage::Text("18446744073709551616".into())),
        Just(Damage::Text("-1".into())),
        Just(Damage::Text("9223372036854775807 1".into())),
    ]
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => files(&path, found),
            path => found.push(path),
        }
    }
    found.sort();
}

fn break_file(path: &Path, damage: &Damage) {
    // A file that an earlier blow turned into something else stays as it is.
    let Ok(mut bytes) = std::fs::read(path) else { return };
    match damage {
        Damage::Bytes(new) => bytes.clone_from(new),
        Damage::Cut(at) => bytes.truncate(at % (bytes.len() + 1)),
        Damage::Flip(at, byte) => {
            let at = at % bytes.len().max(1);
            bytes.resize(bytes.len().max(1), 0);
            bytes[at] ^= byte;
        }
        Damage::Text(text) => bytes = format!("{text}\n").into_bytes(),
        Damage::Gone | Damage::Directory | Damage::Loop => {
            std::fs::remove_file(path).unwrap();
            match damage {
                Damage::Directory => std::fs::create_dir(path).unwrap(),
                Damage::Loop => std::os::unix::fs::symlink(path, path).unwrap(),
                _ => {}
            }
            return;
        }
    }
    std::fs::write(path, bytes).unwrap();
}

/// Everything that is promised of any topology, and every way to look at it.
fn check(topology: &Topology) {
    let online = topology.online();
    let allowed = &topology.limits().allowed;
    assert!(!allowed.is_empty());
    assert!(allowed.difference(&online).is_empty());
    let in_cores: Vec<usize> = topology.cores().iter().flat_map(|core| core.pus.clone()).collect();
    assert_eq!(in_cores.len(), online.len(), "each online PU is in one core");
    assert_eq!(in_cores.into_iter().collect::<PuSet>(), online);
    let usable: PuSet = topology.usable_cores().iter().map(|core| core.id).collect();
    assert!(topology.cores().iter().all(|c| c.allowed.is_empty() != usable.contains(c.id)));
    let mut options = vec![PlacementOptions::default()];
    for bind in
        ["none", "close", "spread", "primary", "compact", "scatter", "list:S0:0@N:scatter:2"]
    {
        let bind: Bind = bind.parse().unwrap();
        options.push(PlacementOptions { bind: Some(bind), ..Default::default() });
    }
    for places in ["threads", "ll_caches", "numa_domains", "sockets", "{0:4}:3:8"] {
        let places: Places = places.parse().unwrap();
        options.push(PlacementOptions {
            places: Some(places),
            workers: Some(5),
            ..Default::default()
        });
    }
    options.push(PlacementOptions { smt: Some(Smt::Last), ..Default::default() });
    for options in options {
        let Ok(plan) = plan(topology, &options) else { continue };
        let pus = plan.workers.iter().flat_map(|w| w.pus.iter().chain(&w.pu));
        assert!(pus.clone().all(|pu| allowed.contains(*pu)), "{plan:?}");
        let dump = topology.to_json(Some(&plan));
        assert!(serde_json::from_str::<serde_json::Value>(&dump).is_ok(), "{dump}");
        assert!(!topology.draw(Some(&plan)).is_empty());
    }
    assert!(topology.svg(None).ends_with("</svg>\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn a_broken_snapshot_is_a_sensible_machine_or_an_error(
        which in 0..2usize,
        blows in proptest::collection::vec((any::<prop::sample::Index>(), damage()), 1..6),
    ) {
        let dir = [fixtures::tiny(), fixtures::e()][which].write();
        let mut found = Vec::new();
        files(dir.path(), &mut found);
        for (index, damage) in &blows {
            break_file(index.get::<PathBuf>(&found), damage);
        }
        if let Ok(topology) = Topology::read(dir.path()) {
            check(&topology);
        }
    }

    #[test]
    fn a_broken_synthetic_text_is_a_machine_or_an_error(
        text in "((\\[?(package|numa|l3|l2|core|pu|die|group|x)\\]?:[0-9]{1,3}(\\((size|memory|indexes)=[0-9,GB]{1,6}\\))?|[0-9]{1,2}|[\\[\\]():]) ?){0,5}",
    ) {
        if let Ok(topology) = Topology::synthetic(&text)
            && topology.pus().len() < 2000
        {
            check(&topology);
        }
    }

    #[test]
    fn any_text_is_a_policy_or_an_error(text in "(list:)?[{}!0-9,:@SENMC -]{0,16}|\\PC{0,20}") {
        let machine = Topology::synthetic("package:2 numa:2 core:2 pu:2").unwrap();
        let bind = text.parse::<Bind>().ok();
        let places = text.parse::<Places>().ok();
        let shown = bind.as_ref().map(ToString::to_string);
        prop_assert_eq!(shown.and_then(|text| text.parse().ok()), bind.clone());
        for options in [
            PlacementOptions { bind, ..Default::default() },
            PlacementOptions { places, ..Default::default() },
        ] {
            if let Ok(plan) = plan(&machine, &options) {
                prop_assert!(plan.workers.iter().all(|w| w.pus.iter().all(|pu| *pu < 16)));
            }
        }
    }
}

#[test]
fn every_damage_to_every_file_of_a_machine_is_survived() {
    let pristine = fixtures::tiny().write();
    let mut found = Vec::new();
    files(pristine.path(), &mut found);
    let texts = ["", "-1", "1-0", "0-8191", "\u{e9}max 0::/a"];
    for path in &found {
        let whole = std::fs::read(path).unwrap();
        for text in texts {
            std::fs::write(path, text).unwrap();
            let _ = Topology::read(pristine.path()).map(|topology| check(&topology));
        }
        std::fs::write(path, whole).unwrap();
    }
}
