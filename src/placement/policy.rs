//! The policies: which worker gets which place.
//!
//! close, spread and primary are the rules of OpenMP 5.2 with the parent on place 0. Where that
//! leaves open which places (or runs of places) get one more than the others, the first ones do.
//! compact and scatter give each worker a place of its own or refuse.
#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};

use super::count::{bound_by_launcher, default_workers, of, over_limits, reason};
use super::places::{self, Place, Usable, of_core, usable};
use super::{
    Bind, Pin, PlacementError, PlacementOptions, Places, Plan, PuList, Smt, WORKERS_LIMIT,
    WorkerPlace,
};
use crate::topology::Topology;

/// Decides.
pub(super) fn plan(
    topology: &Topology,
    options: &PlacementOptions,
) -> Result<Plan, PlacementError> {
    let bind = chosen_bind(options)?;
    let cores = usable(topology, options.kind)?;
    let mut warnings = options.remarks.clone();
    let asked = options.places.clone().unwrap_or_default();
    let slots = match &bind {
        Bind::List(list) => entries(topology, list)?,
        Bind::None => Vec::new(),
        Bind::Compact => with_siblings(cores.iter(), topology, &cores, options, &mut warnings)?,
        Bind::Scatter => {
            let order = scattered(topology, &cores, options, &mut warnings)?;
            if options.smt.is_none_or(|smt| smt == Smt::Off) {
                order
            } else {
                let by_pu: HashMap<Option<usize>, &Usable<'_>> =
                    cores.iter().map(|u| (u.core.first_pu, u)).collect();
                let cores_in_order =
                    order.iter().filter_map(|place| by_pu.get(&Some(place.pu)).copied());
                with_siblings(cores_in_order, topology, &cores, options, &mut warnings)?
            }
        }
        Bind::Close | Bind::Spread | Bind::Primary => {
            places::places(topology, &cores, &asked, options.pin, &mut warnings)?
        }
    };
    let default = default_workers(topology, options, &bind, &cores, &slots);
    let count = options.workers.unwrap_or(default.workers);
    if count == 0 || count > WORKERS_LIMIT {
        return Err(PlacementError::Workers { asked: count });
    }
    bound_by_launcher(topology, options, &mut warnings);
    if options.workers.is_some() {
        over_limits(topology, options, count, &mut warnings);
    }
    let picks = picks(topology, options, &bind, &cores, &slots, count)?;
    let oversubscribed = match bind {
        Bind::None => count > cores.iter().map(|u| u.core.allowed.len()).sum(),
        _ => overfull(&slots, &picks),
    };
    if oversubscribed {
        warnings.push(match bind {
            Bind::None => format!("{count} workers are more than there are PUs; they take turns"),
            _ => format!(
                "{count} workers share {}; they take turns, so fewer would do as much",
                of(picks.iter().collect::<HashSet<_>>().len(), "place")
            ),
        });
    }
    let workers = (0..count)
        .map(|index| match picks.get(index).map(|at| &slots[*at]) {
            None => WorkerPlace::new(topology, index, None, Vec::new()),
            Some(place) => WorkerPlace::new(topology, index, Some(place.pu), place.pus.clone()),
        })
        .collect();
    let why = match options.workers {
        Some(_) => format!("{}, as asked, bind {bind}", of(count, "worker")),
        None => format!("{}: {}, bind {bind}", of(count, "worker"), default.why),
    };
    Ok(Plan { bind, workers, oversubscribed, warnings, why })
}

/// The policy, after the rules on what goes together.
fn chosen_bind(options: &PlacementOptions) -> Result<Bind, PlacementError> {
    if let (Some(_), Some(places)) = (options.smt, &options.places)
        && *places != Places::Cores
    {
        return Err(PlacementError::SmtAndPlaces { places: places.to_string() });
    }
    let bind = match &options.bind {
        Some(bind) => bind.clone(),
        // Whoever names siblings means a policy that knows them.
        None if options.smt.is_some_and(|smt| smt != Smt::Off) => Bind::Compact,
        None => Bind::default(),
    };
    let siblings = options.smt.filter(|smt| *smt != Smt::Off);
    if let (Some(smt), false) = (siblings, matches!(bind, Bind::Compact | Bind::Scatter)) {
        return Err(PlacementError::SmtAndBind { smt, bind: bind.to_string() });
    }
    // An option that would change nothing is a misunderstanding.
    let first = match bind {
        Bind::None => "--bind none",
        Bind::List(_) => "--bind list",
        _ => return Ok(bind),
    };
    let second = match options {
        PlacementOptions { places: Some(_), .. } => "--places",
        PlacementOptions { pin: Pin::Core, .. } => "--pin core",
        PlacementOptions { kind: Some(_), .. } => "--kind",
        _ => return Ok(bind),
    };
    Err(PlacementError::Exclusive { first, second })
}

/// The entries of a list; every PU must be allowed.
fn entries(topology: &Topology, list: &PuList) -> Result<Vec<Place>, PlacementError> {
    let allowed = &topology.limits().allowed;
    let place = |pus: Vec<usize>| {
        if let Some(&pu) = pus.iter().find(|pu| !allowed.contains(**pu)) {
            return Err(PlacementError::NotAllowed { pu, allowed: allowed.to_string() });
        }
        // Places of the syntaxes are never empty.
        let pu = pus.first().copied().unwrap_or_default();
        Ok(Place { pu, capacity: pus.len(), rank: [0; 5], pus })
    };
    list.resolve(topology)?.into_iter().map(place).collect()
}

