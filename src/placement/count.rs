//! How many workers: the default and its reasons, and what speaks against a number.
//!
//! First that applies: the number asked for; else one per usable core (or per place, where a
//! place is a PU), cut by the cgroup quota and by what the batch system gave. A number that was
//! asked for is obeyed above every limit, with a warning. Called by `policy.rs` alone.
#![forbid(unsafe_code)]

use super::places::{Place, Usable};
use super::{Bind, PlacementOptions, Places, Smt, WORKERS_LIMIT};
use crate::topology::Topology;

/// The number of workers when none is named, and how it came about.
pub(super) struct DefaultWorkers {
    pub(super) workers: usize,
    pub(super) why: String,
}

pub(super) fn default_workers(
    topology: &Topology,
    options: &PlacementOptions,
    bind: &Bind,
    cores: &[Usable<'_>],
    slots: &[Place],
) -> DefaultWorkers {
    let (mut workers, mut why) = match (bind, &options.places) {
        (Bind::List(_), _) => (slots.len(), of(slots.len(), "entry of the list")),
        (Bind::Close | Bind::Spread | Bind::Primary, Some(places)) if one_each(places) => {
            (slots.len(), of(slots.len(), "place"))
        }
        _ => (cores.len(), of(cores.len(), "usable core")),
    };
    if matches!(bind, Bind::Compact | Bind::Scatter) && slots.len() < workers {
        (workers, why) = (slots.len(), of(slots.len(), "place"));
    }
    if matches!(bind, Bind::List(_)) {
        why = format!("{} in the list", slots.len());
    }
    if let Some(quota) = topology.limits().quota_cpus {
        // Saturating, and a quota is positive.
        let floor = (quota.floor() as usize).max(1);
        if floor < workers {
            (workers, why) = (floor, format!("a cgroup quota of {quota} CPUs cuts {why}"));
        }
    }
    if let Some(cpus) = slurm_cut(topology, options)
        && cpus < workers
    {
        (workers, why) = (cpus, format!("SLURM_CPUS_PER_TASK={cpus} cuts {why}"));
    }
    if workers > WORKERS_LIMIT {
        (workers, why) = (WORKERS_LIMIT, format!("the limit of a pool cuts {why}"));
    }
    DefaultWorkers { workers, why }
}

/// Places that take one worker each; larger ones take one per core.
fn one_each(places: &Places) -> bool {
    match places {
        Places::Threads | Places::Cores | Places::Explicit(_) => true,
        Places::LlCaches | Places::NumaDomains | Places::Sockets => false,
        Places::First { of, .. } => one_each(of),
    }
}

/// What Slurm gave the task, where it is less than the mask lets it use.
fn slurm_cut(topology: &Topology, options: &PlacementOptions) -> Option<usize> {
    options.slurm_cpus.filter(|cpus| *cpus > 0 && *cpus < topology.limits().allowed.len())
}

/// An explicit number is obeyed, above every limit, with a warning.
pub(super) fn over_limits(
    topology: &Topology,
    options: &PlacementOptions,
    count: usize,
    warnings: &mut Vec<String>,
) {
    if let Some(quota) = topology.limits().quota_cpus
        && count as f64 > quota
    {
        warnings.push(format!(
            "{} above the cgroup quota of {quota} CPUs: the kernel will stop them for part of each period",
            of(count, "worker")
        ));
    }
    if let Some(cpus) = slurm_cut(topology, options)
        && count > cpus
    {
        warnings.push(format!(
            "{} on SLURM_CPUS_PER_TASK={cpus}: others may have been promised the same PUs",
            of(count, "worker")
        ));
    }
}

/// What `mpirun` left of the node, where that is less than this rank's share of it.
pub(super) fn bound_by_launcher(
    topology: &Topology,
    options: &PlacementOptions,
    warnings: &mut Vec<String>,
) {
    let Some(ranks) = options.ranks_on_node else { return };
    let (allowed, online) = (topology.limits().allowed.len(), topology.online());
    let node = topology
        .limits()
        .cpuset
        .as_ref()
        .map_or(online.len(), |set| online.intersection(set).len());
    let cores = topology.cores().len() / ranks;
    if allowed * ranks < node && cores > 0 {
        warnings.push(format!(
            "{allowed} of {} allowed; started by mpirun, which binds a rank to one core: \
             add --bind-to none or --map-by ppr:{ranks}:node:PE={cores}",
            of(node, "CPU")
        ));
    }
}

/// Why there are no more places.
pub(super) fn reason(
    topology: &Topology,
    options: &PlacementOptions,
    bind: &Bind,
    cores: &[Usable<'_>],
) -> String {
    if let Bind::List(_) = bind {
        return "the list is as long as it is".to_string();
    }
    let mut reasons = Vec::new();
    let offline = topology.pus().iter().filter(|pu| !pu.online).count();
    if offline > 0 {
        reasons.push(format!("{} offline", of(offline, "PU")));
    }
    let masked = topology.online().len() - topology.limits().allowed.len();
    if masked > 0 {
        reasons.push(format!("{} outside the mask", of(masked, "online PU")));
    }
    if let Some(kind) = options.kind {
        reasons.push(format!("--kind {kind}"));
    }
    let siblings = cores.iter().any(|u| u.core.allowed.len() > 1);
    let smt_off = options.smt.is_none_or(|smt| smt == Smt::Off);
    if siblings && smt_off && options.places.as_ref().is_none_or(|p| *p == Places::Cores) {
        reasons.push("--smt off gives a core one worker".to_string());
    }
    if reasons.is_empty() {
        reasons.push("the machine has no more".to_string());
    }
    reasons.join(", ")
}

/// `1 worker`, `2 workers`
pub(super) fn of(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
