//! How a job would scale on a machine that one does not have.
//!
//! ```text
//! Topology + Plan + chunk costs + Assumptions --events--> who did what when
//!                     for 1, 2, ... workers  --curve--> speed-up, and where it bends
//! ```
//!
//! A discrete-event simulation of the claim schedule: worker w of T starts on its own contiguous
//! share of the chunks, front to back; when that is empty it goes round the other workers and
//! takes from the ends of their shares. What it assumes, and what a real machine may do otherwise:
//!
//! - A chunk costs what was measured with one worker on a core of its own. Caches that get
//!   smaller per worker, frequency that falls with the number of busy cores, and other programs
//!   are not modelled.
//! - Workers on one PU take turns without loss. Siblings of one core together do
//!   [`Assumptions::smt_throughput`] of what one alone does.
//! - Memory is a roof per group of PUs; those who want more than the roof are slowed down in
//!   proportion. A stolen chunk draws on the memory of the share that it was stolen from, since
//!   the owner touched it first.
//! - A claim, a steal and a wake-up cost the same whoever else is claiming.
//! - A worker whose place is larger than a core stays on one PU of it, the emptiest; so does one
//!   that is not pinned.
//!
//! Time is computed, never measured: the same input gives the same answer to the bit.
#![forbid(unsafe_code)]

mod curve;
mod events;
mod rates;

pub use curve::{Curve, Point, curve};
pub use events::simulate;

/// What each chunk costs on a core of its own, claim excluded.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ChunkCosts {
    /// All chunks cost the same.
    Same {
        /// How many chunks.
        chunks: usize,
        /// What each costs, in nanoseconds.
        ns: f64,
    },
    /// A measured cost per chunk, in nanoseconds.
    Each(Vec<f64>),
}

/// What the simulation takes for granted.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumptions {
    /// Claiming a chunk of one's own share.
    pub claim_ns: f64,
    /// Finding and claiming a chunk of another's share.
    pub steal_ns: f64,
    /// From the call until a sleeping worker is at work.
    pub wake_ns: f64,
    /// What the siblings of a core do together, where one alone does 1.
    pub smt_throughput: f64,
    /// What an efficiency core does, where a performance core does 1.
    pub efficiency_core_speed: f64,
    /// The roof over memory traffic, if there is one.
    pub memory: Option<Memory>,
}

/// Memory traffic and its roof.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// What a chunk moves.
    pub bytes_per_chunk: f64,
    /// What one group can move.
    pub bytes_per_second: f64,
    /// Which PUs share the roof.
    pub shared_by: SharedBy,
}

/// The group that shares a memory roof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedBy {
    /// A NUMA node.
    NumaNode,
    /// A last level cache.
    LastLevelCache,
    /// A package.
    Package,
}

impl Default for Assumptions {
    /// Nothing but the schedule: claims, steals and wake-ups are free, siblings gain nothing,
    /// all cores are alike, and memory has no roof.
    fn default() -> Self {
        Self {
            claim_ns: 0.0,
            steal_ns: 0.0,
            wake_ns: 0.0,
            smt_throughput: 1.0,
            efficiency_core_speed: 1.0,
            memory: None,
        }
    }
}

/// What one run would be like.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Simulation {
    /// From the call until the last chunk is done.
    pub makespan_ns: f64,
    /// One entry per worker.
    pub workers: Vec<WorkerTime>,
}

/// Where the time of one worker went. The times add up to the makespan.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WorkerTime {
    /// On chunks, as long as they would take on a performance core of one's own.
    pub busy_ns: f64,
    /// Lost on chunks because the PU, the core or the quota was shared, or the core is slow.
    pub shared_ns: f64,
    /// Lost on chunks because the memory roof was reached.
    pub memory_ns: f64,
    /// Claiming and stealing.
    pub claiming_ns: f64,
    /// Waking up, and waiting for the others at the end.
    pub idle_ns: f64,
    /// How many chunks it did.
    pub chunks: usize,
    /// How many of them it stole.
    pub stolen: usize,
}

/// Why a simulation cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A cost or an assumption is not a number that time can have.
    #[error("{name} is {value}; give a number that is {expected}")]
    Number {
        /// Which.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is accepted.
        expected: &'static str,
    },
    /// Chunks times workers is more than is sensible to step through.
    #[error(
        "{chunks} chunks on {workers} workers are too many steps; simulate fewer, larger chunks"
    )]
    TooLarge {
        /// How many chunks.
        chunks: usize,
        /// How many workers.
        workers: usize,
    },
    /// A number of workers cannot be placed.
    #[error(transparent)]
    Placement(#[from] crate::placement::PlacementError),
}

impl ChunkCosts {
    /// How many chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Same { chunks, .. } => *chunks,
            Self::Each(costs) => costs.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ns(&self, chunk: usize) -> f64 {
        match self {
            Self::Same { ns, .. } => *ns,
            Self::Each(costs) => costs[chunk],
        }
    }

    fn check(&self) -> Result<(), SimulateError> {
        let bad = match self {
            Self::Same { ns, .. } => Some(*ns).filter(|ns| !positive(*ns)),
            Self::Each(costs) => costs.iter().copied().find(|ns| !positive(*ns)),
        };
        match bad {
            None => Ok(()),
            Some(value) => Err(SimulateError::Number {
                name: "the cost of a chunk",
                value,
                expected: "above 0",
            }),
        }
    }
}

impl Assumptions {
    fn check(&self) -> Result<(), SimulateError> {
        let not_negative = [
            ("the cost of a claim", self.claim_ns),
            ("the cost of a steal", self.steal_ns),
            ("the cost of a wake-up", self.wake_ns),
        ];
        for (name, value) in not_negative {
            if value != 0.0 && !positive(value) {
                return Err(SimulateError::Number { name, value, expected: "0 or above" });
            }
        }
        let mut above = vec![
            ("the throughput of siblings", self.smt_throughput),
            ("the speed of an efficiency core", self.efficiency_core_speed),
        ];
        if let Some(memory) = &self.memory {
            above.push(("the traffic of a chunk", memory.bytes_per_chunk));
            above.push(("the memory roof", memory.bytes_per_second));
        }
        match above.into_iter().find(|(_, value)| !positive(*value)) {
            None => Ok(()),
            Some((name, value)) => Err(SimulateError::Number { name, value, expected: "above 0" }),
        }
    }
}

/// Finite, above zero, and far from where sums lose what they add.
fn positive(value: f64) -> bool {
    (1e-12..1e18).contains(&value)
}
