//! The machine as a tree to be drawn: package, die, NUMA node and last level cache around cores.
//!
//! Drawing only. The tree shows all online cores in logical order; a level whose groups are the
//! same as those of the level above shares its line. Used by the text and by the SVG.
#![forbid(unsafe_code)]

use super::order::{self, GroupOf, first};
use super::{Core, PuSet, Topology};
use crate::placement::Plan;

/// A group of cores with what is inside, or a core.
#[derive(Debug)]
pub(super) enum Tree<'t> {
    Group { labels: Vec<String>, children: Vec<Tree<'t>> },
    Core(&'t Core),
}

/// A level of the drawing: how to group, and how to call a group.
struct Level {
    what: What,
    group_of: GroupOf,
    label: fn(&Topology, Option<usize>) -> String,
    groups: usize,
}

#[derive(PartialEq, Eq)]
enum What {
    Package,
    Die,
    Node,
    Cache,
}

/// The machine from its left edge.
pub(super) fn build(topology: &Topology) -> Vec<Tree<'_>> {
    let cores = order::logical(topology, topology.cores().iter());
    let mut levels = vec![
        Level { what: What::Package, group_of: |pu| pu.package, label: package, groups: 0 },
        Level { what: What::Die, group_of: |pu| pu.die, label: die, groups: 0 },
        Level { what: What::Node, group_of: |pu| pu.numa, label: node, groups: 0 },
        Level { what: What::Cache, group_of: |pu| pu.llc, label: cache, groups: 0 },
    ];
    let online = || topology.pus().iter().filter(|pu| pu.online);
    levels.retain(|level| online().any(|pu| (level.group_of)(pu).is_some()));
    for level in &mut levels {
        level.groups = order::level(topology, &cores, level.group_of).groups;
    }
    // A die that is the whole package, and a cache that one core has to itself, say nothing new.
    let packages = topology.packages().len();
    levels.retain(|level| match level.what {
        What::Die => level.groups > packages,
        What::Cache => level.groups < cores.len(),
        What::Package | What::Node => true,
    });
    levels.sort_by_key(|level| level.groups);
    grouped(topology, &cores, &levels)
}

fn grouped<'t>(topology: &'t Topology, cores: &[&'t Core], levels: &[Level]) -> Vec<Tree<'t>> {
    let Some((level, deeper)) = levels.split_first() else {
        return cores.iter().map(|core| Tree::Core(core)).collect();
    };
    let group_of = |core: &&Core| topology.pu(first(core)).and_then(level.group_of);
    cores
        .chunk_by(|a, b| group_of(a) == group_of(b))
        .map(|run| {
            let mut labels = vec![(level.label)(topology, group_of(&run[0]))];
            let mut children = grouped(topology, run, deeper);
            // A group with one group inside shares its line.
            if let [Tree::Group { labels: inner, children: grandchildren }] = &mut children[..] {
                labels.append(inner);
                children = std::mem::take(grandchildren);
            }
            Tree::Group { labels, children }
        })
        .collect()
}

fn package(topology: &Topology, id: Option<usize>) -> String {
    let Some(id) = id else { return "no package".to_string() };
    match topology.packages().get(id).and_then(|package| package.os_id) {
        Some(os_id) if usize::try_from(os_id) != Ok(id) => format!("package {id} (P#{os_id})"),
        _ => format!("package {id}"),
    }
}

fn die(_: &Topology, id: Option<usize>) -> String {
    id.map_or("no die".to_string(), |id| format!("die {id}"))
}

fn node(topology: &Topology, id: Option<usize>) -> String {
    let Some(id) = id else { return "no NUMA node".to_string() };
    let memory = topology.numa_nodes().iter().find(|node| node.id == id);
    let memory = memory.and_then(|node| node.memory_bytes);
    format!("NUMA node {id}{}", memory.map_or(String::new(), |m| format!(", {}", bytes(m))))
}

/// Our numbers of last level caches mix levels; the drawing names the level and its own number.
fn cache(topology: &Topology, id: Option<usize>) -> String {
    let Some(id) = id else { return "no shared cache".to_string() };
    let member = topology.pus().iter().find(|pu| pu.llc == Some(id)).map(|pu| pu.id);
    let found =
        topology.caches().iter().rev().find(|c| member.is_some_and(|pu| c.pus.contains(&pu)));
    let Some(found) = found else { return format!("cache {id}") };
    let size = found.size_bytes.map_or(String::new(), |size| format!(", {}", bytes(size)));
    format!("L{} {}{size}", found.level, found.id)
}

/// `32 MiB`
pub(super) fn bytes(bytes: u64) -> String {
    let (mut unit, mut left) = (0, bytes as f64);
    while left >= 1024.0 && unit < 4 {
        left /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(left < 10.0 && left.fract() != 0.0);
    format!("{left:.digits$} {}", ["B", "KiB", "MiB", "GiB", "TiB"][unit])
}

/// What there is, in one line.
pub(super) fn summary(topology: &Topology) -> String {
    let online = topology.online().len();
    let widest = topology.cores().iter().map(|core| core.pus.len()).max().unwrap_or(0);
    let dies: PuSet = topology.pus().iter().filter_map(|pu| pu.die).collect();
    let mut parts = vec![count(topology.packages().len(), "package")];
    if dies.len() > topology.packages().len() {
        parts.push(count(dies.len(), "die"));
    }
    parts.push(count(topology.numa_nodes().len(), "NUMA node"));
    parts.push(count(topology.cores().len(), "core"));
    let smt = if widest > 1 { format!(", SMT {widest}") } else { String::new() };
    parts.push(format!("{} online{smt}", count(online, "PU")));
    for kind in [crate::placement::CoreKind::P, crate::placement::CoreKind::E] {
        let of_kind = topology.cores().iter().filter(|core| core.kind == Some(kind)).count();
        if of_kind > 0 {
            parts.push(count(of_kind, &format!("{kind}-core")));
        }
    }
    parts.retain(|part| !part.starts_with("0 "));
    parts.join(", ")
}

/// What of it is ours, in one line.
pub(super) fn ours(topology: &Topology) -> String {
    let limits = topology.limits();
    let mut line =
        format!("allowed: {} on {}", limits.allowed, count(topology.usable_cores().len(), "core"));
    if let Some(quota) = limits.quota_cpus {
        line += &format!("; quota: {quota} CPUs");
    }
    if let Some(set) = &limits.cpuset {
        line += &format!("; cpuset: {set}");
    }
    line
}

/// The workers that stand on each PU, by the PU that was chosen for each.
pub(super) fn workers_of(plan: Option<&Plan>, pu: usize) -> Option<PuSet> {
    let workers = plan.into_iter().flat_map(|plan| &plan.workers);
    let here: PuSet = workers.filter(|w| w.pu == Some(pu)).map(|w| w.index).collect();
    (!here.is_empty()).then_some(here)
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
