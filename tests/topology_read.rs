//! What is read from `/sys` and `/proc`: fallbacks, holes, limits, and what stops the reader.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use std::path::Path;

use fixtures::{Made, put};
use pinpool::placement::{CoreKind, PlacementOptions, plan};
use pinpool::topology::{Topology, TopologyError};

const CPU: &str = "sys/devices/system/cpu";

fn cores(topology: &Topology) -> Vec<Vec<usize>> {
    topology.cores().iter().map(|core| core.pus.clone()).collect()
}

#[test]
fn this_machine_is_read_and_has_room_for_a_worker() {
    let here = Topology::current().unwrap();
    assert!(!here.usable_cores().is_empty());
    assert_eq!(here.limits().allowed, Topology::current().unwrap().limits().allowed);
    let plan = plan(&here, &PlacementOptions::default()).unwrap();
    assert!(!plan.workers.is_empty());
    assert!(plan.workers.iter().all(|w| here.limits().allowed.contains(w.pu.unwrap())));
}

#[test]
fn old_kernels_call_the_files_by_other_names() {
    let new = Topology::read(fixtures::b().write().path()).unwrap();
    let old = Made { old_names: true, ..fixtures::b() }.write();
    let old = Topology::read(old.path()).unwrap();
    assert_eq!(old.cores(), new.cores());
    assert_eq!(old.packages(), new.packages());
}

#[test]
fn without_the_online_file_each_pu_says_it_itself() {
    let dir = fixtures::e().write();
    std::fs::remove_file(dir.path().join(CPU).join("online")).unwrap();
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(topology.online().to_string(), "1-2,4-7");
    let offline: Vec<usize> =
        topology.pus().iter().filter(|pu| !pu.online).map(|pu| pu.id).collect();
    assert_eq!(offline, [0, 3]);
}

#[test]
fn a_machine_without_nodes_and_caches_has_null_there() {
    let mut made = Made { without_nodes: true, ..fixtures::a() };
    made.cores.iter_mut().for_each(|core| core.llc = None);
    let dir = made.write();
    for pu in 0..8 {
        std::fs::remove_dir_all(dir.path().join(format!("{CPU}/cpu{pu}/cache"))).unwrap();
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert!(topology.numa_nodes().is_empty());
    assert!(topology.pus().iter().all(|pu| pu.numa.is_none() && pu.l3.is_none()));
    assert!(topology.pus().iter().all(|pu| pu.llc.is_none()));
}

#[test]
fn the_last_level_of_a_pu_may_be_another_than_its_neighbours() {
    let mut made = fixtures::d();
    for core in made.cores.iter_mut().skip(4) {
        // Low-power cores beside the L3 share an L4 of their own here.
        core.llc = Some((4, 9));
    }
    let topology = Topology::read(made.write().path()).unwrap();
    assert_eq!(topology.pu(0).unwrap().llc, Some(0));
    assert_eq!(topology.pu(6).unwrap().llc, Some(1));
    assert_eq!(topology.pu(6).unwrap().l3, None);
    assert_eq!(topology.pu(0).unwrap().kind, Some(CoreKind::P));
    assert_eq!(topology.pu(7).unwrap().kind, Some(CoreKind::E));
}

#[test]
fn capacities_tell_kinds_apart_where_the_machine_names_none() {
    let dir = fixtures::c().write();
    for pu in 0..16 {
        let capacity = if pu < 4 { "1024" } else { "446" };
        put(dir.path(), &format!("{CPU}/cpu{pu}/cpu_capacity"), capacity);
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(topology.pu(3).unwrap().kind, Some(CoreKind::P));
    assert_eq!(topology.pu(4).unwrap().kind, Some(CoreKind::E));
}

#[test]
fn a_node_that_is_memory_only_is_listed_and_never_placed_on() {
    let made = Made { empty_nodes: vec![2, 16], ..fixtures::b() };
    let topology = Topology::read(made.write().path()).unwrap();
    let ids: Vec<usize> = topology.numa_nodes().iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 1, 2, 16]);
    assert!(topology.numa_nodes()[2].pus.is_empty());
    assert_eq!(topology.numa_nodes()[0].memory_bytes, Some(16 << 30));
    let places =
        PlacementOptions { places: Some("numa_domains".parse().unwrap()), ..Default::default() };
    let places = plan(&topology, &places).unwrap();
    assert!(places.workers.iter().all(|w| w.numa < Some(2)));
}

