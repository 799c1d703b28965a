//! The reader of `/sys` and `/proc`: files in, [`Topology`] out.
//!
//! Each fact has its file and its fallbacks; a missing file leaves a fact out and is never an
//! error, a list that is no list is. Nothing here asks the running machine anything but through
//! files under the root. The only callers are [`Topology::current`] and [`Topology::read`].
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::cpulist::{ListError, PU_LIMIT, PuSet, trim};
use super::groups::{CacheClaim, Claim, Parts};
use super::limits;
use super::snapshot::Snapshot;
use super::{CoreKind, NumaNode, Source, Topology, TopologyError};

const CPU: &str = "sys/devices/system/cpu";
const NODE: &str = "sys/devices/system/node";

/// How many PUs all distinct lists of a snapshot may name together: 128 MiB. A real machine of
/// 8192 PUs needs a thousandth.
const NAMED_LIMIT: usize = 1 << 24;

/// Reads the machine under `root`; `mask` replaces what the process's status says.
pub(super) fn read(root: &Path, mask: Option<&PuSet>) -> Result<Topology, TopologyError> {
    let files = Snapshot::open(root)
        .map_err(|source| TopologyError::Root { root: root.to_path_buf(), source })?;
    let kernel_max = files.read_number(&format!("{CPU}/kernel_max")).unwrap_or(0);
    // A kernel never names a PU past its kernel_max; some room, for trees that are made.
    let limit = usize::try_from(kernel_max).unwrap_or(0).saturating_add(1).clamp(8192, PU_LIMIT);
    let mut reader = Reader { files, limit, lists: HashMap::new(), named: 0 };
    reader.topology(mask)
}

struct Reader {
    files: Snapshot,
    /// PU numbers are below this.
    limit: usize,
    /// Lists that were met before, so that a package's list is parsed once, not per PU.
    lists: HashMap<Vec<u8>, Rc<PuSet>>,
    named: usize,
}

impl Reader {
    fn topology(&mut self, mask: Option<&PuSet>) -> Result<Topology, TopologyError> {
        let online = self.online()?;
        let mut warnings = Vec::new();
        let bad = |root: &Snapshot, (path, source): limits::BadList| TopologyError::List {
            path: root.full(&path),
            source,
        };
        let mut limits = limits::cgroups(&self.files, self.limit, &mut warnings)
            .map_err(|e| bad(&self.files, e))?;
        let mask = match mask {
            Some(mask) => Some(mask.clone()),
            None => limits::mask(&self.files, self.limit).map_err(|e| bad(&self.files, e))?,
        };
        limits.allowed = match &mask {
            Some(mask) => mask.intersection(&online),
            None => online.clone(),
        };
        if limits.allowed.is_empty() {
            let mask = mask.unwrap_or_default();
            return Err(TopologyError::NoneAllowed { online, mask });
        }
        let root = self.files.root();
        let source = match root == Path::new("/") {
            true => Source::Live,
            false => Source::Snapshot(root.to_path_buf()),
        };
        let mut parts = Parts::new(online.clone(), limits, source);
        parts.warnings = warnings;
        parts.offline = self.present(&online)?.difference(&online);
        self.siblings(&mut parts)?;
        self.caches(&mut parts)?;
        self.kinds(&mut parts)?;
        parts.nodes = self.nodes()?;
        Ok(parts.assemble())
    }

    /// A list file, or `None` where it is missing.
    fn list(&mut self, path: &str) -> Result<Option<Rc<PuSet>>, TopologyError> {
        let Some(bytes) = self.files.read(path) else { return Ok(None) };
        let bytes = trim(&bytes);
        if let Some(known) = self.lists.get(bytes) {
            return Ok(Some(known.clone()));
        }
        let fail = |source| TopologyError::List { path: self.files.full(path), source };
        let set = PuSet::parse_below(bytes, self.limit).map_err(fail)?;
        self.named += set.len() + 1;
        if self.named > NAMED_LIMIT {
            let source =
                ListError::TooLarge { text: format!("count {}", self.named), highest: NAMED_LIMIT };
            return Err(fail(source));
        }
        let set = Rc::new(set);
        self.lists.insert(bytes.to_vec(), set.clone());
        Ok(Some(set))
    }

    /// The first of these files of PU `pu` that is there.
    fn topology_list(&mut self, pu: usize, names: &[&str]) -> Result<Option<Claim>, TopologyError> {
        for name in names {
            if let Some(pus) = self.list(&format!("{CPU}/cpu{pu}/topology/{name}"))? {
                return Ok(Some(Claim { class: 0, pus }));
            }
        }
        Ok(None)
    }

    fn online(&mut self) -> Result<PuSet, TopologyError> {
        let online = match self.list(&format!("{CPU}/online"))? {
            Some(list) => list.as_ref().clone(),
            None => {
                let pus = self.files.numbered(CPU, "cpu", self.limit);
                pus.into_iter().filter(|pu| self.is_online(*pu)).collect()
            }
        };
        if online.is_empty() {
            return Err(TopologyError::NoPuOnline { root: self.files.root().to_path_buf() });
        }
        Ok(online)
    }

    /// A PU that cannot be taken offline has no such file.
    fn is_online(&self, pu: usize) -> bool {
        match self.files.read(&format!("{CPU}/cpu{pu}/online")) {
            None => true,
            Some(bytes) => trim(&bytes) == b"1",
        }
    }

    fn present(&mut self, online: &PuSet) -> Result<PuSet, TopologyError> {
        if let Some(list) = self.list(&format!("{CPU}/present"))? {
            return Ok(list.as_ref().clone());
        }
        let listed = self.files.numbered(CPU, "cpu", self.limit);
        Ok(listed.into_iter().chain(online.iter()).collect())
    }

