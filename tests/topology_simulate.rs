//! Simulated scaling: cases that can be worked out by hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use pinpool::placement::{Bind, Pin, PlacementOptions, Places, Smt, plan};
use pinpool::simulate::{
    Assumptions, ChunkCosts, Memory, SharedBy, SimulateError, Simulation, curve, simulate,
};
use pinpool::topology::Topology;

const SAME: ChunkCosts = ChunkCosts::Same { chunks: 64, ns: 1000.0 };

fn machine(text: &str) -> Topology {
    Topology::synthetic(text).unwrap()
}

fn run(
    topology: &Topology,
    options: &PlacementOptions,
    costs: &ChunkCosts,
    assumptions: &Assumptions,
) -> Simulation {
    let plan = plan(topology, options).unwrap();
    let run = simulate(topology, &plan, costs, assumptions).unwrap();
    assert_eq!(run.workers.iter().map(|w| w.chunks).sum::<usize>(), costs.len());
    for (at, w) in run.workers.iter().enumerate() {
        let sum = w.busy_ns + w.shared_ns + w.memory_ns + w.claiming_ns + w.idle_ns;
        assert!((sum - run.makespan_ns).abs() < 1e-6 * run.makespan_ns, "worker {at}: {w:?}");
    }
    run
}

fn workers(count: usize) -> PlacementOptions {
    PlacementOptions { workers: Some(count), ..Default::default() }
}

#[test]
fn equal_chunks_on_cores_of_their_own_scale_ideally() {
    let topology = machine("package:2 core:8 pu:2");
    for count in [1, 2, 4, 16] {
        let run = run(&topology, &workers(count), &SAME, &Assumptions::default());
        assert!((run.makespan_ns - 64_000.0 / count as f64).abs() < 1e-6);
    }
    // 64 chunks on 5 workers take 13 rounds.
    let run = run(&topology, &workers(5), &SAME, &Assumptions::default());
    assert!((run.makespan_ns - 13_000.0).abs() < 1e-6);
}

#[test]
fn claims_and_wake_ups_cost_what_is_said() {
    let assumptions = Assumptions { claim_ns: 10.0, wake_ns: 500.0, ..Default::default() };
    let run = run(&machine("core:4 pu:1"), &workers(4), &SAME, &assumptions);
    assert!((run.makespan_ns - (500.0 + 16.0 * 1010.0)).abs() < 1e-6);
    assert!((run.workers[0].claiming_ns - 160.0).abs() < 1e-6);
}

#[test]
fn a_worker_that_is_through_takes_from_the_ends_of_the_others() {
    // Worker 0 has 8 cheap chunks, worker 1 has 8 dear ones; both end together.
    let costs = [vec![1.0; 8], vec![100.0; 8]].concat();
    let run = run(
        &machine("core:2 pu:1"),
        &workers(2),
        &ChunkCosts::Each(costs),
        &Assumptions::default(),
    );
    assert_eq!((run.workers[0].stolen, run.workers[1].stolen), (4, 0));
    assert!((run.makespan_ns - 408.0).abs() < 1e-6);
}

#[test]
fn siblings_turns_quotas_and_slow_cores_are_shared() {
    let topology = machine("core:2 pu:2");
    let smt = |workers| PlacementOptions {
        workers: Some(workers),
        bind: Some(Bind::Compact),
        smt: Some(Smt::Last),
        ..Default::default()
    };
    let gain = Assumptions { smt_throughput: 1.25, ..Default::default() };
    assert!((run(&topology, &smt(4), &SAME, &gain).makespan_ns - 64_000.0 / 2.5).abs() < 1e-3);
    let turns = run(&topology, &workers(8), &SAME, &gain);
    assert!((turns.makespan_ns - 32_000.0).abs() < 1e-3, "4 workers a PU, 2 PUs");
    assert!(turns.workers[0].shared_ns > 0.0);

    // Machine F has a quota of 3 CPUs on 4 usable cores.
    let f = Topology::read(fixtures::f().write().path()).unwrap();
    let four = run(&f, &workers(4), &SAME, &Assumptions::default());
    assert!((four.makespan_ns - 64_000.0 / 3.0).abs() < 1e-3);

    // Machine D: two P-cores first, then E-cores at half the speed.
    let d = Topology::read(fixtures::d().write().path()).unwrap();
    let slow = Assumptions { efficiency_core_speed: 0.5, ..Default::default() };
    let six = run(&d, &workers(6), &SAME, &slow);
    assert!((six.makespan_ns - 16_000.0).abs() < 1e-3, "64 chunks at a rate of 2 + 4/2");
}

