//! What a simulation is fed with, measured on this machine: what each chunk costs a worker on a
//! core of its own, what the claim of a chunk costs, and what memory gives.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use pinpool::placement::{Bind, PlacementOptions};
use pinpool::simulate::ChunkCosts;
use pinpool::topology::Topology;
use pinpool::{Backend, EventKind, Numa, Pages, Pool, Timeline, indices};

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::kernels::{Form, Job, Traffic, WithJob};
use crate::cli::pages::{NodeArgs, PagesArgs};
use crate::cli::plan::Plan;
use crate::cli::progress::Progress;
use crate::cli::roof::{Roof, last_level_bytes};
use crate::cli::session::{Session, Setup};

/// The array lies where the system puts it.
const MEMORY: PagesArgs =
    PagesArgs { pages: Pages::System, place: NodeArgs { numa: Numa::Default, prefault: false } };
/// Empty chunks that a claim is timed with.
const CLAIMS: u64 = 100_000;
/// Chunks of which a second worker steals half.
const STEALS: u64 = 2_000;
/// All cores together reach this part of so many times what one reaches: no roof was met.
const NO_ROOF: f64 = 0.9;

/// The chunks of one chunk length.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) costs: ChunkCosts,
    /// Elements in a chunk, in the user's terms.
    pub(super) len: usize,
    pub(super) elements: usize,
    /// What the kernel moves, where it goes through an array.
    pub(super) traffic: Option<Traffic>,
    /// The array and the results.
    pub(super) working_bytes: u64,
    /// Whether each chunk was timed apart; else there were too many, and all cost the mean.
    pub(super) each: bool,
}

impl Chunks {
    pub(super) fn total_ns(&self) -> f64 {
        match &self.costs {
            ChunkCosts::Each(costs) => costs.iter().sum(),
            ChunkCosts::Same { chunks, ns } => *chunks as f64 * ns,
            _ => 0.0,
        }
    }
}

/// Times the chunks of a job, `repeat` times each.
pub(super) struct TimeChunks<'a> {
    pub(super) repeat: usize,
    pub(super) found: &'a mut Option<Chunks>,
}

impl WithJob for TimeChunks<'_> {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure> {
        let quiet = Progress::new(true);
        let placement = workers(1);
        let backend = Backend::Processes;
        let setup =
            Setup { plan, backend, placement: &placement, pages: MEMORY, name: None, trace: true };
        let mut session = Session::open(job, &setup)?;
        session.fill(&quiet)?;
        let mut slots = session.run(Form::Blocking, &quiet)?;
        session.forget_time();
        let mut times = vec![Vec::new(); session.report(&slots).chunks];
        let mut whole = true;
        for _ in 0..self.repeat {
            session.refill(&quiet)?;
            slots = session.run(Form::Blocking, &quiet)?;
            whole &= add_run(&mut times, &session.timeline(), session.ran_ns().0);
        }
        let report = session.report(&slots);
        let mean = report.seconds.run * 1e9 / report.chunks as f64;
        let each = times.into_iter().map(|times| median(times).map(|ns| ns.max(1.0)));
        let each: Option<Vec<f64>> = each.collect();
        let costs = match each.filter(|_| whole) {
            Some(each) => ChunkCosts::Each(each),
            None => ChunkCosts::Same { chunks: report.chunks, ns: mean },
        };
        *self.found = Some(Chunks {
            each: matches!(costs, ChunkCosts::Each(_)),
            costs,
            len: report.chunk,
            elements: report.elements,
            traffic: job.traffic(),
            working_bytes: session.working_bytes(&slots),
        });
        Ok(Exit::Done)
    }
}

