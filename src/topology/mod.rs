//! What the machine is made of, and which of it is ours.
//!
//! ```text
//! files under a root --read--> groups --.
//! hwloc's synthetic text --synthetic----+--> Topology --order--> places (crate::placement)
//!                                                 `--> JSON, text, SVG
//! ```
//!
//! A [`Topology`] is plain data, read once: nothing here changes the machine or asks it twice.
//! Invariants: PUs, cores, packages and nodes are in ascending order of their numbers; every
//! online PU is in exactly one core; at least one PU is allowed; every allowed PU is online.
//! Placement, pinning and policies live in [`crate::placement`].
#![forbid(unsafe_code)]

mod cpulist;
mod draw;
mod groups;
mod json;
mod limits;
mod order;
mod read;
mod snapshot;
mod svg;
mod synthetic;
mod tree;

pub use cpulist::{ListError, PU_LIMIT, PuSet};
pub(crate) use cpulist::{number, ordered, shown};
pub use limits::Limits;
pub(crate) use limits::memory_limit;
pub(crate) use order::{Rank, ranks};
pub(crate) use snapshot::Snapshot;
pub use synthetic::SyntheticError;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// One hardware thread, which Linux calls a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pu {
    /// The kernel's number.
    pub id: usize,
    /// Number of its [`Core`]; `None` while offline.
    pub core: Option<usize>,
    /// Number of its [`Package`].
    pub package: Option<usize>,
    /// Its die, numbered from 0 in the whole machine; `None` where the kernel names none.
    pub die: Option<usize>,
    /// Its cluster (cores that share an L2 or a bus), numbered as dies are.
    pub cluster: Option<usize>,
    /// The kernel's number of its NUMA node.
    pub numa: Option<usize>,
    /// Its level 3 cache, numbered from 0 in the whole machine.
    pub l3: Option<usize>,
    /// Its last level cache, whatever the level, numbered from 0 in the whole machine.
    pub llc: Option<usize>,
    /// Performance or efficiency, on hybrid machines.
    pub kind: Option<CoreKind>,
    /// Whether the kernel schedules on it.
    pub online: bool,
    /// Whether this process may run on it.
    pub allowed: bool,
}

/// The kind of a core of a hybrid machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CoreKind {
    /// Performance.
    P,
    /// Efficiency.
    E,
}

/// A physical core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Core {
    /// Our number, from 0, in order of the lowest online PU.
    pub id: usize,
    /// Its online PUs.
    pub pus: Vec<usize>,
    /// Its allowed PUs.
    pub allowed: Vec<usize>,
    /// The lowest allowed PU; `None` where the core is not usable.
    pub first_pu: Option<usize>,
    /// Number of its package.
    pub package: Option<usize>,
    /// The kernel's number of its NUMA node.
    pub numa: Option<usize>,
    /// The firmware's `core_id`: a label that repeats and has holes.
    pub os_core_id: Option<i64>,
    /// Performance or efficiency, on hybrid machines.
    pub kind: Option<CoreKind>,
}

/// A package: what sits in one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Package {
    /// Our number, from 0, in order of the lowest online PU.
    pub id: usize,
    /// The firmware's `physical_package_id`, a label only.
    pub os_id: Option<i64>,
    /// Its online PUs.
    pub pus: Vec<usize>,
}

/// A NUMA node: a memory, and the PUs that are near it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NumaNode {
    /// The kernel's number.
    pub id: usize,
    /// Its online PUs; none for a node that is memory only.
    pub pus: Vec<usize>,
    /// Its memory in bytes, where the kernel says it.
    pub memory_bytes: Option<u64>,
}

/// A cache that holds data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cache {
    /// 1 for the L1, and so on.
    pub level: u32,
    /// Our number from 0 within the level.
    pub id: usize,
    /// Its size in bytes, where the kernel says it.
    pub size_bytes: Option<u64>,
    /// The online PUs that share it.
    pub pus: Vec<usize>,
}

/// The machine as one process sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    pub(crate) pus: Vec<Pu>,
    pub(crate) cores: Vec<Core>,
    pub(crate) packages: Vec<Package>,
    pub(crate) numa_nodes: Vec<NumaNode>,
    pub(crate) caches: Vec<Cache>,
    pub(crate) limits: Limits,
    pub(crate) warnings: Vec<String>,
    pub(crate) source: Source,
}

