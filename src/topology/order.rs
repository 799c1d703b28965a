//! The logical order: cores as a walk through the machine meets them.
//!
//! Usable cores are grouped by package, by NUMA node and by last level cache. Groups of a level
//! rank by their lowest allowed PU, levels go from few groups to many, and cores are sorted by
//! (rank at each level, first PU). On machines whose levels nest this is hwloc's logical order;
//! the rule stays defined where they do not. All policies count in it, never by raw PU number.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{Core, Pu, Topology};

/// Where a core stands: the rank of its group at each level, coarsest first, then its first PU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Ranks at the levels, coarsest first; 0 for a level that the machine lacks.
    pub(crate) levels: [usize; 3],
    /// The first PU of the core.
    pub(crate) first_pu: usize,
}

/// The ranks of these cores, in the order they are given. Cores without an allowed PU count by
/// their first online one, which matters only for drawing.
pub(crate) fn ranks(topology: &Topology, cores: &[&Core]) -> Vec<Rank> {
    let by: [GroupOf; 3] = [|pu| pu.package, |pu| pu.numa, |pu| pu.llc];
    let mut levels: Vec<Level> =
        by.iter().map(|group_of| level(topology, cores, *group_of)).collect();
    // Stable, so that ties stay in the order package, NUMA node, cache.
    levels.sort_by_key(|level| level.groups);
    (cores.iter().enumerate())
        .map(|(at, core)| Rank {
            levels: [levels[0].ranks[at], levels[1].ranks[at], levels[2].ranks[at]],
            first_pu: first(core),
        })
        .collect()
}

/// Which group of a level a PU is in.
pub(super) type GroupOf = fn(&Pu) -> Option<usize>;

/// One level: how many groups, and the rank of each core's group.
pub(super) struct Level {
    pub(super) groups: usize,
    pub(super) ranks: Vec<usize>,
}

/// Groups cores at one level. Cores without a group form one, too.
pub(super) fn level(topology: &Topology, cores: &[&Core], group_of: GroupOf) -> Level {
    let groups: Vec<Option<usize>> =
        cores.iter().map(|core| topology.pu(first(core)).and_then(group_of)).collect();
    let mut lowest: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    for (core, group) in cores.iter().zip(&groups) {
        let low = lowest.entry(*group).or_insert(usize::MAX);
        *low = (*low).min(first(core));
    }
    let mut order: Vec<(usize, Option<usize>)> =
        lowest.into_iter().map(|(group, low)| (low, group)).collect();
    order.sort_unstable();
    let rank: BTreeMap<Option<usize>, usize> =
        order.iter().enumerate().map(|(rank, &(_, group))| (group, rank)).collect();
    Level { groups: order.len(), ranks: groups.iter().map(|group| rank[group]).collect() }
}

/// The PU that stands for a core.
pub(super) fn first(core: &Core) -> usize {
    core.first_pu.or(core.pus.first().copied()).unwrap_or(usize::MAX)
}

/// These cores in logical order.
pub(super) fn logical<'t>(
    topology: &'t Topology,
    cores: impl Iterator<Item = &'t Core>,
) -> Vec<&'t Core> {
    let cores: Vec<&Core> = cores.collect();
    let ranks = ranks(topology, &cores);
    let mut order: Vec<(Rank, &Core)> = ranks.into_iter().zip(cores).collect();
    order.sort_unstable_by_key(|(rank, core)| (*rank, core.id));
    order.into_iter().map(|(_, core)| core).collect()
}