/// Adds what each chunk took in the run that began at `start`, its undo copy included; says
/// whether the ring had room for the whole run.
fn add_run(times: &mut [Vec<f64>], timeline: &Timeline, start: u64) -> bool {
    let mut run = vec![0.0; times.len()];
    for event in timeline.events().iter().filter(|event| event.start_ns >= start) {
        let of_chunk =
            matches!(event.kind, EventKind::Chunk | EventKind::StolenChunk | EventKind::Journal);
        if let (true, Some(sum)) = (of_chunk, run.get_mut(event.chunk as usize)) {
            *sum += (event.end_ns - event.start_ns) as f64;
        }
    }
    let whole = run.iter().all(|&ns| ns > 0.0);
    times.iter_mut().zip(run).for_each(|(times, ns)| times.push(ns));
    whole
}

/// What the pool itself costs, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overheads {
    pub(super) claim_ns: f64,
    pub(super) steal_ns: f64,
    /// From a call to a worker that is awake, as it is in the middle of a sweep.
    pub(super) wake_ns: f64,
}

impl Overheads {
    pub(super) fn measure(topology: &Topology) -> Result<Overheads, Failure> {
        let one = Pool::builder().placement(workers(1)).build()?;
        let mut claims = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            one.for_each(indices(CLAIMS), |_, _| ())?;
            claims.push(started.elapsed().as_secs_f64() * 1e9 / CLAIMS as f64);
        }
        let mut calls = Vec::new();
        for _ in 0..200 {
            let started = Instant::now();
            one.for_each(indices(1), |_, _| ())?;
            calls.push(started.elapsed().as_secs_f64() * 1e9);
        }
        let claim_ns = median(claims).unwrap_or(0.0);
        let wake_ns = median(calls).unwrap_or(0.0);
        drop(one);
        let steal_ns = if topology.usable_cores().len() > 1 { steal(claim_ns)? } else { claim_ns };
        Ok(Overheads { claim_ns, steal_ns, wake_ns })
    }
}

/// The median search in another worker's share.
fn steal(claim_ns: f64) -> Result<f64, Failure> {
    let two = Pool::builder().placement(workers(2)).trace(8 * STEALS as usize).build()?;
    two.for_each(indices(STEALS), |chunk, _| {
        // The first share is slow, so that the second worker comes for it.
        let long = Duration::from_micros(if chunk < STEALS / 2 { 4 } else { 0 });
        let started = Instant::now();
        while started.elapsed() < long {
            std::hint::spin_loop();
        }
    })?;
    let timeline = two.timeline().unwrap_or_default();
    let searches = timeline.events().iter().filter(|event| event.kind == EventKind::Steal);
    let searches = searches.map(|event| (event.end_ns - event.start_ns) as f64).collect();
    Ok(median(searches).unwrap_or(claim_ns).max(claim_ns))
}

/// What this machine's memory says of the roof.
#[derive(Debug)]
pub(super) enum MemoryHere {
    /// All cores together got less than so many times what one gets.
    Roof { cores: usize, roof: Roof },
    /// They did not: the roof is higher than this.
    NotMet { cores: usize, roof: Roof },
    /// Nothing of the array has to come from memory.
    InCaches,
    /// The kernel goes through no array.
    NoArray,
}

impl MemoryHere {
    pub(super) fn measure(topology: &Topology, chunks: &Chunks) -> Result<MemoryHere, Failure> {
        let Some(traffic) = chunks.traffic else {
            return Ok(MemoryHere::NoArray);
        };
        if chunks.working_bytes <= last_level_bytes(topology) {
            return Ok(MemoryHere::InCaches);
        }
        let cores = topology.usable_cores().len();
        let one = Roof::measure(topology, &workers(1), MEMORY)?.of(traffic.writes());
        let roof = Roof::measure(topology, &workers(cores), MEMORY)?;
        let together = roof.of(traffic.writes());
        Ok(if cores > 1 && together < NO_ROOF * cores as f64 * one {
            MemoryHere::Roof { cores, roof }
        } else {
            MemoryHere::NotMet { cores, roof }
        })
    }
}

fn workers(count: usize) -> PlacementOptions {
    PlacementOptions { workers: Some(count), bind: Some(Bind::Close), ..Default::default() }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
