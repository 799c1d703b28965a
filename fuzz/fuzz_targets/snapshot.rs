//! A machine's snapshot with any of its files broken: a machine that makes sense, or an error.
//!
//! The input is a row of blows: which file, what happens to it and how many bytes follow, the
//! bytes. The files are written anew each time, since what a blow left is not for the next input.
#![no_main]

use std::fs;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use pinpool::placement::{Bind, PlacementOptions, plan};
use pinpool::topology::{PuSet, Topology};

const CPU: &str = "sys/devices/system/cpu";

/// Four PUs on two cores and two nodes, one more offline, a mask and a quota.
fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = [
        ("sys/devices/system/cpu/online", "0-3"),
        ("sys/devices/system/cpu/present", "0-4"),
        ("sys/devices/system/cpu/possible", "0-255"),
        ("sys/devices/system/cpu/kernel_max", "8191"),
        ("sys/devices/system/cpu/cpu4/online", "0"),
        ("sys/devices/cpu_core/cpus", "0,2"),
        ("sys/devices/cpu_atom/cpus", "1,3"),
        ("sys/devices/system/node/node0/cpulist", "0,2"),
        ("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 16777216 kB"),
        ("sys/devices/system/node/node8/cpulist", "1,3"),
        ("sys/devices/system/node/node9/cpulist", ""),
        ("proc/self/status", "Name:\tmade\nCpus_allowed_list:\t0,2-3"),
        ("proc/self/cgroup", "0::/job/step"),
        ("proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"),
        ("sys/fs/cgroup/job/cpu.max", "150000 100000"),
        ("sys/fs/cgroup/job/step/cpu.max", "max 100000"),
        ("sys/fs/cgroup/job/step/cpuset.cpus.effective", "0-3"),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .to_vec();
    for pu in 0..4 {
        let siblings = if pu % 2 == 0 { "0,2" } else { "1,3" };
        let of = [
            ("topology/core_cpus_list", siblings),
            ("topology/package_cpus_list", "0-3"),
            ("topology/die_id", "0"),
            ("topology/core_id", "7"),
            ("topology/physical_package_id", "-1"),
            ("cache/index0/level", "3"),
            ("cache/index0/type", "Unified"),
            ("cache/index0/size", "32768K"),
            ("cache/index0/shared_cpu_list", siblings),
            ("cpu_capacity", "1024"),
        ];
        files.extend(of.map(|(name, text)| (format!("{CPU}/cpu{pu}/{name}"), text.to_owned())));
    }
    files
}

fn write(root: &Path, bytes: &[u8]) {
    let files = files();
    for (path, text) in &files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("it is below the root")).expect("a directory");
        fs::write(path, format!("{text}\n")).expect("a file");
    }
    let mut rest = bytes;
    while let [which, how, tail @ ..] = rest {
        let path = root.join(&files[usize::from(*which) % files.len()].0);
        let (content, next) = tail.split_at(usize::from(how & 63).min(tail.len()));
        rest = next;
        // What an earlier blow turned into a directory stays one.
        if fs::remove_file(&path).is_err() {
            continue;
        }
        match how >> 6 {
            0 | 1 => fs::write(&path, content).expect("a file"),
            2 if content.is_empty() => {}
            2 => fs::create_dir(&path).expect("a directory"),
            _ => std::os::unix::fs::symlink(&path, &path).expect("a link"),
        }
    }
}

fn check(topology: &Topology) {
    let (online, allowed) = (topology.online(), &topology.limits().allowed);
    assert!(!allowed.is_empty() && allowed.difference(&online).is_empty());
    let in_cores: Vec<usize> = topology.cores().iter().flat_map(|core| core.pus.clone()).collect();
    assert_eq!(in_cores.len(), online.len(), "each online PU is in one core");
    assert_eq!(in_cores.into_iter().collect::<PuSet>(), online);
    for bind in [Bind::None, Bind::Close, Bind::Spread, Bind::Compact, Bind::Scatter] {
        let options = PlacementOptions { bind: Some(bind), ..Default::default() };
        let Ok(plan) = plan(topology, &options) else { continue };
        assert!(plan.workers.iter().all(|w| w.pus.iter().all(|pu| allowed.contains(*pu))));
        assert!(topology.to_json(Some(&plan)).trim_end().ends_with('}'));
        assert!(!topology.draw(Some(&plan)).is_empty());
    }
    assert!(topology.svg(None).ends_with("</svg>\n"));
}

fuzz_target!(|bytes: &[u8]| {
    let name = format!("pinpool-fuzz-snapshot-{}", std::process::id());
    let root: PathBuf = std::env::temp_dir().join(name);
    write(&root, bytes);
    if let Ok(topology) = Topology::read(&root) {
        check(&topology);
    }
    fs::remove_dir_all(&root).expect("the directory is ours");
});
