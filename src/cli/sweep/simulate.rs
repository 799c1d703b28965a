//! `pinpool sweep --simulate`: the same table for a machine that one does not have.
//!
//! The chunks are timed here with one worker, the claims and the memory too; placement and the
//! claim schedule are then played through on the other machine. What comes out is called
//! simulated wherever it stands, and with it stands what was taken for granted.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use pinpool::Pages;
use pinpool::placement::{self, PlacementOptions};
use pinpool::simulate::{Assumptions, Memory, SharedBy, curve};
use pinpool::topology::Topology;
use serde::Serialize;

use super::SweepArgs;
use super::costs::{Chunks, MemoryHere, Overheads, TimeChunks};
use super::points::{Policy, Whose, chunks};
use super::report::{command_line, run_command};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::interrupt;
use crate::cli::kernels::with_job;
use crate::cli::page::{self, Left, Page, PageFile, Simulated};
use crate::cli::pages::PagesArgs;
use crate::cli::plan::Plan;

const COLUMNS: &str =
    "simulated,workers,bind,chunk,seconds,speedup,efficiency,lost_to_sharing,lost_to_memory,idle";

/// All that a simulation says.
#[derive(Debug, Serialize)]
struct Expected {
    simulated: bool,
    topology: String,
    kernel: &'static str,
    /// The fastest first.
    points: Vec<Row>,
    contention: Vec<Contention>,
    assumptions: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(skip)]
    placement: PlacementOptions,
    /// Which of the plans.
    #[serde(skip)]
    job: usize,
    simulated: bool,
    workers: usize,
    bind: String,
    chunk: usize,
    seconds: f64,
    speedup: f64,
    efficiency: f64,
    /// Parts of the working time.
    lost_to_sharing: f64,
    lost_to_memory: f64,
    /// The part of all time.
    idle: f64,
}

/// Where the workers of a policy begin to take time from each other.
#[derive(Debug, Serialize)]
struct Contention {
    bind: String,
    chunk: usize,
    /// None up to the most workers that were simulated.
    from_workers: Option<usize>,
}

pub(super) fn run(args: &SweepArgs, machine: &str) -> Result<Exit, Failure> {
    let topology = read(machine)?;
    let here = Topology::current()?;
    let policies = Policy::all(args, &topology, Whose::Anothers, doubled)?;
    let jobs = jobs(args)?;
    interrupt::listen()?;
    let page = args.report.as_deref().map(PageFile::open).transpose()?;
    let overheads = Overheads::measure(&here)?;
    let mut expected = Expected {
        simulated: true,
        topology: machine.to_owned(),
        kernel: jobs[0].kernel.name(),
        points: Vec::new(),
        contention: Vec::new(),
        assumptions: Vec::new(),
    };
    let (mut memory, mut elements) = (None, 0);
    for (at, job) in jobs.iter().enumerate() {
        let mut found = None;
        with_job(job, TimeChunks { repeat: args.repeat, found: &mut found })?;
        let chunks = found.expect("the job has run");
        if memory.is_none() {
            memory = Some(MemoryHere::measure(&here, &chunks)?);
            elements = chunks.elements;
        }
        let roof = memory.as_ref().and_then(|here| roof(args, here, &chunks));
        let assumptions = assumptions(args, overheads, roof, &chunks);
        for policy in &policies {
            let (options, counts) = (policy.with(1), &policy.counts);
            let curve = curve(&topology, &options, counts, &chunks.costs, &assumptions)?;
            expected.add(&curve, policy, (at, chunks.len));
            interrupt::check()?;
        }
        expected.assumptions.push(timed(&chunks));
    }
    expected.points.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    expected.assumptions.extend(stated(args, overheads, memory.as_ref()));
    expected.write(args, page, &|expected| expected.page(args, &jobs, &topology, elements))
}

/// The machine: a directory with `sys` and `proc`, or words.
fn read(machine: &str) -> Result<Topology, Failure> {
    if Path::new(machine).is_dir() || machine.contains('/') {
        return Ok(Topology::read(Path::new(machine))?);
    }
    Topology::synthetic(machine).map_err(Failure::Synthetic)
}

/// Powers of two and all.
fn doubled(all: usize) -> Vec<usize> {
    std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|&n| n < all).chain([all]).collect()
}

