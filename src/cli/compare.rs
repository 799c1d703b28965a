//! `pinpool compare`: the same job serially, in threads, in processes, and in processes by the
//! asynchronous form, side by side.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};
use pinpool::topology::Topology;
use pinpool::{Backend, placement};
use serde::Serialize;

use super::args::CompareArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::kernels::{Form, Job, WithJob, with_job};
use super::numbers::Bytes;
use super::plan::Plan;
use super::progress::Progress;
use super::report::Report;
use super::session::{Session, Setup, write_trace};
use super::{interrupt, memory};

/// In this order: the first is what the others are measured against.
const ROWS: [(Backend, Form<'static>); 4] = [
    (Backend::Serial, Form::Blocking),
    (Backend::Threads, Form::Blocking),
    (Backend::Processes, Form::Blocking),
    (Backend::Processes, Form::Scoped),
];

pub(super) fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    let plan = Plan::of(&args.job)?;
    plan.check_pages(&args.pages)?;
    with_job(&plan, args)
}

impl WithJob for &CompareArgs {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure> {
        compare(job, plan, self)
    }
}

/// All runs and their verdict.
#[derive(Debug, Serialize)]
struct Comparison {
    runs: Vec<Run>,
    /// Whether all have the same bits.
    identical: bool,
}

/// One backend's run, measured against the serial one.
#[derive(Debug, Serialize)]
struct Run {
    #[serde(flatten)]
    report: Report,
    speed_up: f64,
    /// The speed-up by worker.
    efficiency: f64,
    /// Whether the slots have the serial run's bits.
    identical: bool,
}

fn compare<J: Job>(job: J, plan: &Plan, args: &CompareArgs) -> Result<Exit, Failure> {
    interrupt::listen()?;
    let placement = args.place.options();
    // What cannot be met is said now, and not after the serial run.
    placement::plan(&Topology::current()?, &args.place.resolve()?)?;
    let progress = Progress::new(args.quiet);
    let (mut reports, mut timelines) = (Vec::new(), Vec::new());
    for (backend, form) in ROWS {
        memory::forget_peak();
        let trace = args.trace.is_some();
        let setup =
            Setup { plan, backend, placement: &placement, pages: args.pages, name: None, trace };
        let mut session = Session::open(job, &setup)?;
        session.fill(&progress)?;
        let mut slots = session.run(form, &progress)?;
        for _ in 1..args.repeat {
            session.refill(&progress)?;
            slots = session.run(form, &progress)?;
        }
        let mut report = session.report(&slots);
        if form == Form::Scoped {
            report.backend = "processes async";
        }
        timelines.push((report.backend, session.timeline()));
        reports.push(report);
    }
    if let Some(path) = &args.trace {
        let named: Vec<_> = timelines.iter().map(|(name, line)| (*name, line)).collect();
        write_trace(path, &named)?;
    }
    let comparison = Comparison::of(reports);
    let mut out = io::stdout().lock();
    let text = if args.json {
        serde_json::to_string(&comparison).expect("a comparison is plain data")
    } else {
        comparison.table()
    };
    writeln!(out, "{text}").map_err(Failure::Stdout)?;
    if comparison.identical {
        return Ok(Exit::Done);
    }
    let differing = comparison.runs.iter().find(|run| !run.identical);
    let backend = differing.map_or("serial", |run| run.report.backend);
    Err(Failure::BitsDiffer { what: "results", backend })
}

impl Comparison {
    fn of(reports: Vec<Report>) -> Comparison {
        let serial = reports.first().map(|report| (report.seconds.run, report.slots_hash.clone()));
        let runs = reports.into_iter().map(|report| {
            let (seconds, hash) = serial.clone().unwrap_or_default();
            let speed_up = seconds / report.seconds.run;
            let efficiency = speed_up / report.workers as f64;
            let identical = report.slots_hash == hash;
            Run { report, speed_up, efficiency, identical }
        });
        let runs: Vec<Run> = runs.collect();
        let identical = runs.iter().all(|run| run.identical);
        Comparison { runs, identical }
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "BACKEND",
            "WORKERS",
            "START s",
            "RUN s",
            "ns/ELEMENT",
            "SPEED-UP",
            "EFFICIENCY",
            "PEAK MEMORY",
            "TOTAL",
            "BITS",
        ]);
        for Run { report, speed_up, efficiency, identical } in &self.runs {
            let per_element = report.seconds.run * 1e9 / report.elements as f64;
            let memory = report.peak_memory_bytes.map_or("?".to_owned(), |n| Bytes(n).to_string());
            table.add_row([
                report.backend.to_owned(),
                report.workers.to_string(),
                format!("{:.4}", report.seconds.start),
                format!("{:.4}", report.seconds.run),
                format!("{per_element:.2}"),
                format!("{speed_up:.2}"),
                format!("{:.0} %", efficiency * 100.0),
                memory,
                format!("{:?}", report.total),
                if *identical { "same" } else { "DIFFERENT" }.to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}
