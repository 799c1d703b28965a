//! Where each policy puts each worker, on six machines worked out by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use fixtures::Made;
use pinpool::placement::{CoreKind, Pin, PlacementError, PlacementOptions, Plan, Smt, plan};
use pinpool::topology::Topology;
use proptest::prelude::*;

/// The machine as read from its files.
fn read(made: &Made) -> Topology {
    let topology = Topology::read(made.write().path()).unwrap();
    assert_eq!(topology.warnings(), [] as [String; 0]);
    topology
}

fn options(bind: &str, workers: usize) -> PlacementOptions {
    PlacementOptions {
        workers: (workers > 0).then_some(workers),
        bind: Some(bind.parse().unwrap()),
        ..Default::default()
    }
}

fn pus(plan: &Plan) -> Vec<usize> {
    plan.workers.iter().map(|w| w.pu.unwrap()).collect()
}

/// The PUs of `workers` workers; 0 stands for the default number.
fn place(topology: &Topology, bind: &str, workers: usize) -> Vec<usize> {
    pus(&plan(topology, &options(bind, workers)).unwrap())
}

fn with_smt(topology: &Topology, bind: &str, smt: Smt, workers: usize) -> Vec<usize> {
    let options = PlacementOptions { smt: Some(smt), ..options(bind, workers) };
    pus(&plan(topology, &options).unwrap())
}

fn list(topology: &Topology, list: &str) -> Vec<usize> {
    place(topology, &format!("list:{list}"), 0)
}

