//! How fast each worker goes, given who else is at work.
//!
//! Pure arithmetic on who is active where; no time and no chunks. Called once per event.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::{Assumptions, SharedBy};
use crate::placement::{CoreKind, Plan};
use crate::topology::Topology;

/// Where each worker is taken to be, as small indices.
pub(super) struct Seats {
    /// PU, core and memory group of each worker.
    pu: Vec<usize>,
    core: Vec<usize>,
    pub(super) group: Vec<usize>,
    /// What the core does when its worker is alone on it.
    speed: Vec<f64>,
    /// The core of each PU index.
    core_of_pu: Vec<usize>,
    cores: usize,
    groups: usize,
    quota: f64,
    smt_throughput: f64,
    /// Bytes per nanosecond that a group can move.
    roof: f64,
}

/// What one worker wants at this moment: nothing, or a PU and so many bytes per nanosecond of
/// undisturbed work from a memory group.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
    pub(super) active: bool,
    pub(super) bytes_per_ns: f64,
    pub(super) group: usize,
}

/// The two reasons to be slow, as factors of full speed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) shared: f64,
    pub(super) memory: f64,
}

/// Room for the sums of one event, kept between events.
#[derive(Default)]
pub(super) struct Scratch {
    on_pu: Vec<u32>,
    on_core: Vec<u32>,
    load: Vec<f64>,
}

impl Seats {
    pub(super) fn new(topology: &Topology, plan: &Plan, assumptions: &Assumptions) -> Self {
        let shared_by = assumptions.memory.as_ref().map(|memory| memory.shared_by);
        let everywhere = topology.limits().allowed.as_slice().to_vec();
        let mut taken: BTreeMap<usize, usize> = BTreeMap::new();
        let mut pus = Index::default();
        let mut cores = Index::default();
        let mut groups = Index::default();
        let mut seats = Self {
            pu: Vec::new(),
            core: Vec::new(),
            group: Vec::new(),
            speed: Vec::new(),
            core_of_pu: Vec::new(),
            cores: 0,
            groups: 0,
            quota: topology.limits().quota_cpus.unwrap_or(f64::INFINITY),
            smt_throughput: assumptions.smt_throughput,
            roof: assumptions.memory.as_ref().map_or(f64::INFINITY, |m| m.bytes_per_second / 1e9),
        };
        let mut on_core: BTreeMap<Option<usize>, usize> = BTreeMap::new();
        for worker in &plan.workers {
            let places = if worker.pus.is_empty() { &everywhere } else { &worker.pus };
            let core_of = |pu: usize| topology.pu(pu).and_then(|pu| pu.core);
            // The emptiest PU on the emptiest core; ties go to the lowest.
            let emptiest = places.iter().copied().min_by_key(|pu| {
                let core = on_core.get(&core_of(*pu)).copied().unwrap_or(0);
                (taken.get(pu).copied().unwrap_or(0), core, *pu)
            });
            let id = emptiest.unwrap_or(0);
            *taken.entry(id).or_default() += 1;
            *on_core.entry(core_of(id)).or_default() += 1;
            let facts = topology.pu(id);
            let group = match shared_by {
                Some(SharedBy::NumaNode) => facts.and_then(|pu| pu.numa),
                Some(SharedBy::LastLevelCache) => facts.and_then(|pu| pu.llc),
                Some(SharedBy::Package) => facts.and_then(|pu| pu.package),
                None => None,
            };
            let pu = pus.of(Some(id));
            let core = cores.of(core_of(id));
            if pu == seats.core_of_pu.len() {
                seats.core_of_pu.push(core);
            }
            seats.pu.push(pu);
            seats.core.push(core);
            seats.group.push(groups.of(group));
            let efficient = facts.is_some_and(|pu| pu.kind == Some(CoreKind::E));
            seats.speed.push(if efficient { assumptions.efficiency_core_speed } else { 1.0 });
        }
        seats.cores = cores.len();
        seats.groups = groups.len();
        seats
    }

    /// The rate of each worker.
    pub(super) fn rates(&self, wants: &[Want], scratch: &mut Scratch, rates: &mut Vec<Rate>) {
        refill(&mut scratch.on_pu, self.core_of_pu.len(), 0);
        refill(&mut scratch.on_core, self.cores, 0);
        refill(&mut scratch.load, self.groups, 0.0);
        let mut active = 0.0;
        for (worker, _) in wants.iter().enumerate().filter(|(_, want)| want.active) {
            let pu = self.pu[worker];
            scratch.on_pu[pu] += 1;
            if scratch.on_pu[pu] == 1 {
                scratch.on_core[self.core_of_pu[pu]] += 1;
                active += 1.0;
            }
        }
        // The quota counts PUs that are running, however many workers take turns on them.
        let quota = if active > self.quota { self.quota / active } else { 1.0 };
        rates.clear();
        for (worker, want) in wants.iter().enumerate() {
            let turns = f64::from(scratch.on_pu[self.pu[worker]].max(1));
            let siblings = f64::from(scratch.on_core[self.core[worker]].max(1));
            let together = if siblings > 1.0 { self.smt_throughput / siblings } else { 1.0 };
            let shared = quota * self.speed[worker] * together / turns;
            if want.active {
                scratch.load[want.group] += shared * want.bytes_per_ns;
            }
            rates.push(Rate { shared, memory: 1.0 });
        }
        for (rate, want) in rates.iter_mut().zip(wants) {
            let load = scratch.load[want.group];
            if want.bytes_per_ns > 0.0 && load > self.roof {
                rate.memory = self.roof / load;
            }
        }
    }
}

fn refill<T: Clone>(values: &mut Vec<T>, len: usize, value: T) {
    values.clear();
    values.resize(len, value);
}

/// Small numbers for keys, in order of first sight.
#[derive(Default)]
struct Index(BTreeMap<Option<usize>, usize>);

impl Index {
    fn of(&mut self, key: Option<usize>) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
