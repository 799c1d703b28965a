//! Where each worker goes: a pure function of a [`Topology`] and of what was asked for.
//!
//! ```text
//! options --from_env--> options --.
//! Topology --logical order--> places --policy--> Plan --bind--> pinned workers
//! ```
//!
//! [`plan`] asks the machine nothing and changes nothing; pinning is `bind.rs` alone. Invariants
//! of a [`Plan`]: workers are numbered from 0 without holes, every PU in it is allowed, and the
//! same input gives the same plan. The pool and the command line are the callers.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "masks wider than the safe wrappers know need the raw system call")]
pub(crate) mod bind;
mod count;
mod env;
mod error;
mod likwid;
mod list;
mod omp;
mod options;
mod places;
mod policy;

pub use bind::{BindError, bind_current_thread};
pub use error::PlacementError;
pub use list::PuList;
pub use omp::PlaceList;
pub use options::{Bind, Pin, PlacementOptions, Places, Smt};

use crate::topology::Topology;

pub use crate::topology::CoreKind;

/// No pool has more workers.
pub const WORKERS_LIMIT: usize = crate::config::MAX_WORKERS;

/// Where each worker goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The policy that decided.
    pub bind: Bind,
    /// One entry per worker, by number.
    pub workers: Vec<WorkerPlace>,
    /// Whether some place has more workers than cores (or, with places of threads, than PUs).
    pub oversubscribed: bool,
    /// What the user should know, a sentence each.
    pub warnings: Vec<String>,
    /// How the number of workers and the policy came about, in one line.
    pub why: String,
}

/// The place of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerPlace {
    /// The worker's number, from 0.
    pub index: usize,
    /// The PUs it may run on, by kernel number; none means it keeps the inherited mask.
    pub pus: Vec<usize>,
    /// The PU that the policy chose for it: the first of its place.
    pub pu: Option<usize>,
    /// The core of that PU.
    pub core: Option<usize>,
    /// The package of that PU.
    pub package: Option<usize>,
    /// The NUMA node of that PU, by kernel number.
    pub numa: Option<usize>,
}

/// Decides where each worker goes.
///
/// # Errors
/// [`PlacementError`], where what is asked for does not fit this machine: the sentence names the
/// numbers and the reason.
///
/// ```
/// use pinpool::placement::{Bind, PlacementOptions, plan};
/// use pinpool::topology::Topology;
///
/// let machine = Topology::synthetic("package:2 core:4 pu:2")?;
/// let options = PlacementOptions { workers: Some(2), bind: Some(Bind::Spread), ..Default::default() };
/// let pus: Vec<_> = plan(&machine, &options)?.workers.iter().map(|w| w.pu).collect();
/// assert_eq!(pus, [Some(0), Some(8)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(topology: &Topology, options: &PlacementOptions) -> Result<Plan, PlacementError> {
    policy::plan(topology, options)
}

impl WorkerPlace {
    fn new(topology: &Topology, index: usize, pu: Option<usize>, pus: Vec<usize>) -> Self {
        let found = pu.and_then(|pu| topology.pu(pu));
        Self {
            index,
            pus,
            pu,
            core: found.and_then(|pu| pu.core),
            package: found.and_then(|pu| pu.package),
            numa: found.and_then(|pu| pu.numa),
        }
    }
}
