//! The machine drawn as text for a terminal.
//!
//! ```text
//! package 0, NUMA node 0, 16 GiB, L3 0, 32 MiB
//!   [0 8] [1 9] [2:w0 10] [3:w1 11]
//! ```
//! A bracket is a core, a number a PU, `(5)` a PU that is not allowed, `w1` the worker that the
//! plan puts there. ASCII only, no colours: it goes into batch logs.
#![forbid(unsafe_code)]

use super::tree::{self, Tree};
use super::{Core, Topology};
use crate::placement::Plan;

/// Columns of a terminal that everybody has.
const WIDTH: usize = 80;

impl Topology {
    /// The machine as text, and where the plan puts workers, if there is one.
    #[must_use]
    pub fn draw(&self, plan: Option<&Plan>) -> String {
        let mut out = format!("{}\n{}\n\n", tree::summary(self), tree::ours(self));
        draw(&mut out, self, plan, &tree::build(self), 0);
        let memory_only: Vec<String> = (self.numa_nodes.iter())
            .filter(|node| node.pus.is_empty())
            .map(|node| match node.memory_bytes {
                Some(bytes) => format!("{} ({})", node.id, tree::bytes(bytes)),
                None => node.id.to_string(),
            })
            .collect();
        if !memory_only.is_empty() {
            out += &format!("memory only: NUMA nodes {}\n", memory_only.join(", "));
        }
        let offline: super::PuSet =
            self.pus.iter().filter(|pu| !pu.online).map(|pu| pu.id).collect();
        if !offline.is_empty() {
            out += &format!("offline: PUs {offline}\n");
        }
        out += &caches(self);
        let mut legend = String::from("\n[..] core, number PU");
        if self.cores.iter().any(|core| core.allowed.len() < core.pus.len()) {
            legend += ", (..) not allowed";
        }
        if let Some(plan) = plan {
            legend += ", w worker";
            out += &format!("{legend}\n\n{}", placement(plan));
        } else {
            out += &format!("{legend}\n");
        }
        let said = plan.map(|plan| plan.warnings.as_slice()).unwrap_or_default();
        for warning in self.warnings.iter().chain(said) {
            out += &format!("warning: {warning}\n");
        }
        out
    }
}

fn draw(
    out: &mut String,
    topology: &Topology,
    plan: Option<&Plan>,
    trees: &[Tree<'_>],
    depth: usize,
) {
    let margin = "  ".repeat(depth);
    let mut line = margin.clone();
    let widths = trees.iter().map(|tree| match tree {
        Tree::Core(core) => cell(topology, plan, core).len(),
        Tree::Group { .. } => 0,
    });
    let widest = widths.max().unwrap_or(0);
    for tree in trees {
        match tree {
            Tree::Group { labels, children } => {
                *out += &format!("{margin}{}\n", labels.join(", "));
                draw(out, topology, plan, children, depth + 1);
            }
            Tree::Core(core) => {
                let cell = format!("{:widest$}", cell(topology, plan, core));
                if line.len() > margin.len() && line.len() + cell.len() > WIDTH {
                    *out += &format!("{}\n", line.trim_end());
                    line.clone_from(&margin);
                }
                line += &cell;
                line.push(' ');
            }
        }
    }
    if line.len() > margin.len() {
        *out += &format!("{}\n", line.trim_end());
    }
}

/// `[2:w0 (10)]`, with the kind in front on hybrid machines.
fn cell(topology: &Topology, plan: Option<&Plan>, core: &Core) -> String {
    let pu = |id: &usize| {
        let allowed = topology.pu(*id).is_some_and(|pu| pu.allowed);
        let number = if allowed { id.to_string() } else { format!("({id})") };
        match tree::workers_of(plan, *id) {
            Some(workers) => format!("{number}:w{workers}"),
            None => number,
        }
    };
    let kind = core.kind.map_or(String::new(), |kind| kind.to_string());
    format!("{kind}[{}]", core.pus.iter().map(pu).collect::<Vec<_>>().join(" "))
}

/// The sizes of the caches, a line: `L1 48 KiB per core, L2 2 MiB per core`.
fn caches(topology: &Topology) -> String {
    let mut levels: Vec<u32> = topology.caches.iter().map(|cache| cache.level).collect();
    levels.dedup();
    let lines: Vec<String> = levels
        .into_iter()
        .filter_map(|level| {
            let all = || topology.caches.iter().filter(move |cache| cache.level == level);
            let mut sizes: Vec<u64> = all().filter_map(|cache| cache.size_bytes).collect();
            sizes.sort_unstable();
            sizes.dedup();
            let sizes: Vec<String> = sizes.into_iter().map(tree::bytes).collect();
            (!sizes.is_empty())
                .then(|| format!("{} x L{level} of {}", all().count(), sizes.join(" or ")))
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("caches: {}\n", lines.join(", ")) }
}

/// Who is where, and why.
fn placement(plan: &Plan) -> String {
    let mut out = format!("{}\n", plan.why);
    // A worker on one PU is in the drawing already.
    for worker in plan.workers.iter().filter(|worker| worker.pus.len() > 1) {
        let pus: super::PuSet = worker.pus.iter().copied().collect();
        out += &format!("worker {} on PUs {pus}\n", worker.index);
    }
    out
}
