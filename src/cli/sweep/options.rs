//! The words of `pinpool sweep`, as clap reads them.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use pinpool::Pages;
use pinpool::placement::{Bind, CoreKind, Pin, PlacementError, PlacementOptions, Places, Smt};

use crate::cli::args::JobArgs;
use crate::cli::numbers;
use crate::cli::pages::NodeArgs;

/// Policies between commas, as many as there are; a number goes on with the list before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Policies(pub(in crate::cli) Vec<Bind>);

impl FromStr for Policies {
    type Err = PlacementError;

    fn from_str(text: &str) -> Result<Policies, PlacementError> {
        let mut words: Vec<String> = Vec::new();
        for piece in text.split(',') {
            match words.last_mut() {
                Some(word)
                    if word.starts_with("list:")
                        && piece.starts_with(|c: char| c.is_ascii_digit()) =>
                {
                    word.push(',');
                    word.push_str(piece);
                }
                _ => words.push(piece.to_owned()),
            }
        }
        words.iter().map(|word| word.parse()).collect::<Result<_, _>>().map(Policies)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SweepArgs {
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,

    /// Numbers of workers, such as 1,2,4 [default: 1 and, for each policy, the one that `run` takes].
    #[arg(long, value_name = "T,…", value_delimiter = ',', value_parser = numbers::count)]
    pub(in crate::cli) workers: Vec<usize>,

    /// Policies, such as close,spread,list:0,2 [default: the one that `run` takes].
    #[arg(long, value_name = "POLICY,…")]
    pub(in crate::cli) bind: Vec<Policies>,

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_among_policies_has_its_commas() {
        let read = |text: &str| text.parse::<Policies>().map(|p| p.0);
        let one = |text: &str| text.parse::<Bind>().unwrap();
        let found = read("close,list:0,2,4-8:2,spread,list:1").unwrap();
        assert_eq!(found, ["close", "list:0,2,4-8:2", "spread", "list:1"].map(one));
        for text in ["close,1", "", "close,", "list:0,,2", "near"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
