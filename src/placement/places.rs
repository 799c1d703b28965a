//! The places of a machine in logical order.
//!
//! A place knows its PUs, how many cores (or PUs) it has to give, and where it stands in the
//! machine, which is all that the policies of `policy.rs` look at.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{CoreKind, Pin, PlaceList, PlacementError, Places};
use crate::topology::{Core, Pu, Rank, Topology, ranks};

/// The PUs one worker may run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Never empty, all allowed.
    pub(super) pus: Vec<usize>,
    /// The PU that stands for it.
    pub(super) pu: usize,
    /// How many workers it has room for.
    pub(super) capacity: usize,
    /// Where it stands: the ranks of its groups, coarsest first, its core, then its PU.
    pub(super) rank: [usize; 5],
}

/// A usable core and its rank.
pub(super) struct Usable<'t> {
    pub(super) core: &'t Core,
    pub(super) rank: Rank,
}

/// The usable cores of a kind in logical order.
pub(super) fn usable<'t>(
    topology: &'t Topology,
    kind: Option<CoreKind>,
) -> Result<Vec<Usable<'t>>, PlacementError> {
    let cores: Vec<&Core> = (topology.cores().iter())
        .filter(|core| core.first_pu.is_some() && kind.is_none_or(|kind| core.kind == Some(kind)))
        .collect();
    if let (Some(kind), true) = (kind, cores.is_empty()) {
        return Err(PlacementError::NoSuchKind { kind });
    }
    let ranks = ranks(topology, &cores);
    let mut usable: Vec<Usable<'_>> =
        cores.into_iter().zip(ranks).map(|(core, rank)| Usable { core, rank }).collect();
    usable.sort_unstable_by_key(|u| (u.rank, u.core.id));
    Ok(usable)
}

/// The place of the PU at position `at` of a core's allowed PUs.
pub(super) fn of_core(usable: &Usable<'_>, at: usize, pin: Pin) -> Place {
    let pu = usable.core.allowed[at];
    let [a, b, c] = usable.rank.levels;
    Place {
        pus: match pin {
            Pin::Pu => vec![pu],
            Pin::Core => usable.core.allowed.clone(),
        },
        pu,
        capacity: 1,
        rank: [a, b, c, usable.rank.first_pu, pu],
    }
}

/// The places that were asked for, in order; at least one.
pub(super) fn places(
    topology: &Topology,
    usable: &[Usable<'_>],
    asked: &Places,
    pin: Pin,
    warnings: &mut Vec<String>,
) -> Result<Vec<Place>, PlacementError> {
    Ok(match asked {
        Places::Cores => usable.iter().map(|u| of_core(u, 0, pin)).collect(),
        Places::Threads => (usable.iter())
            .flat_map(|u| (0..u.core.allowed.len()).map(|at| of_core(u, at, Pin::Pu)))
            .collect(),
        Places::LlCaches => grouped(topology, usable, |pu| pu.llc),
        Places::NumaDomains => grouped(topology, usable, |pu| pu.numa),
        Places::Sockets => grouped(topology, usable, |pu| pu.package),
        Places::Explicit(list) => explicit(topology, usable, list, warnings)?,
        Places::First { of, count } => {
            let mut places = places(topology, usable, of, pin, warnings)?;
            if places.len() < *count {
                warnings
                    .push(format!("{asked} asks for {count} places, there are {}", places.len()));
            }
            places.truncate(*count);
            places
        }
    })
}

/// One place per group, ordered by its first core. Cores without a group share one.
fn grouped(
    topology: &Topology,
    usable: &[Usable<'_>],
    group_of: fn(&Pu) -> Option<usize>,
) -> Vec<Place> {
    let mut found: BTreeMap<Option<usize>, usize> = BTreeMap::new();
    let mut places: Vec<Place> = Vec::new();
    for u in usable {
        let group = u.core.first_pu.and_then(|pu| topology.pu(pu)).and_then(group_of);
        let at = *found.entry(group).or_insert(places.len());
        if at == places.len() {
            places.push(Place { pus: Vec::new(), capacity: 0, ..of_core(u, 0, Pin::Pu) });
        }
        places[at].pus.extend(&u.core.allowed);
        places[at].capacity += 1;
    }
    for place in &mut places {
        place.pus.sort_unstable();
    }
    places
}

/// Places as listed, less the PUs that may not be used.
fn explicit(
    topology: &Topology,
    usable: &[Usable<'_>],
    list: &PlaceList,
    warnings: &mut Vec<String>,
) -> Result<Vec<Place>, PlacementError> {
    let known: BTreeMap<usize, &Usable<'_>> =
        usable.iter().flat_map(|u| u.core.allowed.iter().map(move |pu| (*pu, u))).collect();
    let mut dropped = 0;
    let mut places = Vec::new();
    for asked in list.places() {
        let pus: Vec<usize> = asked.iter().copied().filter(|pu| known.contains_key(pu)).collect();
        dropped += asked.len() - pus.len();
        let Some(&pu) = pus.first() else { continue };
        let rank = &known[&pu].rank;
        let [a, b, c] = rank.levels;
        let capacity = pus.len();
        places.push(Place { pus, pu, capacity, rank: [a, b, c, rank.first_pu, pu] });
    }
    if places.is_empty() {
        return Err(PlacementError::NoPlace { allowed: topology.limits().allowed.to_string() });
    }
    if dropped > 0 {
        warnings.push(format!(
            "{dropped} PUs of the places {list} may not be used here and are left out; allowed are {}",
            topology.limits().allowed
        ));
    }
    Ok(places)
}
