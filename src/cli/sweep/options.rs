//! The words of `pinpool sweep`, as clap reads them.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pinpool::Pages;
use pinpool::placement::{Bind, CoreKind, Pin, PlacementOptions, Places, Smt};

use crate::cli::args::JobArgs;
use crate::cli::numbers;
use crate::cli::pages::NodeArgs;

#[derive(Debug, Args)]
pub(in crate::cli) struct SweepArgs {
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,

    /// Numbers of workers, such as 1,2,4 [default: 1 and, for each policy, the one that `run` takes].
    #[arg(long, value_name = "T,…", value_delimiter = ',', value_parser = numbers::count)]
    pub(in crate::cli) workers: Vec<usize>,

    /// Policies, such as close,spread [default: the one that `run` takes].
    #[arg(long, value_name = "POLICY,…", value_delimiter = ',')]
    pub(in crate::cli) bind: Vec<Bind>,

    /// Chunk lengths, such as 1k,32k [default: the one that `run` takes].
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = numbers::count, conflicts_with = "chunk")]
    pub(in crate::cli) chunks: Vec<usize>,

    /// Kinds of pages, such as base,thp: the array is made anew for each measurement.
    #[arg(long, value_name = "KIND,…", value_delimiter = ',', default_value = "system")]
    pub(in crate::cli) pages: Vec<Pages>,

    #[command(flatten)]
    pub(in crate::cli) nodes: NodeArgs,

    /// What a place is [default: cores].
    #[arg(long, value_name = "threads|cores|ll_caches|numa_domains|sockets|{…}")]
    pub(in crate::cli) places: Option<Places>,

    /// Hold a worker to the first PU of its place, or to all of them [default: pu].
    #[arg(long, value_name = "pu|core")]
    pub(in crate::cli) pin: Option<Pin>,

    /// How compact and scatter use SMT siblings [default: off].
    #[arg(long, value_name = "off|last|adjacent")]
    pub(in crate::cli) smt: Option<Smt>,

    /// Use only cores of this kind, on a machine with two.
    #[arg(long, value_name = "P|E")]
    pub(in crate::cli) kind: Option<CoreKind>,

    /// Let there be more workers than places.
    #[arg(long)]
    pub(in crate::cli) oversubscribe: bool,

    /// Time each combination so often, all of them in random order.
    #[arg(long, value_name = "N", default_value = "7", value_parser = numbers::count)]
    pub(in crate::cli) repeat: usize,

    /// Seed of that order.
    #[arg(long, value_name = "N", default_value = "1", value_parser = numbers::integer)]
    pub(in crate::cli) order: u64,

    /// Begin no measurement after this time; what --report runs once more is not among them.
    #[arg(long, value_name = "SECONDS", value_parser = numbers::seconds)]
    pub(in crate::cli) budget: Option<Duration>,

    /// Write each measurement to this file as soon as it is made.
    #[arg(long, value_name = "FILE.csv")]
    pub(in crate::cli) csv: Option<PathBuf>,

    /// Go on with the file of --csv where an earlier sweep of the same job has left off.
    #[arg(long, requires = "csv")]
    pub(in crate::cli) resume: bool,

    /// Write a page with plots and advice to this file, which any browser opens without a network.
    ///
    /// For it the best setting and the one with the most workers are run once more, with a trace,
    /// and the bandwidth of the memory is measured. With --resume the page is made of an earlier
    /// sweep's file.
    #[arg(long, value_name = "FILE.html")]
    pub(in crate::cli) report: Option<PathBuf>,

    /// Time the chunks here with one worker, and say how the kernel would scale on this machine: a
    /// directory with another machine's sys and proc, or words such as "package:2 core:64 pu:2".
    ///
    /// The default numbers of workers are the powers of two and the one that `run` would take there.
    /// The environment speaks of this machine, and is not asked.
    #[arg(long, value_name = "DIR|TEXT", conflicts_with_all = ["resume", "budget", "order", "pages", "numa", "prefault"])]
    pub(in crate::cli) simulate: Option<String>,

    /// GB/s of a NUMA node of the simulated machine [default: what is measured here, where all
    /// cores together meet a roof; else none].
    #[arg(long, value_name = "GB/S", requires = "simulate", value_parser = numbers::above_zero)]
    pub(in crate::cli) roof: Option<f64>,

    /// What the SMT siblings of a simulated core do together, where one alone does 1.
    #[arg(long, value_name = "FACTOR", requires = "simulate", default_value = "1", value_parser = numbers::above_zero)]
    pub(in crate::cli) smt_throughput: f64,

    /// What a simulated efficiency core does, where a performance core does 1.
    #[arg(long, value_name = "FACTOR", requires = "simulate", default_value = "1", value_parser = numbers::above_zero)]
    pub(in crate::cli) e_core_speed: f64,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(in crate::cli) json: bool,

    /// No remarks: nothing on standard error but errors.
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
}

impl SweepArgs {
    /// What all that is swept has in common, as far as the words say it.
    pub(in crate::cli) fn placement(&self) -> PlacementOptions {
        PlacementOptions {
            places: self.places.clone(),
            pin: self.pin.unwrap_or_default(),
            smt: self.smt,
            kind: self.kind,
            oversubscribe: self.oversubscribe,
            ..PlacementOptions::default()
        }
    }
}