#[test]
fn wide_places_and_no_places_use_the_emptiest_cores() {
    let topology = machine("package:2 core:2 pu:2");
    for options in [
        PlacementOptions { bind: Some(Bind::None), ..workers(4) },
        PlacementOptions { places: Some(Places::Sockets), ..workers(4) },
        PlacementOptions { pin: Pin::Core, ..workers(4) },
    ] {
        let run = run(&topology, &options, &SAME, &Assumptions::default());
        assert!((run.makespan_ns - 16_000.0).abs() < 1e-6, "{options:?}");
    }
}

#[test]
fn a_memory_roof_bends_the_curve_and_spreading_lifts_it() {
    // 8 bytes a nanosecond and core, a roof of 24 per node: three workers fill a node.
    let memory =
        Memory { bytes_per_chunk: 8000.0, bytes_per_second: 24e9, shared_by: SharedBy::NumaNode };
    let assumptions = Assumptions { memory: Some(memory), ..Default::default() };
    let topology = machine("package:2 numa:1 core:8 pu:1");
    let scaling = |bind: Bind| {
        let options = PlacementOptions { bind: Some(bind), ..Default::default() };
        let costs = ChunkCosts::Same { chunks: 960, ns: 1000.0 };
        curve(&topology, &options, &[1, 2, 3, 4, 6, 8, 16], &costs, &assumptions).unwrap()
    };
    let close = scaling(Bind::Close);
    assert_eq!(close.contention_from, Some(4));
    let speedup = |at: usize| close.points[at].speedup;
    assert!((speedup(2) - 3.0).abs() < 1e-6);
    assert!((speedup(5) - 3.0).abs() < 1e-3, "a full node is no faster: {close}");
    assert!((speedup(6) - 6.0).abs() < 1e-3, "the other node has a roof of its own: {close}");
    let scatter = scaling(Bind::Scatter);
    assert_eq!(scatter.contention_from, Some(8));
    assert!((scatter.points[4].speedup - 6.0).abs() < 1e-6, "{scatter}");
    assert!(scatter.to_string().contains("contention begins at 8 workers"));
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let costs = ChunkCosts::Each((1..500).map(|i| f64::from(i * 7919 % 1000 + 1)).collect());
    let topology = machine("package:2 core:4 pu:2");
    let assumptions = Assumptions { claim_ns: 3.0, steal_ns: 40.0, ..Default::default() };
    let once = run(&topology, &workers(7), &costs, &assumptions);
    let total: f64 = (1..500).map(|i| f64::from(i * 7919 % 1000 + 1)).sum();
    assert!(once.makespan_ns >= total / 7.0);
    assert_eq!(once, run(&topology, &workers(7), &costs, &assumptions));
}

#[test]
fn what_cannot_be_simulated_is_an_error() {
    let topology = machine("core:4 pu:1");
    let plan = plan(&topology, &workers(4)).unwrap();
    let fails = |costs: &ChunkCosts, assumptions: &Assumptions| {
        simulate(&topology, &plan, costs, assumptions).unwrap_err()
    };
    for ns in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = fails(&ChunkCosts::Each(vec![1.0, ns]), &Assumptions::default());
        assert!(matches!(error, SimulateError::Number { .. }));
        let error = fails(&SAME, &Assumptions { smt_throughput: ns, ..Default::default() });
        assert!(matches!(error, SimulateError::Number { .. }));
    }
    let endless = ChunkCosts::Same { chunks: usize::MAX, ns: 1.0 };
    let error = fails(&endless, &Assumptions::default());
    assert!(matches!(error, SimulateError::TooLarge { .. }));
    let none = ChunkCosts::Each(Vec::new());
    let run = simulate(&topology, &plan, &none, &Assumptions::default()).unwrap();
    assert_eq!(run.makespan_ns.to_bits(), 0.0f64.to_bits());
    let error = curve(&topology, &workers(1), &[9999], &SAME, &Assumptions::default());
    assert!(matches!(error, Err(SimulateError::Placement(_))));
}
