//! From what each PU says about itself to numbered groups: cores, packages, dies, caches.
//!
//! The kernel gives a list per PU; we want a partition. Groups are numbered from 0 in order of
//! their lowest online PU, and a PU is in at most one group whatever the lists say. No files
//! here: the reader and the synthetic machines both build their [`Topology`] through
//! [`Parts::assemble`].
#![forbid(unsafe_code)]

use super::{Cache, Core, CoreKind, Limits, NumaNode, Package, Pu, PuSet, Source, Topology};

/// What one PU says about one level: the list of PUs it shares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Lists are compared only within a class, such as the level of a cache.
    pub(super) class: u32,
    /// The PUs, with itself among them if all is well.
    pub(super) pus: std::rc::Rc<PuSet>,
}

/// Group numbers by position in `online`, and what was odd.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub(super) group: Vec<Option<usize>>,
    pub(super) count: usize,
    pub(super) warnings: Vec<String>,
}

/// Puts PUs that share into groups. `claims[i]` is what PU `online[i]` says; without a claim a PU
/// is in no group.
pub(super) fn partition(what: &str, online: &PuSet, claims: &[Option<Claim>]) -> Partition {
    let ids = online.as_slice();
    let mut out = Partition { group: vec![None; ids.len()], ..Partition::default() };
    let lacks_itself = |at: usize| claims[at].as_ref().is_some_and(|c| !c.pus.contains(ids[at]));
    let mut disagreeing = Vec::new();
    for (at, claim) in claims.iter().enumerate() {
        let Some(claim) = claim else { continue };
        if lacks_itself(at) {
            out.warnings.push(format!(
                "the {what} list of PU {pu} ({list}) lacks PU {pu} itself; it is taken to be alone",
                pu = ids[at],
                list = claim.pus,
            ));
            out.group[at] = Some(out.count);
            out.count += 1;
            continue;
        }
        if out.group[at].is_some() {
            continue;
        }
        for pu in claim.pus.iter() {
            let Ok(member) = ids.binary_search(&pu) else { continue };
            let same_class = claims[member].as_ref().is_some_and(|c| c.class == claim.class);
            if !same_class || lacks_itself(member) {
                continue;
            }
            if out.group[member].is_none() {
                out.group[member] = Some(out.count);
                if claims[member].as_ref().is_some_and(|c| !same(&c.pus, &claim.pus, online)) {
                    disagreeing.push(pu);
                }
            } else {
                disagreeing.push(pu);
            }
        }
        out.count += 1;
    }
    if let Some(&first) = disagreeing.first() {
        out.warnings.push(format!(
            "the {what} lists contradict each other, first at PU {first}; a PU is taken to be with the lowest PU that names it"
        ));
    }
    out
}

/// Whether two lists name the same online PUs. Most lists are one shared set.
fn same(a: &std::rc::Rc<PuSet>, b: &std::rc::Rc<PuSet>, online: &PuSet) -> bool {
    std::rc::Rc::ptr_eq(a, b) || a == b || a.intersection(online) == b.intersection(online)
}

/// A cache as seen from one PU.
#[derive(Clone, Debug)]
pub(super) struct CacheClaim {
    pub(super) level: u32,
    pub(super) size_bytes: Option<u64>,
    pub(super) pus: std::rc::Rc<PuSet>,
}

/// All that was read, one entry per online PU where it is a list.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) online: PuSet,
    pub(super) offline: PuSet,
    pub(super) core: Vec<Option<Claim>>,
    pub(super) package: Vec<Option<Claim>>,
    pub(super) die: Vec<Option<Claim>>,
    pub(super) cluster: Vec<Option<Claim>>,
    pub(super) caches: Vec<Vec<CacheClaim>>,
    pub(super) kind: Vec<Option<CoreKind>>,
    pub(super) os_core_id: Vec<Option<i64>>,
    pub(super) os_package_id: Vec<Option<i64>>,
    pub(super) nodes: Vec<NumaNode>,
    pub(super) limits: Limits,
    pub(super) warnings: Vec<String>,
    pub(super) source: Source,
}

impl Parts {
    /// An empty description of these PUs.
    pub(super) fn new(online: PuSet, limits: Limits, source: Source) -> Self {
        let n = online.len();
        Self {
            online,
            offline: PuSet::new(),
            core: vec![None; n],
            package: vec![None; n],
            die: vec![None; n],
            cluster: vec![None; n],
            caches: vec![Vec::new(); n],
            kind: vec![None; n],
            os_core_id: vec![None; n],
            os_package_id: vec![None; n],
            nodes: Vec::new(),
            limits,
            warnings: Vec::new(),
            source,
        }
    }

    fn partition(&mut self, what: &str, claims: &[Option<Claim>]) -> Partition {
        let mut done = partition(what, &self.online, claims);
        self.warnings.append(&mut done.warnings);
        done
    }

