//! The NUMA nodes whose memory this process may use, and how much of it is free.
#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;

use crate::topology::PuSet;

/// The nodes with memory that the cpuset allows; `None` on a kernel without NUMA.
pub(crate) fn usable(root: &Path) -> Option<PuSet> {
    let nodes = root.join("sys/devices/system/node");
    let list = |text: Option<String>| PuSet::parse(text?.trim().as_bytes()).ok();
    let with_memory = list(fs::read_to_string(nodes.join("has_memory")).ok())
        .or_else(|| list(fs::read_to_string(nodes.join("online")).ok()))?;
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Mems_allowed_list:"));
    match list(allowed.map(str::to_owned)) {
        Some(allowed) => Some(with_memory.intersection(&allowed)),
        None => Some(with_memory),
    }
}

/// Bytes of a node that are free or hold what can be dropped; an estimate, as `MemAvailable` is.
/// Past it a bound page meets the out-of-memory killer instead of an error.
pub(crate) fn free_bytes(root: &Path, node: usize) -> Option<u64> {
    let path = root.join(format!("sys/devices/system/node/node{node}/meminfo"));
    available(&fs::read_to_string(path).ok()?)
}

/// From lines such as `Node 0 MemFree:  123 kB`.
fn available(meminfo: &str) -> Option<u64> {
    let field = |name: &str| {
        let mut lines = meminfo.lines().map(str::split_ascii_whitespace);
        lines.find_map(|words| {
            let mut words = words.skip(2);
            (words.next()? == name).then(|| words.next()?.parse::<u64>().ok()?.checked_mul(1024))?
        })
    };
    let droppable = ["Active(file):", "Inactive(file):", "SReclaimable:"];
    let droppable = droppable.iter().filter_map(|name| field(name));
    Some(droppable.fold(field("MemFree:")?, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::tree;

    #[test]
    fn nodes_are_those_with_memory_that_the_cpuset_allows() {
        let root = tree(&[
            ("sys/devices/system/node/has_memory", "0-3\n"),
            ("proc/self/status", "Name: x\nMems_allowed:\t0000000e\nMems_allowed_list:\t1-3,8\n"),
        ]);
        assert_eq!(usable(root.path()).unwrap().to_string(), "1-3");
        assert_eq!(usable(Path::new("/nowhere")), None);
        let root = tree(&[("sys/devices/system/node/online", "0,2\n")]);
        assert_eq!(usable(root.path()).unwrap().to_string(), "0,2");
    }

    #[test]
    fn what_can_be_dropped_counts_as_free() {
        let text = "Node 0 MemTotal: 100 kB\nNode 0 MemFree:   10 kB\nNode 0 Active(file):  3 kB\n\
                    Node 0 Inactive(file): 4 kB\nNode 0 Dirty: 9 kB\n";
        assert_eq!(available(text), Some(17 * 1024));
        assert_eq!(available("Node 0 MemTotal: 100 kB\n"), None);
        assert_eq!(available("Node 0 MemFree: 99999999999999999999 kB\n"), None);
        assert_eq!(available("MemFree:"), None);
    }
}
