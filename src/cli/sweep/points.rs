//! What is swept: every combination once, with all that the words leave open filled in.
//!
//! The environment is read here and nowhere else, so that what is timed, what the file of
//! measurements says of it and the command that is advised are the same placement. The pool reads it
//! again and finds nothing open.

#![forbid(unsafe_code)]

use pinpool::Pages;
use pinpool::placement::{self, Bind, Pin, PlacementOptions};
use pinpool::topology::Topology;

use super::SweepArgs;
use crate::cli::failure::Failure;
use crate::cli::pages::{NodeArgs, PagesArgs};

/// One combination.
#[derive(Debug, Clone)]
pub(super) struct Point {
    /// With the number of workers, the policy, and all that the environment adds.
    pub(super) placement: PlacementOptions,
    pub(super) workers: usize,
    pub(super) bind: String,
    /// What places are, in the words of the command line.
    pub(super) places: String,
    pub(super) pages: Pages,
    pub(super) nodes: NodeArgs,
    /// As it is asked for; `None` for the default.
    pub(super) chunk: Option<usize>,
}

impl Point {
    /// All combinations, on this machine.
    pub(super) fn all(args: &SweepArgs, topology: &Topology) -> Result<Vec<Point>, Failure> {
        let ends = |all| if all > 1 { vec![1, all] } else { vec![1] };
        let (pages, chunks) = (once(&args.pages), chunks(args));
        let mut points = Vec::new();
        for policy in Policy::all(args, topology, Whose::Ours, ends)? {
            let places = place_words(&policy.options).join(" ");
            for &workers in &policy.counts {
                for &pages in &pages {
                    points.extend(chunks.iter().map(|&chunk| Point {
                        placement: policy.with(workers),
                        workers,
                        bind: policy.bind.to_string(),
                        places: places.clone(),
                        pages,
                        nodes: args.nodes,
                        chunk,
                    }));
                }
            }
        }
        Ok(points)
    }

    pub(super) fn pages_args(&self) -> PagesArgs {
        PagesArgs { pages: self.pages, place: self.nodes }
    }
}

/// Whose machine it is that workers are placed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// This one, of which the environment speaks.
    Ours,
    /// One that is only simulated.
    Anothers,
}

/// A policy with the numbers of workers to sweep it over.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) bind: Bind,
    pub(super) counts: Vec<usize>,
    options: PlacementOptions,
}

impl Policy {
    /// Each policy once. Where no numbers of workers were asked for they are `defaults` of the one
    /// that `pinpool run` takes with this policy and these places.
    pub(super) fn all(
        args: &SweepArgs,
        topology: &Topology,
        whose: Whose,
        defaults: impl Fn(usize) -> Vec<usize>,
    ) -> Result<Vec<Policy>, Failure> {
        let asked: Vec<_> = args.bind.iter().flat_map(|policies| policies.0.clone()).collect();
        let mut binds: Vec<Option<Bind>> = once(&asked).into_iter().map(Some).collect();
        if binds.is_empty() {
            binds.push(None);
        }
        let mut policies = Vec::new();
        for bind in binds {
            let mut options = PlacementOptions { bind, ..args.placement() };
            if whose == Whose::Ours {
                options = options.from_env()?;
            }
            options.workers = options.workers.filter(|_| args.workers.is_empty());
            // Any number of workers has the same policy; whether it fits is seen below.
            let one = PlacementOptions { workers: Some(1), ..options.clone() };
            let bind = placement::plan(topology, &one)?.bind;
            let counts = if args.workers.is_empty() {
                defaults(placement::plan(topology, &options)?.workers.len())
            } else {
                once(&args.workers)
            };
            let options = PlacementOptions {
                workers: None,
                bind: Some(bind.clone()),
                remarks: Vec::new(),
                ..options
            };
            let policy = Policy { bind, counts, options };
            for &workers in &policy.counts {
                placement::plan(topology, &policy.with(workers))?;
            }
            policies.push(policy);
        }
        Ok(policies)
    }

    /// The placement of so many workers.
    pub(super) fn with(&self, workers: usize) -> PlacementOptions {
        PlacementOptions { workers: Some(workers), ..self.options.clone() }
    }
}

/// The chunk lengths; `None` is the default one.
pub(super) fn chunks(args: &SweepArgs) -> Vec<Option<usize>> {
    if args.chunks.is_empty() {
        vec![args.job.chunk]
    } else {
        once(&args.chunks).into_iter().map(Some).collect()
    }
}

/// What places are and which of their PUs are used, in the words of the command line; none where
/// all of it is as by default.
pub(super) fn place_words(placement: &PlacementOptions) -> Vec<String> {
    let words = [
        ("--places", placement.places.as_ref().map(ToString::to_string)),
        ("--pin", (placement.pin != Pin::default()).then(|| placement.pin.to_string())),
        ("--smt", placement.smt.map(|smt| smt.to_string())),
        ("--kind", placement.kind.map(|kind| kind.to_string())),
    ];
    let given = words.into_iter().filter_map(|(option, word)| Some([option.to_owned(), word?]));
    given.flatten().collect()
}

/// Each of them once, in the order in which they were given.
fn once<T: Clone + PartialEq>(given: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for one in given {
        if !kept.contains(one) {
            kept.push(one.clone());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn counts(words: &str, machine: &str) -> Vec<(String, Vec<usize>)> {
        let words = ["pinpool", "sweep", "trig-power"].into_iter().chain(words.split_whitespace());
        let Command::Sweep(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("no sweep");
        };
        let machine = Topology::synthetic(machine).unwrap();
        let policies = Policy::all(&args, &machine, Whose::Anothers, |all| vec![all]).unwrap();
        policies.into_iter().map(|policy| (policy.bind.to_string(), policy.counts)).collect()
    }

    #[test]
    fn the_default_number_of_workers_is_that_of_each_policy_and_its_places() {
        let machine = "package:2 core:4 pu:2";
        let one = |bind: &str, all: usize| (bind.to_owned(), vec![all]);
        assert_eq!(counts("", machine), [one("close", 8)]);
        assert_eq!(counts("--places threads", machine), [one("close", 16)]);
        assert_eq!(counts("--places threads(3)", machine), [one("close", 3)]);
        let both = counts("--bind close,list:0-2,close", machine);
        assert_eq!(both, [one("close", 8), one("list:0-2", 3)]);
        let asked = counts("--workers 4,2,4", machine);
        assert_eq!(asked, [("close".to_owned(), vec![4, 2])]);
    }

    #[test]
    fn siblings_without_a_policy_are_those_of_compact() {
        assert_eq!(counts("--smt last", "core:2 pu:2"), [("compact".to_owned(), vec![2])]);
    }
}
