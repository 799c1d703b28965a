//! Speed-up against the number of workers, and where contention begins.
#![forbid(unsafe_code)]

use std::fmt;

use super::{Assumptions, ChunkCosts, SimulateError, Simulation, simulate};
use crate::placement::{PlacementOptions, plan};
use crate::topology::Topology;

/// Contention begins where workers lose more than this part of their working time to each other.
const CONTENTION: f64 = 0.05;

/// One simulated number of workers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Point {
    /// How many workers.
    pub workers: usize,
    /// From the call until the last chunk is done.
    pub makespan_ns: f64,
    /// How much faster than one worker.
    pub speedup: f64,
    /// The speed-up per worker.
    pub efficiency: f64,
    /// The part of the working time lost because PUs, cores or the quota are shared.
    pub lost_to_sharing: f64,
    /// The part of the working time lost at the memory roof.
    pub lost_to_memory: f64,
    /// The part of all time spent idle: waking up, and waiting for the last chunk.
    pub idle: f64,
}

/// Simulated scaling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Curve {
    /// The policy.
    pub bind: String,
    /// By number of workers, ascending; the first is one worker.
    pub points: Vec<Point>,
    /// The smallest simulated number of workers that take more than 5 % of their working time from each other.
    pub contention_from: Option<usize>,
}

/// Simulates one worker and each of these numbers of workers, placed by the same options.
///
/// # Errors
/// [`SimulateError`], where a number of workers cannot be placed or simulated.
pub fn curve(
    topology: &Topology,
    options: &PlacementOptions,
    workers: &[usize],
    costs: &ChunkCosts,
    assumptions: &Assumptions,
) -> Result<Curve, SimulateError> {
    let mut counts: Vec<usize> = workers.iter().copied().chain([1]).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut points: Vec<Point> = Vec::new();
    let mut bind = String::new();
    for count in counts {
        let options = PlacementOptions { workers: Some(count), ..options.clone() };
        let plan = plan(topology, &options)?;
        let run = simulate(topology, &plan, costs, assumptions)?;
        let alone = points.first().map_or(run.makespan_ns, |first| first.makespan_ns);
        bind = plan.bind.to_string();
        points.push(point(count, alone, &run));
    }
    // One worker has nobody to contend with: what it loses is lost on any number.
    let base = points[0].lost_to_sharing + points[0].lost_to_memory;
    let contention_from = (points.iter())
        .find(|point| point.lost_to_sharing + point.lost_to_memory - base > CONTENTION)
        .map(|point| point.workers);
    Ok(Curve { bind, points, contention_from })
}

fn point(workers: usize, alone_ns: f64, run: &Simulation) -> Point {
    let sum = |part: fn(&super::WorkerTime) -> f64| run.workers.iter().map(part).sum::<f64>();
    let (busy, shared, memory) = (sum(|t| t.busy_ns), sum(|t| t.shared_ns), sum(|t| t.memory_ns));
    let working = busy + shared + memory;
    let part = |of: f64, whole: f64| if whole > 0.0 { of / whole } else { 0.0 };
    let speedup = if run.makespan_ns > 0.0 { alone_ns / run.makespan_ns } else { 1.0 };
    Point {
        workers,
        makespan_ns: run.makespan_ns,
        speedup,
        efficiency: speedup / workers as f64,
        lost_to_sharing: part(shared, working),
        lost_to_memory: part(memory, working),
        idle: part(sum(|t| t.idle_ns), run.makespan_ns * workers as f64),
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "simulated, bind {}", self.bind)?;
        writeln!(f, "workers     time ms  speed-up  efficiency  sharing  memory    idle")?;
        for p in &self.points {
            writeln!(
                f,
                "{:7} {:11.3} {:9.2} {:10.0}% {:7.1}% {:6.1}% {:6.1}%",
                p.workers,
                p.makespan_ns / 1e6,
                p.speedup,
                p.efficiency * 100.0,
                p.lost_to_sharing * 100.0,
                p.lost_to_memory * 100.0,
                p.idle * 100.0
            )?;
        }
        match self.contention_from {
            Some(workers) => writeln!(f, "contention begins at {workers} workers"),
            None => writeln!(f, "no contention up to here"),
        }
    }
}