/// A plan for each chunk length.
fn jobs(args: &SweepArgs) -> Result<Vec<Plan>, Failure> {
    let jobs = chunks(args).into_iter().map(|chunk| {
        let mut job = args.job.clone();
        job.chunk = chunk;
        Ok(Plan::of(&job)?)
    });
    jobs.collect()
}

/// Bytes a second of a NUMA node, where there is a roof to speak of.
fn roof(args: &SweepArgs, here: &MemoryHere, chunks: &Chunks) -> Option<f64> {
    let traffic = chunks.traffic?;
    match (args.roof, here) {
        (Some(gigabytes), _) => Some(gigabytes * 1e9),
        (None, MemoryHere::Roof { roof, .. }) => Some(roof.of(traffic.writes())),
        (None, _) => None,
    }
}

fn assumptions(
    args: &SweepArgs,
    overheads: Overheads,
    roof: Option<f64>,
    chunks: &Chunks,
) -> Assumptions {
    let bytes = chunks.traffic.map_or(0, |traffic| traffic.bytes(chunks.len, chunks.len));
    Assumptions {
        claim_ns: overheads.claim_ns,
        steal_ns: overheads.steal_ns,
        wake_ns: overheads.wake_ns,
        smt_throughput: args.smt_throughput,
        efficiency_core_speed: args.e_core_speed,
        memory: roof.map(|bytes_per_second| Memory {
            bytes_per_chunk: bytes as f64,
            bytes_per_second,
            shared_by: SharedBy::NumaNode,
        }),
    }
}

/// What was timed of one chunk length.
fn timed(chunks: &Chunks) -> String {
    let count = chunks.costs.len();
    let how = if chunks.each { "each timed" } else { "too many to time each: all cost the mean" };
    format!(
        "measured here, one worker on a core of its own: {count} chunks of {}, {how}, {:.3} µs in the mean",
        chunks.len,
        chunks.total_ns() / count as f64 / 1e3
    )
}

/// What was measured else, and what nobody measured.
fn stated(args: &SweepArgs, overheads: Overheads, memory: Option<&MemoryHere>) -> Vec<String> {
    let Overheads { claim_ns, steal_ns, wake_ns } = overheads;
    let gb = |roof: &crate::cli::roof::Roof| {
        format!("{:.2} GB/s read, {:.2} copied", roof.read / 1e9, roof.copy / 1e9)
    };
    let memory = match (memory, args.roof) {
        (Some(MemoryHere::NoArray) | None, _) => {
            "no memory roof: the kernel goes through no array".to_owned()
        }
        (_, Some(asked)) => format!("a NUMA node moves {asked} GB/s, as --roof says"),
        (Some(MemoryHere::Roof { cores, roof }), None) => format!(
            "a NUMA node moves what the {cores} cores here move together ({}); --roof GB/S sets another",
            gb(roof)
        ),
        (Some(MemoryHere::NotMet { cores, roof }), None) => format!(
            "no memory roof: {cores} here do not meet one ({}); --roof GB/S sets one",
            gb(roof)
        ),
        (Some(MemoryHere::InCaches), None) => {
            "no memory roof: the array fits the caches here; --roof GB/S sets one".to_owned()
        }
    };
    vec![
        format!("measured here: a claim {claim_ns:.0} ns, a steal {steal_ns:.0} ns, a call of workers that are awake {wake_ns:.0} ns; they cost the same however many claim"),
        memory,
        format!("SMT siblings of a core together do {} of what one alone does (--smt-throughput)", args.smt_throughput),
        format!("an efficiency core does {} of what a performance core does (--e-core-speed)", args.e_core_speed),
        "its cores are as fast as these here, whatever their number: no smaller caches per worker, no lower clock, nobody else on the machine".to_owned(),
    ]
}

impl Expected {
    fn add(
        &mut self,
        curve: &pinpool::simulate::Curve,
        policy: &Policy,
        (job, chunk): (usize, usize),
    ) {
        self.contention.push(Contention {
            bind: curve.bind.clone(),
            chunk,
            from_workers: curve.contention_from,
        });
        self.points.extend(curve.points.iter().map(|point| Row {
            placement: policy.with(point.workers),
            job,
            simulated: true,
            workers: point.workers,
            bind: curve.bind.clone(),
            chunk,
            seconds: point.makespan_ns / 1e9,
            speedup: point.speedup,
            efficiency: point.efficiency,
            lost_to_sharing: point.lost_to_sharing,
            lost_to_memory: point.lost_to_memory,
            idle: point.idle,
        }));
    }

