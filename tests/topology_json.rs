//! The dump: its schema, that it repeats itself to the byte, and the drawings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use pinpool::placement::{Bind, Pin, PlacementOptions, plan};
use pinpool::topology::Topology;
use serde_json::{Value, json};

fn dump(topology: &Topology, options: Option<&PlacementOptions>) -> Value {
    let plan = options.map(|options| plan(topology, options).unwrap());
    let text = topology.to_json(plan.as_ref());
    assert_eq!(text, topology.to_json(plan.as_ref()), "same input, same bytes");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_dump_has_the_members_of_schema_one() {
    let dir = fixtures::f().write();
    let dump = dump(&Topology::read(dir.path()).unwrap(), None);
    assert_eq!(dump["schema"], 1);
    assert_eq!(
        dump["pus"][10],
        json!({"id": 10, "core": 2, "package": 0, "die": null, "numa": 0, "l3": 0, "llc": 0,
            "kind": null, "online": true, "allowed": true})
    );
    assert_eq!(
        dump["cores"][4],
        json!({"id": 4, "pus": [4, 12], "first_pu": 12, "package": 1, "numa": 1, "os_core_id": 4})
    );
    assert_eq!(dump["cores"][0]["first_pu"], Value::Null);
    assert_eq!(
        dump["packages"][1],
        json!({"id": 1, "os_id": 36, "pus": [4, 5, 6, 7, 12, 13, 14, 15]})
    );
    assert_eq!(dump["numa_nodes"][1]["id"], 1);
    assert_eq!(
        dump["limits"],
        json!({"allowed": "2-3,6,10-12", "cpuset": "2-3,6,10-12", "quota_cpus": 3})
    );
    assert_eq!(dump["warnings"], json!([]));
    assert!(dump.get("workers").is_none());
}

#[test]
fn a_plan_is_added_to_the_dump() {
    let dir = fixtures::f().write();
    let options = PlacementOptions {
        workers: Some(2),
        bind: Some(Bind::Spread),
        pin: Pin::Core,
        ..Default::default()
    };
    let dump = dump(&Topology::read(dir.path()).unwrap(), Some(&options));
    assert_eq!(dump["bind"], "spread");
    assert_eq!(dump["oversubscribed"], false);
    assert_eq!(
        dump["workers"],
        json!([{"index": 0, "pu": 2, "pus": [2, 10], "core": 2, "package": 0, "numa": 0},
            {"index": 1, "pu": 6, "pus": [6], "core": 6, "package": 1, "numa": 1}])
    );
}

#[test]
fn offline_pus_are_listed_with_nothing_known() {
    let dump = dump(&Topology::read(fixtures::e().write().path()).unwrap(), None);
    assert_eq!(
        dump["pus"][3],
        json!({"id": 3, "core": null, "package": null, "die": null, "numa": null, "l3": null,
            "llc": null, "kind": null, "online": false, "allowed": false})
    );
    assert_eq!(dump["pus"][1]["package"], 0, "the package of the lowest online PU comes first");
    assert_eq!(dump["numa_nodes"][1], json!({"id": 8, "pus": [1, 5, 7]}));
}

#[test]
fn the_text_shows_cores_workers_and_what_is_not_ours() {
    let topology = Topology::read(fixtures::f().write().path()).unwrap();
    let plan = plan(&topology, &PlacementOptions::default()).unwrap();
    let text = topology.draw(Some(&plan));
    assert!(text.contains("[2:w0 10]"), "{text}");
    assert!(text.contains("[(0) (8)]"), "{text}");
    assert!(text.contains("package 1 (P#36), NUMA node 1, 16 GiB, L3 1, 32 MiB"), "{text}");
    assert!(text.contains("quota: 3 CPUs"), "{text}");
    assert!(text.contains("a cgroup quota of 3 CPUs cuts 4 usable cores"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[test]
fn the_picture_is_well_formed_and_fetches_nothing() {
    let topology = Topology::read(fixtures::b().write().path()).unwrap();
    let plan = plan(&topology, &PlacementOptions::default()).unwrap();
    let svg = topology.svg(Some(&plan));
    for tag in ["svg", "g", "text", "title", "style"] {
        let open =
            svg.matches(&format!("<{tag}>")).count() + svg.matches(&format!("<{tag} ")).count();
        assert_eq!(open, svg.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert_eq!(svg.matches("<title>PU ").count(), 16);
    assert_eq!(svg.matches("class=\"w\"").count(), 8);
    assert_eq!(svg.matches("http").count(), 1, "the name of the namespace, and no other address");
    assert!(!svg.contains("<script") && !svg.contains("url("));
}