/// compact's slots: the places in the given order, and the siblings that `--smt` adds.
fn with_siblings<'u, 't: 'u>(
    order: impl Iterator<Item = &'u Usable<'t>>,
    topology: &Topology,
    cores: &[Usable<'_>],
    options: &PlacementOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<Place>, PlacementError> {
    let order: Vec<&Usable<'_>> = order.collect();
    Ok(match options.smt {
        None | Some(Smt::Off) => {
            let asked = options.places.clone().unwrap_or_default();
            places::places(topology, cores, &asked, options.pin, warnings)?
        }
        Some(Smt::Last) => {
            let widest = order.iter().map(|u| u.core.allowed.len()).max().unwrap_or(0);
            (0..widest)
                .flat_map(|at| {
                    order.iter().filter(move |u| at < u.core.allowed.len()).map(move |u| (u, at))
                })
                .map(|(u, at)| of_core(u, at, options.pin))
                .collect()
        }
        Some(Smt::Adjacent) => (order.iter())
            .flat_map(|u| (0..u.core.allowed.len()).map(move |at| of_core(u, at, options.pin)))
            .collect(),
    })
}

/// scatter's slots, first PUs only.
fn scattered(
    topology: &Topology,
    cores: &[Usable<'_>],
    options: &PlacementOptions,
    warnings: &mut Vec<String>,
) -> Result<Vec<Place>, PlacementError> {
    let asked = options.places.clone().unwrap_or_default();
    let places = places::places(topology, cores, &asked, options.pin, warnings)?;
    let refs: Vec<&Place> = places.iter().collect();
    Ok(round_robin(&refs, 0).into_iter().cloned().collect())
}

/// Takes one of each group of this level in turn, inside each group by the next level.
fn round_robin<'p>(places: &[&'p Place], level: usize) -> Vec<&'p Place> {
    let Some(rank_of) = places.first().and_then(|p| p.rank.get(level)) else {
        return places.to_vec();
    };
    if places.iter().all(|place| place.rank[level] == *rank_of) {
        return round_robin(places, level + 1);
    }
    let mut groups: Vec<(usize, Vec<&Place>)> = Vec::new();
    let mut sorted = places.to_vec();
    sorted.sort_by_key(|place| place.rank[level]);
    for place in sorted {
        match groups.last_mut() {
            Some((rank, group)) if *rank == place.rank[level] => group.push(place),
            _ => groups.push((place.rank[level], vec![place])),
        }
    }
    let groups: Vec<Vec<&Place>> =
        groups.into_iter().map(|(_, group)| round_robin(&group, level + 1)).collect();
    let longest = groups.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|at| groups.iter().filter_map(move |group| group.get(at).copied()))
        .collect()
}

/// For each worker, the slot it gets.
fn picks(
    topology: &Topology,
    options: &PlacementOptions,
    bind: &Bind,
    cores: &[Usable<'_>],
    slots: &[Place],
    count: usize,
) -> Result<Vec<usize>, PlacementError> {
    Ok(match bind {
        Bind::None => Vec::new(),
        Bind::Primary => vec![0; count],
        Bind::Close => close(slots.len(), count),
        Bind::Spread => spread(slots.len(), count),
        Bind::List(list) if list.wraps() => (0..count).map(|i| i % slots.len()).collect(),
        Bind::Compact | Bind::Scatter | Bind::List(_) => {
            if count > slots.len() && !options.oversubscribe {
                let asked = options.places.clone().unwrap_or_default();
                let unit = match bind {
                    Bind::List(_) => "entries",
                    _ if options.smt.is_some_and(|smt| smt != Smt::Off) => "allowed PUs",
                    _ if asked == Places::Cores => "usable cores",
                    _ => "places",
                };
                return Err(PlacementError::TooMany {
                    workers: count,
                    places: slots.len(),
                    unit,
                    bind: bind.to_string(),
                    reason: reason(topology, options, bind, cores),
                });
            }
            close(slots.len(), count)
        }
    })
}

/// Worker i on place i; more workers than places: consecutive workers share, the first places
/// take the extra ones.
fn close(places: usize, workers: usize) -> Vec<usize> {
    if workers <= places {
        return (0..workers).collect();
    }
    let (each, extra) = (workers / places, workers % places);
    (0..places)
        .flat_map(|place| std::iter::repeat_n(place, each + usize::from(place < extra)))
        .collect()
}

/// The first place of each of `workers` runs; the first runs are the longer ones.
fn spread(places: usize, workers: usize) -> Vec<usize> {
    if workers > places {
        return close(places, workers);
    }
    let (each, extra) = (places / workers, places % workers);
    (0..workers).map(|run| run * each + run.min(extra)).collect()
}

/// Whether a place has more workers than room. Slots that name the same PUs are one place.
fn overfull(slots: &[Place], picks: &[usize]) -> bool {
    let mut load = HashMap::new();
    for &at in picks {
        let slot = &slots[at];
        let used = load.entry(slot.pu).or_insert(0);
        *used += 1;
        if *used > slot.capacity {
            return true;
        }
    }
    false
}
