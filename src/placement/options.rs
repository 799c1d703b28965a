//! What can be asked for: policies, places, pinning, SMT, kinds, and how they are spelled.
//!
//! Every word here is a word of the command line and of the environment. Nothing is decided
//! here; `policy.rs` decides, `env.rs` fills in what was left open.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

use super::{CoreKind, PlaceList, PlacementError, PuList};

/// What a caller wants of the placement. What is `None` is open: [`PlacementOptions::from_env`]
/// may fill it in, and [`plan`](super::plan) has a default for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementOptions {
    /// How many workers. Default: one per usable core, cut by the cgroup quota.
    pub workers: Option<usize>,
    /// The policy. Default: close.
    pub bind: Option<Bind>,
    /// What a place is. Default: a core.
    pub places: Option<Places>,
    /// How a worker is held in a core.
    pub pin: Pin,
    /// Which siblings are used, with compact and scatter. Default: off.
    pub smt: Option<Smt>,
    /// Use only cores of this kind.
    pub kind: Option<CoreKind>,
    /// Share places out where there are too few of them.
    pub oversubscribe: bool,
    /// `SLURM_CPUS_PER_TASK`: cuts the default number of workers.
    pub slurm_cpus: Option<usize>,
    /// `OMPI_COMM_WORLD_LOCAL_SIZE`: `mpirun` has started so many ranks on this node, this one
    /// among them, and binds each to one core unless it is told otherwise.
    pub ranks_on_node: Option<usize>,
    /// Remarks on the environment; they become warnings of the plan.
    pub remarks: Vec<String>,
}

/// How workers are given to places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bind {
    /// No pinning: workers keep the inherited mask.
    None,
    /// OpenMP's close: worker i on place i.
    #[default]
    Close,
    /// OpenMP's spread: as far apart as possible, consecutive workers near each other.
    Spread,
    /// OpenMP's primary: every worker on place 0.
    Primary,
    /// Worker i on core i, never more workers than cores.
    Compact,
    /// Round robin over the coarsest groups, so that consecutive workers are far apart.
    Scatter,
    /// Worker i on entry i of a list.
    List(PuList),
}

/// What a place is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Places {
    /// A PU.
    Threads,
    /// A core.
    #[default]
    Cores,
    /// The PUs that share a last level cache.
    LlCaches,
    /// The PUs of a NUMA node.
    NumaDomains,
    /// The PUs of a package.
    Sockets,
    /// As listed, in OpenMP's syntax.
    Explicit(PlaceList),
    /// The first so many places of a kind: `cores(4)`.
    First {
        /// The kind of place.
        of: Box<Places>,
        /// How many.
        count: usize,
    },
}

/// How a worker is held in its core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pin {
    /// To one PU of it, so that it never moves.
    #[default]
    Pu,
    /// To all its allowed PUs.
    Core,
}

/// Which SMT siblings compact and scatter use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Smt {
    /// One worker per core.
    #[default]
    Off,
    /// The first PUs of all cores, then the second ones, and so on.
    Last,
    /// All allowed PUs of a core before the next core.
    Adjacent,
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Close => f.write_str("close"),
            Self::Spread => f.write_str("spread"),
            Self::Primary => f.write_str("primary"),
            Self::Compact => f.write_str("compact"),
            Self::Scatter => f.write_str("scatter"),
            Self::List(list) => write!(f, "list:{list}"),
        }
    }
}

impl FromStr for Bind {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let word = text.trim();
        if let Some(list) = word.strip_prefix("list:") {
            return Ok(Self::List(list.parse()?));
        }
        Ok(match word.to_ascii_lowercase().as_str() {
            "none" => Self::None,
            "close" => Self::Close,
            "spread" => Self::Spread,
            "primary" => Self::Primary,
            "compact" => Self::Compact,
            "scatter" => Self::Scatter,
            _ => {
                return Err(unknown(
                    "--bind",
                    text,
                    "none, close, spread, primary, compact, scatter or list:0,2,4-8:2",
                ));
            }
        })
    }
}

impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads => f.write_str("threads"),
            Self::Cores => f.write_str("cores"),
            Self::LlCaches => f.write_str("ll_caches"),
            Self::NumaDomains => f.write_str("numa_domains"),
            Self::Sockets => f.write_str("sockets"),
            Self::Explicit(list) => list.fmt(f),
            Self::First { of, count } => write!(f, "{of}({count})"),
        }
    }
}

impl FromStr for Places {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        let word = text.trim();
        if word.starts_with(['{', '!']) {
            return Ok(Self::Explicit(word.parse()?));
        }
        let fail = || {
            unknown(
                "--places",
                text,
                "threads, cores, ll_caches, numa_domains, sockets, one of these with (n), or {0:4}:3:8",
            )
        };
        let (name, count) = match word.split_once('(') {
            None => (word, None),
            Some((name, rest)) => {
                let digits = rest.strip_suffix(')').ok_or_else(fail)?.trim();
                let count = crate::topology::number(digits.as_bytes(), crate::topology::PU_LIMIT);
                (name.trim(), Some(count.ok().filter(|n| *n > 0).ok_or_else(fail)?))
            }
        };
        let of = match name.to_ascii_lowercase().as_str() {
            "threads" => Self::Threads,
            "cores" => Self::Cores,
            "ll_caches" => Self::LlCaches,
            "numa_domains" => Self::NumaDomains,
            "sockets" => Self::Sockets,
            _ => return Err(fail()),
        };
        Ok(match count {
            None => of,
            Some(count) => Self::First { of: Box::new(of), count },
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pu => "pu",
            Self::Core => "core",
        })
    }
}

impl FromStr for Pin {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "pu" => Ok(Self::Pu),
            "core" => Ok(Self::Core),
            _ => Err(unknown("--pin", text, "pu or core")),
        }
    }
}

impl fmt::Display for Smt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Last => "last",
            Self::Adjacent => "adjacent",
        })
    }
}

impl FromStr for Smt {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "last" => Ok(Self::Last),
            "adjacent" => Ok(Self::Adjacent),
            _ => Err(unknown("--smt", text, "off, last or adjacent")),
        }
    }
}

impl fmt::Display for CoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::P => "P",
            Self::E => "E",
        })
    }
}

impl FromStr for CoreKind {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Self, PlacementError> {
        match text.trim() {
            "P" | "p" => Ok(Self::P),
            "E" | "e" => Ok(Self::E),
            _ => Err(unknown("--kind", text, "P or E")),
        }
    }
}

/// The error for a word that an option does not know.
pub(super) fn unknown(option: &'static str, text: &str, expected: &'static str) -> PlacementError {
    PlacementError::Word { option, text: crate::topology::shown(text.as_bytes()), expected }
}