    /// Numbers everything.
    pub(super) fn assemble(mut self) -> Topology {
        let claims = std::mem::take(&mut self.core);
        let core = self.partition("core", &claims);
        let claims = std::mem::take(&mut self.package);
        let package = self.partition("package", &claims);
        let claims = std::mem::take(&mut self.die);
        let die = self.partition("die", &claims);
        let claims = std::mem::take(&mut self.cluster);
        let cluster = self.partition("cluster", &claims);
        let (caches, l3) = self.number_caches();
        let llc = self.last_level();
        let node_of = self.node_of();

        let allowed = &self.limits.allowed;
        let mut pus: Vec<Pu> = (self.online.iter().enumerate())
            .map(|(at, id)| Pu {
                id,
                core: core.group[at],
                package: package.group[at],
                die: die.group[at],
                cluster: cluster.group[at],
                numa: node_of[at],
                l3: l3[at],
                llc: llc.group[at],
                kind: self.kind[at],
                online: true,
                allowed: allowed.contains(id),
            })
            .collect();
        let cores = self.list_cores(&pus, core.count);
        let packages = self.list_packages(&pus, package.count);
        pus.extend(self.offline.iter().map(offline));
        pus.sort_unstable_by_key(|pu| pu.id);
        Topology {
            pus,
            cores,
            packages,
            numa_nodes: self.nodes,
            caches,
            limits: self.limits,
            warnings: self.warnings,
            source: self.source,
        }
    }

    /// Every cache of every level, and the group of each PU at level 3.
    fn number_caches(&mut self) -> (Vec<Cache>, Vec<Option<usize>>) {
        let mut levels: Vec<u32> = self.caches.iter().flatten().map(|c| c.level).collect();
        levels.sort_unstable();
        levels.dedup();
        let mut caches = Vec::new();
        let mut l3 = vec![None; self.online.len()];
        for level in levels {
            let mine = |all: &Vec<CacheClaim>| all.iter().find(|c| c.level == level).cloned();
            let of_pu: Vec<Option<CacheClaim>> = self.caches.iter().map(mine).collect();
            let claims: Vec<Option<Claim>> = of_pu
                .iter()
                .map(|c| c.as_ref().map(|c| Claim { class: level, pus: c.pus.clone() }))
                .collect();
            let done = self.partition(&format!("L{level} cache"), &claims);
            let first = caches.len();
            caches.extend((0..done.count).map(|id| Cache {
                level,
                id,
                size_bytes: None,
                pus: Vec::new(),
            }));
            for (at, pu) in self.online.iter().enumerate() {
                let Some(group) = done.group[at] else { continue };
                let cache = &mut caches[first + group];
                cache.pus.push(pu);
                let size = of_pu[at].as_ref().and_then(|c| c.size_bytes);
                cache.size_bytes = cache.size_bytes.or(size);
            }
            if level == 3 {
                l3 = done.group;
            }
        }
        (caches, l3)
    }

    fn last_level(&self) -> Partition {
        let claims: Vec<Option<Claim>> = (self.caches.iter())
            .map(|all| all.iter().max_by_key(|c| c.level))
            .map(|last| last.map(|c| Claim { class: c.level, pus: c.pus.clone() }))
            .collect();
        // What is odd about a cache has been said when its level was numbered.
        partition("last level cache", &self.online, &claims)
    }

    /// The node of each online PU. Where nodes overlap, the lowest has it.
    fn node_of(&mut self) -> Vec<Option<usize>> {
        let ids = self.online.as_slice();
        let mut node_of = vec![None; ids.len()];
        let mut twice = None;
        for node in &mut self.nodes {
            node.pus.retain(|pu| {
                let Ok(at) = ids.binary_search(pu) else { return false };
                let free = node_of[at].is_none();
                if free {
                    node_of[at] = Some(node.id);
                } else {
                    twice.get_or_insert(*pu);
                }
                free
            });
        }
        if let Some(pu) = twice {
            self.warnings.push(format!(
                "NUMA nodes overlap, first at PU {pu}; it is taken to be in the lowest node"
            ));
        }
        node_of
    }

    fn list_cores(&self, pus: &[Pu], count: usize) -> Vec<Core> {
        let mut cores: Vec<Core> = (0..count)
            .map(|id| Core {
                id,
                pus: Vec::new(),
                allowed: Vec::new(),
                first_pu: None,
                package: None,
                numa: None,
                os_core_id: None,
                kind: None,
            })
            .collect();
        for (at, pu) in pus.iter().enumerate() {
            let Some(core) = pu.core.and_then(|id| cores.get_mut(id)) else { continue };
            if core.pus.is_empty() {
                core.package = pu.package;
                core.numa = pu.numa;
                core.os_core_id = self.os_core_id[at];
                core.kind = pu.kind;
            }
            core.pus.push(pu.id);
            if pu.allowed {
                core.allowed.push(pu.id);
                core.first_pu = core.first_pu.or(Some(pu.id));
            }
        }
        cores
    }

    fn list_packages(&self, pus: &[Pu], count: usize) -> Vec<Package> {
        let mut packages: Vec<Package> =
            (0..count).map(|id| Package { id, os_id: None, pus: Vec::new() }).collect();
        for (at, pu) in pus.iter().enumerate() {
            let Some(package) = pu.package.and_then(|id| packages.get_mut(id)) else { continue };
            package.os_id = package.os_id.or(self.os_package_id[at]);
            package.pus.push(pu.id);
        }
        packages
    }
}

fn offline(id: usize) -> Pu {
    Pu {
        id,
        core: None,
        package: None,
        die: None,
        cluster: None,
        numa: None,
        l3: None,
        llc: None,
        kind: None,
        online: false,
        allowed: false,
    }
}