/// Where a [`Topology`] came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The running machine.
    Live,
    /// Files under this directory.
    Snapshot(PathBuf),
    /// A text in hwloc's synthetic syntax.
    Synthetic(String),
}

/// Why there is no topology.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// The root directory cannot be opened.
    #[error("cannot open {} as the root of a machine; name a directory that holds sys and proc", root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file holds something else than a list of PUs.
    #[error("{} is not a list of PUs: {source}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ListError,
    },
    /// No PU is online.
    #[error("no PU is online under {}; check that it holds sys/devices/system/cpu", root.display())]
    NoPuOnline {
        /// The root directory.
        root: PathBuf,
    },
    /// The mask and the online PUs have nothing in common.
    #[error(
        "none of the online PUs {online} is in this process's mask {mask}; widen it with taskset or the batch system"
    )]
    NoneAllowed {
        /// The online PUs.
        online: PuSet,
        /// `Cpus_allowed_list`.
        mask: PuSet,
    },
    /// The synthetic text does not describe a machine.
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),
}

/// The mask of the process when it was first asked for. A process that pins its main thread
/// later (a pool does not, its host may) would otherwise look like a machine of one core.
static FIRST_MASK: OnceLock<PuSet> = OnceLock::new();

impl Topology {
    /// Reads the running machine.
    ///
    /// What is allowed is the `Cpus_allowed_list` of the *process* (its main thread), not of the
    /// calling thread: a thread that was pinned may still start workers anywhere. The first
    /// answer is kept for the life of the process; everything else is read anew.
    ///
    /// # Errors
    /// [`TopologyError`], where `/sys` or `/proc` are missing or make no sense.
    pub fn current() -> Result<Self, TopologyError> {
        let topology = read::read(Path::new("/"), FIRST_MASK.get())?;
        let mask = topology.limits.allowed.clone();
        // Two threads may both be first; both have read the same mask.
        let _ = FIRST_MASK.set(mask);
        Ok(topology)
    }

    /// As [`Topology::current`], as if the mask were this one.
    pub(crate) fn within(mask: &PuSet) -> Result<Self, TopologyError> {
        read::read(Path::new("/"), Some(mask))
    }

    /// Reads the files under `root`: another machine's `sys` and `proc`. With another root than
    /// `/`, the running machine is asked nothing.
    ///
    /// # Errors
    /// [`TopologyError`]; a missing file is never one.
    pub fn read(root: &Path) -> Result<Self, TopologyError> {
        read::read(root, None)
    }

    /// Builds a machine from hwloc's synthetic text, such as `package:2 core:64 pu:2`.
    ///
    /// # Errors
    /// [`SyntheticError`], where the text is not understood or the machine too large.
    pub fn synthetic(text: &str) -> Result<Self, TopologyError> {
        Ok(synthetic::synthetic(text)?)
    }

    /// All PUs that are known, online or not, by number.
    #[must_use]
    pub fn pus(&self) -> &[Pu] {
        &self.pus
    }

    /// The PU of this kernel number.
    #[must_use]
    pub fn pu(&self, id: usize) -> Option<&Pu> {
        self.pus.binary_search_by_key(&id, |pu| pu.id).ok().map(|at| &self.pus[at])
    }

    /// All cores with an online PU.
    #[must_use]
    pub fn cores(&self) -> &[Core] {
        &self.cores
    }

    /// The cores with at least one allowed PU, in logical order: a walk through the machine from
    /// its left edge, as hwloc numbers cores.
    #[must_use]
    pub fn usable_cores(&self) -> Vec<&Core> {
        order::logical(self, self.cores.iter().filter(|core| core.first_pu.is_some()))
    }

    /// The packages.
    #[must_use]
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The NUMA nodes, those without PUs included.
    #[must_use]
    pub fn numa_nodes(&self) -> &[NumaNode] {
        &self.numa_nodes
    }

    /// The caches that hold data, by level, then by number.
    #[must_use]
    pub fn caches(&self) -> &[Cache] {
        &self.caches
    }

    /// What the mask and the cgroups leave of the machine.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Oddities met while reading, a sentence each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where this came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The online PUs.
    #[must_use]
    pub fn online(&self) -> PuSet {
        self.pus.iter().filter(|pu| pu.online).map(|pu| pu.id).collect()
    }
}