#[test]
fn package_labels_of_minus_one_do_not_merge_packages() {
    let dir = fixtures::b().write();
    for pu in 0..16 {
        put(dir.path(), &format!("{CPU}/cpu{pu}/topology/physical_package_id"), "-1");
        put(dir.path(), &format!("{CPU}/cpu{pu}/topology/core_id"), "7");
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(topology.packages().len(), 2);
    assert_eq!(topology.packages()[1].os_id, Some(-1));
    assert_eq!(topology.cores().len(), 8);
}

#[test]
fn dies_come_from_their_lists_or_their_ids() {
    let dir = fixtures::b().write();
    for pu in 0..16 {
        put(dir.path(), &format!("{CPU}/cpu{pu}/topology/die_id"), &format!("{}", pu / 2 % 2));
    }
    let topology = Topology::read(dir.path()).unwrap();
    let dies: Vec<_> = (0..8).map(|pu| topology.pu(pu).unwrap().die.unwrap()).collect();
    assert_eq!(dies, [0, 0, 1, 1, 2, 2, 3, 3]);
    for pu in 0..16 {
        put(dir.path(), &format!("{CPU}/cpu{pu}/topology/die_cpus_list"), "0-15");
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert!(topology.pus().iter().all(|pu| pu.die == Some(0)));
}

#[test]
fn a_core_list_that_lacks_its_own_pu_makes_that_pu_a_core() {
    let dir = fixtures::a().write();
    put(dir.path(), &format!("{CPU}/cpu1/topology/core_cpus_list"), "6");
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(cores(&topology), [vec![0], vec![1], vec![2, 3], vec![4, 5], vec![6, 7]]);
    assert!(topology.warnings()[0].contains("PU 1"), "{:?}", topology.warnings());
}

#[test]
fn lists_that_contradict_each_other_still_give_each_pu_one_core() {
    let dir = fixtures::a().write();
    put(dir.path(), &format!("{CPU}/cpu0/topology/core_cpus_list"), "0-2");
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(cores(&topology), [vec![0, 1, 2], vec![3], vec![4, 5], vec![6, 7]]);
    assert!(topology.warnings()[0].contains("contradict"), "{:?}", topology.warnings());
}

#[test]
fn a_machine_that_does_not_name_cores_has_one_per_pu() {
    let dir = fixtures::a().write();
    for pu in 0..8 {
        std::fs::remove_dir_all(dir.path().join(format!("{CPU}/cpu{pu}/topology"))).unwrap();
    }
    let topology = Topology::read(dir.path()).unwrap();
    assert_eq!(topology.cores().len(), 8);
    assert_eq!(topology.warnings().len(), 1);
    assert!(topology.packages().is_empty());
}

#[test]
fn lists_may_end_with_a_nul() {
    let dir = fixtures::a().write();
    put(dir.path(), &format!("{CPU}/online"), "0-7\n\0");
    assert_eq!(Topology::read(dir.path()).unwrap().online().len(), 8);
}

#[test]
fn what_is_no_list_stops_the_reader_with_the_file_named() {
    for (path, text) in [
        ("online", "7-0"),
        ("online", "0-99999999999"),
        ("online", "0-9000"),
        ("cpu2/topology/core_cpus_list", "two"),
        ("cpu2/topology/package_cpus_list", "0-"),
        ("cpu2/cache/index3/shared_cpu_list", "0,,1"),
        ("../node/node0/cpulist", "\u{fffd}"),
        ("../../../../proc/self/status", "Cpus_allowed_list:\tall"),
    ] {
        let dir = fixtures::a().write();
        put(dir.path(), &format!("{CPU}/{path}"), text);
        let error = Topology::read(dir.path()).unwrap_err();
        assert!(matches!(error, TopologyError::List { .. }), "{path}: {error}");
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn nothing_online_or_nothing_allowed_stops_the_reader() {
    let empty = tempfile::tempdir().unwrap();
    let error = Topology::read(empty.path()).unwrap_err();
    assert!(matches!(error, TopologyError::NoPuOnline { .. }), "{error}");
    let error = Topology::read(&empty.path().join("nowhere")).unwrap_err();
    assert!(matches!(error, TopologyError::Root { .. }), "{error}");
    let masked = Made { allowed: Some("8-15".into()), ..fixtures::a() }.write();
    let error = Topology::read(masked.path()).unwrap_err();
    assert!(matches!(error, TopologyError::NoneAllowed { .. }), "{error}");
}

#[test]
fn the_smallest_quota_of_the_group_and_its_ancestors_is_in_force() {
    let dir = fixtures::f().write();
    let root = dir.path();
    let quota = || Topology::read(root).unwrap().limits().quota_cpus;
    assert_eq!(quota(), Some(3.0));
    put(root, "sys/fs/cgroup/job/step/cpu.max", "250000 100000");
    assert_eq!(quota(), Some(2.5));
    put(root, "sys/fs/cgroup/job/cpu.max", "50000 100000");
    assert_eq!(quota(), Some(0.5));
    let half = plan(&Topology::read(root).unwrap(), &PlacementOptions::default()).unwrap();
    assert_eq!(half.workers.len(), 1);
    put(root, "sys/fs/cgroup/job/cpu.max", "");
    put(root, "sys/fs/cgroup/job/step/cpu.max", "");
    assert_eq!(quota(), None);
    put(root, "sys/fs/cgroup/job/cpu.max", "lots");
    let topology = Topology::read(root).unwrap();
    assert_eq!(topology.limits().quota_cpus, None);
    assert!(topology.warnings()[0].contains("cpu.max"));
}

#[test]
fn the_first_version_of_cgroups_has_quotas_and_cpusets_too() {
    let dir = fixtures::b().write();
    let root = dir.path();
    put(root, "proc/self/cgroup", "4:cpu,cpuacct:/docker/x/inner\n3:cpuset:/docker/x\n0::/");
    put(
        root,
        "proc/self/mountinfo",
        "31 24 0:27 /docker/x /sys/fs/cgroup/cpu\\040acct rw - cgroup cgroup rw,cpu,cpuacct\n\
         32 24 0:28 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset",
    );
    put(root, "sys/fs/cgroup/cpu acct/cpu.cfs_quota_us", "150000");
    put(root, "sys/fs/cgroup/cpu acct/cpu.cfs_period_us", "100000");
    put(root, "sys/fs/cgroup/cpu acct/inner/cpu.cfs_quota_us", "-1");
    put(root, "sys/fs/cgroup/cpuset/docker/cpuset.effective_cpus", "0-5");
    let limits = Topology::read(root).unwrap().limits().clone();
    assert_eq!(limits.quota_cpus, Some(1.5));
    assert_eq!(limits.cpuset.unwrap().to_string(), "0-5");
}

#[test]
fn a_container_whose_group_lies_outside_reads_what_it_can() {
    let dir = fixtures::b().write();
    put(dir.path(), "proc/self/cgroup", "0::/../../elsewhere");
    put(dir.path(), "proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    put(dir.path(), "sys/fs/cgroup/cpu.max", "200000 100000");
    put(dir.path(), "elsewhere/cpu.max", "100000 100000");
    assert_eq!(Topology::read(dir.path()).unwrap().limits().quota_cpus, Some(2.0));
}

#[test]
fn links_out_of_a_snapshot_and_pipes_in_it_are_no_files() {
    let dir = fixtures::a().write();
    let outside = fixtures::b().write();
    let online = dir.path().join(CPU).join("online");
    std::fs::remove_file(&online).unwrap();
    std::os::unix::fs::symlink(outside.path().join(CPU).join("online"), &online).unwrap();
    // A pipe without a writer: whoever opens it naively waits for ever.
    let kernel_max = dir.path().join(CPU).join("kernel_max");
    std::fs::remove_file(&kernel_max).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &kernel_max,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert_eq!(Topology::read(dir.path()).unwrap().online().len(), 8);
}

#[test]
fn a_synthetic_machine_may_have_several_memories_and_bare_numbers() {
    let text = "pack:2 [numa(memory=1GB)] [numa(memory=2GB)] core:2 pu:2";
    let topology = Topology::synthetic(text).unwrap();
    let nodes: Vec<_> = topology
        .numa_nodes()
        .iter()
        .map(|n| (n.id, n.pus.len(), n.memory_bytes.unwrap()))
        .collect();
    let (small, large) = (1_000_000_000, 2_000_000_000);
    assert_eq!(nodes, [(0, 4, small), (1, 0, large), (2, 4, small), (3, 0, large)]);
    assert_eq!(Topology::synthetic("core:3").unwrap().usable_cores().len(), 3);
    assert_eq!(Topology::synthetic("4").unwrap().usable_cores().len(), 4);
    for bad in [
        "",
        "core",
        "core:0",
        "pu:2 core:2",
        "core:2 core:2",
        "2 core:2",
        "package:2 2 2",
        "[core]",
        "1 1 1 1 1 1 1",
        "core:70000",
        "core:4096 pu:4096",
        "pu:2(indexes=0,0)",
        "pu:2(indexes=0",
        "x:2",
        "l9:2",
    ] {
        assert!(Topology::synthetic(bad).is_err(), "{bad}");
    }
}
