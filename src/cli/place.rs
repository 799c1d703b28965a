//! The placement options, the same for every subcommand that has them.

#![forbid(unsafe_code)]

use clap::Args;
use pinpool::placement::{Bind, CoreKind, Pin, PlacementError, PlacementOptions, Places, Smt};

use super::numbers;

/// Where workers go. An option beats PINPOOL_WORKERS, _BIND and _PLACES, which beat OpenMP's and
/// Slurm's variables.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Placement")]
pub(super) struct PlaceArgs {
    /// How many workers [default: one per usable core, cut by the cgroup quota].
    #[arg(long, value_name = "T", value_parser = numbers::count)]
    pub(super) workers: Option<usize>,

    /// Which worker gets which place [default: close].
    #[arg(long, value_name = "none|close|spread|primary|compact|scatter|list:…")]
    pub(super) bind: Option<Bind>,

    /// What a place is [default: cores].
    #[arg(long, value_name = "threads|cores|ll_caches|numa_domains|sockets|{…}")]
    pub(super) places: Option<Places>,

    /// Hold a worker to the first PU of its place, or to all of them [default: pu].
    #[arg(long, value_name = "pu|core")]
    pub(super) pin: Option<Pin>,

    /// How compact and scatter use SMT siblings [default: off].
    #[arg(long, value_name = "off|last|adjacent")]
    pub(super) smt: Option<Smt>,

    /// Use only cores of this kind, on a machine with two.
    #[arg(long, value_name = "P|E")]
    pub(super) kind: Option<CoreKind>,

    /// Share places out where there are too few of them.
    #[arg(long)]
    pub(super) oversubscribe: bool,
}

impl PlaceArgs {
    /// Whether any of them was given.
    pub(super) fn any(&self) -> bool {
        self.workers.is_some()
            || self.bind.is_some()
            || self.places.is_some()
            || self.pin.is_some()
            || self.smt.is_some()
            || self.kind.is_some()
            || self.oversubscribe
    }

    /// What was asked for, and nothing else.
    pub(super) fn options(&self) -> PlacementOptions {
        PlacementOptions {
            workers: self.workers,
            bind: self.bind.clone(),
            places: self.places.clone(),
            pin: self.pin.unwrap_or_default(),
            smt: self.smt,
            kind: self.kind,
            oversubscribe: self.oversubscribe,
            ..PlacementOptions::default()
        }
    }

    /// What was asked for, with what that leaves open taken from the environment.
    pub(super) fn resolve(&self) -> Result<PlacementOptions, PlacementError> {
        self.options().from_env()
    }
}