    fn siblings(&mut self, parts: &mut Parts) -> Result<(), TopologyError> {
        let mut alone = Vec::new();
        for (at, pu) in parts.online.clone().iter().enumerate() {
            let core = self.topology_list(pu, &["core_cpus_list", "thread_siblings_list"])?;
            if core.is_none() {
                alone.push(pu);
            }
            let itself = || Claim { class: 0, pus: Rc::new([pu].into_iter().collect()) };
            parts.core[at] = Some(core.unwrap_or_else(itself));
            parts.package[at] =
                self.topology_list(pu, &["package_cpus_list", "core_siblings_list"])?;
            parts.die[at] = self.topology_list(pu, &["die_cpus_list"])?;
            parts.cluster[at] = self.topology_list(pu, &["cluster_cpus_list"])?;
            let label = |name| self.files.read_number(&format!("{CPU}/cpu{pu}/topology/{name}"));
            parts.os_core_id[at] = label("core_id");
            parts.os_package_id[at] = label("physical_package_id");
        }
        if !alone.is_empty() {
            let pus: PuSet = alone.into_iter().collect();
            parts.warnings.push(format!(
                "the kernel does not say which core PUs {pus} belong to; each is taken for a core"
            ));
        }
        self.dies_by_id(parts);
        Ok(())
    }

    /// Before Linux 5.2 there is no `die_cpus_list`; a `die_id` counts within its package.
    fn dies_by_id(&self, parts: &mut Parts) {
        if parts.die.iter().any(Option::is_some) {
            return;
        }
        let mut members: HashMap<(Option<Rc<PuSet>>, i64), Vec<usize>> = HashMap::new();
        for (at, pu) in parts.online.iter().enumerate() {
            let die = self.files.read_number(&format!("{CPU}/cpu{pu}/topology/die_id"));
            // -1 is the kernel's word for "no such thing".
            if let Some(die) = die.filter(|die| *die >= 0) {
                let package = parts.package[at].as_ref().map(|claim| claim.pus.clone());
                members.entry((package, die)).or_default().push(at);
            }
        }
        for positions in members.into_values() {
            let ids = parts.online.as_slice();
            let pus: Rc<PuSet> = Rc::new(positions.iter().map(|at| ids[*at]).collect());
            for at in positions {
                parts.die[at] = Some(Claim { class: 0, pus: pus.clone() });
            }
        }
    }

    fn caches(&mut self, parts: &mut Parts) -> Result<(), TopologyError> {
        for (at, pu) in parts.online.clone().iter().enumerate() {
            let dir = format!("{CPU}/cpu{pu}/cache");
            for index in self.files.numbered(&dir, "index", 64) {
                let dir = format!("{dir}/index{index}");
                let holds = self.files.read(&format!("{dir}/type")).unwrap_or_default();
                if trim(&holds).eq_ignore_ascii_case(b"instruction") {
                    continue;
                }
                let level = self.files.read_number(&format!("{dir}/level"));
                let Some(level) = level.and_then(|level| u32::try_from(level).ok()) else {
                    continue;
                };
                let Some(pus) = self.list(&format!("{dir}/shared_cpu_list"))? else { continue };
                let size_bytes =
                    self.files.read(&format!("{dir}/size")).and_then(|text| size(&text));
                parts.caches[at].push(CacheClaim { level, size_bytes, pus });
            }
        }
        Ok(())
    }

    fn kinds(&mut self, parts: &mut Parts) -> Result<(), TopologyError> {
        for (name, kind) in [("cpu_core", CoreKind::P), ("cpu_atom", CoreKind::E)] {
            let Some(pus) = self.list(&format!("sys/devices/{name}/cpus"))? else { continue };
            for (at, pu) in parts.online.iter().enumerate() {
                if pus.contains(pu) {
                    parts.kind[at] = Some(kind);
                }
            }
        }
        if parts.kind.iter().any(Option::is_some) {
            return Ok(());
        }
        let capacity: Vec<Option<i64>> = (parts.online.iter())
            .map(|pu| self.files.read_number(&format!("{CPU}/cpu{pu}/cpu_capacity")))
            .collect();
        let known = || capacity.iter().flatten().copied();
        let (Some(low), Some(high)) = (known().min(), known().max()) else { return Ok(()) };
        if low < high {
            let kind = |c: i64| if c == high { CoreKind::P } else { CoreKind::E };
            parts.kind = capacity.iter().map(|c| c.map(kind)).collect();
        }
        Ok(())
    }

    fn nodes(&mut self) -> Result<Vec<NumaNode>, TopologyError> {
        let mut nodes = Vec::new();
        for id in self.files.numbered(NODE, "node", self.limit) {
            let pus = self.list(&format!("{NODE}/node{id}/cpulist"))?;
            let pus = pus.map(|list| list.as_slice().to_vec()).unwrap_or_default();
            let memory_bytes =
                self.files.read(&format!("{NODE}/node{id}/meminfo")).and_then(|t| mem_total(&t));
            nodes.push(NumaNode { id, pus, memory_bytes });
        }
        Ok(nodes)
    }
}

/// `32768K`
fn size(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(trim(text)).ok()?;
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 1 << 10),
        b'M' | b'm' => (&text[..text.len() - 1], 1 << 20),
        b'G' | b'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// `Node 0 MemTotal:       24653360 kB`
fn mem_total(text: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().find(|line| line.contains("MemTotal:"))?;
    let kib = line.split_once("MemTotal:")?.1.trim().strip_suffix("kB")?.trim();
    kib.parse::<u64>().ok()?.checked_mul(1024)
}