#[test]
fn machine_a_has_adjacent_siblings() {
    let a = read(&fixtures::a());
    for bind in ["compact", "scatter"] {
        assert_eq!(place(&a, bind, 4), [0, 2, 4, 6]);
        let refused = plan(&a, &options(bind, 5)).unwrap_err();
        assert!(matches!(refused, PlacementError::TooMany { workers: 5, places: 4, .. }));
        assert_eq!(with_smt(&a, bind, Smt::Last, 8), [0, 2, 4, 6, 1, 3, 5, 7]);
        assert_eq!(with_smt(&a, bind, Smt::Adjacent, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(place(&a, "spread", 2), [0, 4]);
    assert_eq!(place(&a, "spread", 3), [0, 4, 6]);
    assert_eq!(place(&a, "close", 7), [0, 0, 2, 2, 4, 4, 6]);
}

#[test]
fn machine_b_has_two_packages_and_siblings_eight_apart() {
    let b = read(&fixtures::b());
    assert_eq!(place(&b, "compact", 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(place(&b, "scatter", 8), [0, 4, 1, 5, 2, 6, 3, 7]);
    assert_eq!(place(&b, "spread", 2), [0, 4]);
    assert_eq!(place(&b, "spread", 3), [0, 3, 6]);
    assert_eq!(place(&b, "spread", 5), [0, 2, 4, 6, 7]);
    assert_eq!(place(&b, "close", 11), [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7]);
    assert_eq!(with_smt(&b, "compact", Smt::Last, 16), (0..16).collect::<Vec<_>>());
    let adjacent: Vec<usize> = (0..8).flat_map(|i| [i, i + 8]).collect();
    assert_eq!(with_smt(&b, "compact", Smt::Adjacent, 16), adjacent);
    assert_eq!(list(&b, "E:N:4"), [0, 8, 1, 9]);
    assert_eq!(list(&b, "S:scatter:4"), [0, 4, 1, 5]);
    assert_eq!(list(&b, "S:balanced:4"), [0, 8, 4, 12]);
    assert_eq!(list(&b, "S:cbalanced:4"), [0, 1, 4, 5]);
}

#[test]
fn machine_c_nests_caches_in_nodes() {
    let c = read(&fixtures::c());
    assert_eq!(place(&c, "scatter", 16), [0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15]);
    assert_eq!(place(&c, "spread", 4), [0, 4, 8, 12]);
    assert_eq!(place(&c, "spread", 3), [0, 6, 11]);
    assert_eq!(place(&c, "spread", 5), [0, 4, 7, 10, 13]);
    assert_eq!(place(&c, "close", 5), [0, 1, 2, 3, 4]);
}

#[test]
fn machine_d_is_a_hybrid() {
    let d = read(&fixtures::d());
    for bind in ["compact", "scatter"] {
        assert_eq!(place(&d, bind, 6), [0, 2, 4, 5, 6, 7]);
    }
    assert_eq!(place(&d, "spread", 3), [0, 4, 6]);
    assert_eq!(place(&d, "spread", 4), [0, 4, 6, 7]);
    assert_eq!(with_smt(&d, "compact", Smt::Last, 8), [0, 2, 4, 5, 6, 7, 1, 3]);
    let efficient = PlacementOptions { kind: Some(CoreKind::E), ..options("compact", 2) };
    assert_eq!(pus(&plan(&d, &efficient).unwrap()), [4, 5]);
}

#[test]
fn machine_e_deals_pus_in_turn_and_has_two_offline() {
    let e = read(&fixtures::e());
    assert_eq!(place(&e, "compact", 6), [1, 5, 7, 2, 4, 6]);
    assert_eq!(place(&e, "scatter", 6), [1, 2, 5, 4, 7, 6]);
    assert_eq!(place(&e, "spread", 2), [1, 2]);
    assert_eq!(place(&e, "spread", 4), [1, 7, 4, 6]);
    assert_eq!(place(&e, "close", 7), [1, 1, 5, 7, 2, 4, 6]);
    assert_eq!(e.numa_nodes().iter().map(|n| n.id).collect::<Vec<_>>(), [0, 8]);
}

#[test]
fn machine_f_is_b_behind_a_mask_and_a_quota() {
    let f = read(&fixtures::f());
    assert_eq!(f.usable_cores().len(), 4);
    assert_eq!(place(&f, "close", 0).len(), 3, "the default is cut by the quota");
    assert_eq!(place(&f, "compact", 4), [2, 3, 6, 12]);
    assert_eq!(place(&f, "scatter", 4), [2, 6, 3, 12]);
    assert_eq!(place(&f, "spread", 3), [2, 6, 12]);
    assert_eq!(place(&f, "close", 5), [2, 2, 3, 6, 12]);
    assert_eq!(with_smt(&f, "compact", Smt::Last, 6), [2, 3, 6, 12, 10, 11]);
    let four = plan(&f, &options("close", 4)).unwrap();
    assert!(four.warnings.iter().any(|w| w.contains("quota of 3 CPUs")), "{:?}", four.warnings);
    let core = PlacementOptions { pin: Pin::Core, ..options("close", 4) };
    let places: Vec<_> = plan(&f, &core).unwrap().workers.into_iter().map(|w| w.pus).collect();
    assert_eq!(places, [vec![2, 10], vec![3, 11], vec![6], vec![12]]);
}

#[test]
fn the_order_stays_defined_where_levels_do_not_nest() {
    // Nodes that cut across packages; as many of one as of the other, so packages come first.
    let crossed = (0..8).fold(Made::default(), |m, i| m.core(&[i], i / 4, i / 2 % 2, i));
    let crossed = read(&crossed);
    assert_eq!(place(&crossed, "compact", 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(place(&crossed, "scatter", 8), [0, 4, 2, 6, 1, 5, 3, 7]);
    // Fewer nodes than packages: node 0 has packages 0 and 2, node 1 has 1 and 3.
    let wide = (0..8).fold(Made::default(), |m, i| m.core(&[i], i / 2, i / 2 % 2, i / 2));
    let wide = read(&wide);
    assert_eq!(place(&wide, "compact", 8), [0, 1, 4, 5, 2, 3, 6, 7]);
    assert_eq!(place(&wide, "scatter", 8), [0, 2, 4, 6, 1, 3, 5, 7]);
}

#[test]
fn cores_without_a_cache_form_one_group() {
    let mut made = (0..8).fold(Made::default(), |m, i| m.core(&[i], 0, 0, i / 2 % 2));
    made.cores[6].llc = None;
    made.cores[7].llc = None;
    // What is left to them is their own second level, so those two are groups of one.
    let topology = read(&made);
    assert_eq!(place(&topology, "compact", 8), [0, 1, 4, 5, 2, 3, 6, 7]);
    let dir = made.write();
    for pu in [6, 7] {
        let cache = format!("sys/devices/system/cpu/cpu{pu}/cache");
        std::fs::remove_dir_all(dir.path().join(cache)).unwrap();
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(place(&topology, "scatter", 8), [0, 2, 6, 1, 3, 7, 4, 5]);
}

proptest! {
    #[test]
    fn shares_differ_by_at_most_one_and_the_first_are_the_larger(
        places in 1usize..40,
        workers in 1usize..120,
    ) {
        let machine = Topology::synthetic(&format!("core:{places} pu:1")).unwrap();
        for bind in ["close", "spread"] {
            let at = place(&machine, bind, workers);
            prop_assert!(at.is_sorted());
            prop_assert_eq!(at[0], 0);
            // What one has of the other: workers of a place, or places of a run.
            let shares: Vec<usize> = if workers > places {
                (0..places).map(|p| at.iter().filter(|a| **a == p).count()).collect()
            } else if bind == "spread" {
                let ends = at.iter().skip(1).copied().chain([places]);
                at.iter().zip(ends).map(|(start, end)| end - start).collect()
            } else {
                prop_assert_eq!(&at, &(0..workers).collect::<Vec<_>>());
                continue;
            };
            let (large, small) = (workers.max(places), workers.min(places));
            let extra = large % small;
            let expected = (0..small).map(|i| large / small + usize::from(i < extra));
            prop_assert_eq!(shares, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn scatter_uses_every_core_once_and_changes_package_while_it_can(
        packages in 1usize..5,
        nodes in 1usize..4,
        cores in 1usize..6,
    ) {
        let text = format!("package:{packages} numa:{nodes} core:{cores} pu:2");
        let machine = Topology::synthetic(&text).unwrap();
        let total = packages * nodes * cores;
        let at = place(&machine, "scatter", total);
        let mut sorted = at.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..total).map(|core| 2 * core).collect::<Vec<_>>());
        let package = |pu: usize| machine.pu(pu).unwrap().package;
        if packages > 1 {
            prop_assert!(at.windows(2).all(|two| package(two[0]) != package(two[1])));
        }
    }
}
