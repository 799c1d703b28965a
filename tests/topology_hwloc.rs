//! Agreement with hwloc: on this machine, and on made machines that it reads by HWLOC_FSROOT.
//!
//! Run with `cargo test --test topology_hwloc -- --ignored` where `lstopo-no-graphics` is installed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use fixtures::{Made, MadeCore};
use pinpool::topology::{PuSet, Topology};

/// What both say: the sets of each type of object, cores in logical order.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    cores: Vec<PuSet>,
    packages: BTreeSet<String>,
    nodes: BTreeSet<(usize, String)>,
    l3: BTreeSet<String>,
}

fn ours(topology: &Topology) -> Facts {
    let set = |pus: &[usize]| pus.iter().copied().collect::<PuSet>();
    let caches = topology.caches().iter().filter(|cache| cache.level == 3);
    Facts {
        cores: topology.usable_cores().iter().map(|core| set(&core.pus)).collect(),
        packages: topology.packages().iter().map(|p| set(&p.pus).to_string()).collect(),
        nodes: topology.numa_nodes().iter().map(|n| (n.id, set(&n.pus).to_string())).collect(),
        l3: caches.map(|cache| set(&cache.pus).to_string()).collect(),
    }
}

/// Where hwloc looks.
enum From<'p> {
    Here,
    Files(&'p Path),
    Synthetic(&'p str),
}

fn hwloc(from: &From<'_>) -> Facts {
    let mut command = Command::new("lstopo-no-graphics");
    command.args(["--of", "xml", "--no-io"]);
    command.env_remove("HWLOC_XMLFILE").env_remove("HWLOC_SYNTHETIC");
    match from {
        From::Here => {}
        From::Files(root) => {
            command.env("HWLOC_FSROOT", root).env("HWLOC_COMPONENTS", "linux,stop");
            command.env("HWLOC_THISSYSTEM", "0");
        }
        From::Synthetic(text) => {
            command.args(["-i", text]);
        }
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let xml = String::from_utf8(done.stdout).unwrap();
    let mut facts = Facts {
        cores: Vec::new(),
        packages: BTreeSet::new(),
        nodes: BTreeSet::new(),
        l3: BTreeSet::new(),
    };
    for object in xml.lines().filter(|line| line.trim_start().starts_with("<object ")) {
        let Some(cpuset) = attribute(object, "cpuset") else { continue };
        let set = mask(cpuset);
        match attribute(object, "type").unwrap() {
            "Core" => facts.cores.push(set),
            "Package" => {
                facts.packages.insert(set.to_string());
            }
            "L3Cache" => {
                facts.l3.insert(set.to_string());
            }
            "NUMANode" => {
                let id = attribute(object, "os_index").unwrap().parse().unwrap();
                facts.nodes.insert((id, set.to_string()));
            }
            _ => {}
        }
    }
    facts
}

fn attribute<'x>(object: &'x str, name: &str) -> Option<&'x str> {
    let (_, rest) = object.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// `0x00000001,0x000000ff`: words of 32 bits, the highest first.
fn mask(text: &str) -> PuSet {
    let words = text.rsplit(',').enumerate();
    words
        .flat_map(|(at, word)| {
            let digits = word.trim_start_matches("0x");
            let bits = if digits.is_empty() { 0 } else { u64::from_str_radix(digits, 16).unwrap() };
            (0..32).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| at * 32 + bit)
        })
        .collect()
}

/// hwloc reads the masks beside the lists; writes one for each list.
fn write_masks(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            write_masks(&path);
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let Some(mask_name) = (match name.as_str() {
            "shared_cpu_list" => Some("shared_cpu_map"),
            "cpulist" => Some("cpumap"),
            name => name.strip_suffix("_list"),
        }) else {
            continue;
        };
        let set = PuSet::parse(&std::fs::read(&path).unwrap()).unwrap();
        let words: Vec<String> = (0..8)
            .rev()
            .map(|at| set.iter().filter(|pu| pu / 32 == at).fold(0u32, |w, pu| w | 1 << (pu % 32)))
            .map(|word| format!("{word:08x}"))
            .collect();
        std::fs::write(dir.join(mask_name), words.join(",") + "\n").unwrap();
    }
}

/// Small steps of a linear congruence: enough to shuffle, the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// A nested machine with shuffled PU numbers, some of them offline.
fn random(dice: &mut Dice) -> Made {
    let (packages, nodes) = (1 + dice.below(3), 1 + dice.below(2));
    let (caches, cores, smt) = (1 + dice.below(3), 1 + dice.below(4), 1 + dice.below(3));
    let total = packages * nodes * caches * cores * smt;
    let mut numbers: Vec<usize> = (0..total).collect();
    for at in (1..total).rev() {
        numbers.swap(at, dice.below(at + 1));
    }
    let mut made = Made::default();
    for (core, pus) in numbers.chunks(smt).enumerate() {
        let llc = core / cores;
        let node = llc / caches;
        made.cores.push(MadeCore {
            pus: pus.to_vec(),
            package: node / nodes,
            node,
            llc: Some((3, llc)),
            kind: None,
        });
    }
    // hwloc looks at cpu0 to learn what the kernel offers, so that one stays.
    for _ in 0..dice.below(1 + total / 4) {
        made.offline.extend(Some(dice.below(total)).filter(|pu| *pu != 0));
    }
    made
}

#[test]
#[ignore = "needs hwloc's lstopo-no-graphics"]
fn this_machine_is_what_hwloc_says() {
    assert_eq!(ours(&Topology::current().unwrap()), hwloc(&From::Here));
}

#[test]
#[ignore = "needs hwloc's lstopo-no-graphics"]
fn made_machines_are_what_hwloc_says() {
    let mut dice = Dice(7);
    let worked = [fixtures::a(), fixtures::b(), fixtures::c(), fixtures::d()];
    for (number, made) in worked.into_iter().chain((0..40).map(|_| random(&mut dice))).enumerate() {
        let dir = made.write();
        write_masks(&dir.path().join("sys"));
        let topology = Topology::read(dir.path()).unwrap();
        assert_eq!(ours(&topology), hwloc(&From::Files(dir.path())), "machine {number}");
    }
}

#[test]
#[ignore = "needs hwloc's lstopo-no-graphics"]
fn synthetic_machines_are_what_hwloc_builds() {
    for text in [
        "package:2 core:64 pu:2",
        "package:2 [numa] l3:4 core:2 pu:2",
        "pack:2 numa:2 l3:2(size=32MiB) l2:2 core:2 pu:1",
        "package:1 die:2 numa:1 l3:2 core:3 1",
        "group:2 numa:2 core:2 pu:2(indexes=0,8,1,9,2,10,3,11,4,12,5,13,6,14,7,15)",
        "l3:2 l1i:1 l1d:1 core:2 pu:2",
        "package:2 numa:2(indexes=3,0,2,1) core:2 pu:2",
        "2 4 2 2",
        "2 2 2 2 2 2",
        "numa:2 package:2 l3:2 core:2 pu:1",
    ] {
        let topology = Topology::synthetic(text).unwrap();
        assert_eq!(ours(&topology), hwloc(&From::Synthetic(text)), "{text}");
    }
}