    fn write(
        &self,
        args: &SweepArgs,
        file: Option<PageFile>,
        page: &dyn Fn(&Expected) -> Result<Page, Failure>,
    ) -> Result<Exit, Failure> {
        let text = if args.json {
            serde_json::to_string(self).expect("a simulation is plain data")
        } else {
            self.text()
        };
        // Each of the three is made whatever becomes of the others.
        let printed = writeln!(io::stdout().lock(), "{text}").map_err(Failure::Stdout);
        let kept = args.csv.as_ref().map_or(Ok(()), |path| {
            let failed = |source| Failure::System { action: "write the simulation", source };
            fs::write(path, self.csv()).map_err(failed)
        });
        let reported = file.map_or(Ok(()), |file| file.write(&page(self)?));
        printed.and(kept).and(reported).map(|()| Exit::Done)
    }

    fn contention(&self) -> Vec<String> {
        let most = self.points.iter().map(|row| row.workers).max().unwrap_or(1);
        let sentence = |c: &Contention| match c.from_workers {
            Some(from) => format!(
                "With bind {} and chunks of {} contention begins at {from} workers: they take more than 5 % of their working time from each other.",
                c.bind, c.chunk
            ),
            None => format!(
                "With bind {} and chunks of {} there is no contention up to {most} workers.",
                c.bind, c.chunk
            ),
        };
        self.contention.iter().map(sentence).collect()
    }

    fn csv(&self) -> String {
        let mut text = format!("# simulated: {} on {:?}\n", self.kernel, self.topology);
        for line in &self.assumptions {
            text += &format!("# {line}\n");
        }
        text += COLUMNS;
        text.push('\n');
        for row in &self.points {
            let Row { workers, bind, chunk, seconds, speedup, efficiency, .. } = row;
            let Row { lost_to_sharing, lost_to_memory, idle, .. } = row;
            text += &format!(
                "true,{workers},\"{bind}\",{chunk},{seconds:e},{speedup},{efficiency},{lost_to_sharing},{lost_to_memory},{idle}\n"
            );
        }
        text
    }

    fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "BIND",
            "WORKERS",
            "CHUNK",
            "EXPECTED s",
            "SPEED-UP",
            "EFFICIENCY",
            "SHARING",
            "MEMORY",
            "IDLE",
        ]);
        let percent = |part: f64| format!("{:.1} %", part * 100.0);
        for row in &self.points {
            table.add_row([
                row.bind.clone(),
                row.workers.to_string(),
                row.chunk.to_string(),
                format!("{:.6}", row.seconds),
                format!("{:.2}", row.speedup),
                percent(row.efficiency),
                percent(row.lost_to_sharing),
                percent(row.lost_to_memory),
                percent(row.idle),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = format!(
            "simulated, not run: {} on {}\n{}\n",
            self.kernel,
            self.topology,
            table.trim_fmt()
        );
        for line in self.contention() {
            text += &format!("\n{line}");
        }
        text += "\n\nassumed:";
        for line in &self.assumptions {
            text += &format!("\n- {line}");
        }
        text
    }

    fn page(
        &self,
        args: &SweepArgs,
        jobs: &[Plan],
        topology: &Topology,
        elements: usize,
    ) -> Result<Page, Failure> {
        let mut points = Vec::new();
        for row in &self.points {
            points.push(page::Point {
                bind: row.bind.clone(),
                pages: None,
                workers: row.workers,
                chunk: row.chunk,
                oversubscribed: placement::plan(topology, &row.placement)?.oversubscribed,
                seconds: row.seconds,
                low: row.seconds,
                high: row.seconds,
                confidence: 1.0,
                runs: 0,
                outliers: 0,
                command: run_command(
                    (&args.job, &jobs[row.job]),
                    &row.placement,
                    row.chunk,
                    PagesArgs { pages: Pages::System, place: args.nodes },
                ),
                lost: Some([row.lost_to_sharing, row.lost_to_memory]),
            });
        }
        Ok(Page {
            many_pages: false,
            kernel: self.kernel,
            elements,
            swept: command_line(),
            simulated: Some(Simulated {
                topology: self.topology.clone(),
                assumptions: self.assumptions.clone(),
                contention: self.contention(),
            }),
            machine: topology.draw(None),
            points,
            traffic: None,
            roofs: Vec::new(),
            timelines: Vec::new(),
            repeats: 0,
            left: Left::default(),
        })
    }
}
