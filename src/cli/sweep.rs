//! `pinpool sweep`: a kernel over workers × policies × page kinds × chunk lengths, timed again and again.
//!
//! All measurements are made in one random order, so that drift of the machine falls on every
//! combination alike. Each has a pool and an array of its own, and a run before the timed one.
//! With `--csv` each is written down when it is made: a sweep that was cut off can go on.

#![forbid(unsafe_code)]

mod costs;
mod options;
mod points;
mod record;
mod report;
mod simulate;
mod table;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Instant;

use pinpool::topology::Topology;
use pinpool::{Backend, Numa, SharedArray};

use super::exit::Exit;
use super::failure::Failure;
use super::interrupt;
use super::kernels::{Form, Job, WithJob, with_job};
use super::page::PageFile;
use super::plan::Plan;
use super::progress::Progress;
use super::session::{Session, Setup};
use points::Point;
use record::{Measurement, Record};
use table::Summary;

pub(super) use options::SweepArgs;

pub(super) fn run(args: &SweepArgs) -> Result<Exit, Failure> {
    if let Some(machine) = &args.simulate {
        return simulate::run(args, machine);
    }
    let topology = Topology::current()?;
    let points = Point::all(args, &topology)?;
    // What is wrong with any of them is said before the first is timed.
    let plans = points.iter().map(|point| plan(args, point)).collect::<Result<Vec<_>, _>>()?;
    let kinds: Vec<_> = points.iter().map(Point::pages_args).collect();
    plans[0].check_medium(&kinds)?;
    try_pages(args)?;
    interrupt::listen()?;
    let page = args.report.as_deref().map(PageFile::open).transpose()?;
    let mut record = Record::open(args, &plans[0])?;
    let started = Instant::now();
    let mut missing = order(points.len(), args.repeat, args.order);
    missing.retain(|&(index, repeat)| !record.has(&points[index], repeat));
    let mut left = missing.len();
    let mut interrupted = None;
    for (index, repeat) in missing {
        if args.budget.is_some_and(|budget| started.elapsed() >= budget) {
            break;
        }
        let measure = Measure { point: &points[index], repeat, record: &mut record };
        match with_job(&plans[index], measure) {
            Ok(_) => left -= 1,
            Err(failure @ Failure::Interrupted { .. }) => {
                interrupted = Some(failure);
                break;
            }
            Err(failure) => return Err(failure),
        }
    }
    let summary = Summary::of(&points, record.measurements(), left);
    let text = if args.json { summary.json() } else { summary.table() };
    let print = || writeln!(io::stdout().lock(), "{text}").map_err(Failure::Stdout);
    if let Some(failure) = interrupted {
        if !record.measurements().is_empty() {
            print()?;
        }
        return Err(failure);
    }
    if left > 0 && !args.quiet {
        say!("pinpool: {}", summary.left(args).sentence());
    }
    // What was measured is shown first, whatever becomes of the report.
    let printed = print();
    let reported = page
        .map_or(Ok(()), |file| report::write(file, args, &topology, (&points, &plans), &summary));
    if !same_bits(record.measurements()) {
        return Err(Failure::BitsDiffer { what: "results", backend: Backend::Processes.name() });
    }
    printed.and(reported).map(|()| Exit::Done)
}

/// Makes the smallest array of each kind, so that what this machine lacks is said at once.
fn try_pages(args: &SweepArgs) -> Result<(), Failure> {
    // Without workers there is no first touch.
    let numa = if args.nodes.numa == Numa::FirstTouch { Numa::Default } else { args.nodes.numa };
    for &pages in &args.pages {
        SharedArray::<u8, _>::builder(1).pages(pages).numa(numa).create()?;
    }
    Ok(())
}

fn plan(args: &SweepArgs, point: &Point) -> Result<Plan, Failure> {
    let mut job = args.job.clone();
    job.chunk = point.chunk;
    let plan = Plan::of(&job)?;
    plan.check_pages(&point.pages_args())?;
    Ok(plan)
}

/// Every (point, repeat) once, in an order that follows from the seed.
fn order(points: usize, repeats: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut all: Vec<_> =
        (0..repeats).flat_map(|repeat| (0..points).map(move |point| (point, repeat))).collect();
    let mut state = seed;
    for i in (1..all.len()).rev() {
        // SplitMix64: the order needs no better one, and the bias of the remainder is nothing.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        all.swap(i, ((z ^ (z >> 31)) % (i as u64 + 1)) as usize);
    }
    all
}

/// Whether runs with the same chunk length have the same slots.
fn same_bits(measurements: &[Measurement]) -> bool {
    let mut known = BTreeMap::new();
    measurements.iter().all(|m| *known.entry(m.chunk).or_insert(&m.slots_hash) == &m.slots_hash)
}

/// One measurement, of whichever job.
struct Measure<'a> {
    point: &'a Point,
    repeat: usize,
    record: &'a mut Record,
}

impl WithJob for Measure<'_> {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure> {
        let quiet = Progress::new(true);
        let Measure { point, repeat, record } = self;
        let backend = Backend::Processes;
        let (placement, pages) = (&point.placement, point.pages_args());
        let setup = Setup { plan, backend, placement, pages, name: None, trace: false };
        let mut session = Session::open(job, &setup)?;
        session.fill(&quiet)?;
        session.run(Form::Blocking, &quiet)?;
        session.forget_time();
        session.refill(&quiet)?;
        let slots = session.run(Form::Blocking, &quiet)?;
        let report = session.report(&slots);
        record.add(Measurement {
            workers: point.workers,
            bind: point.bind.clone(),
            places: point.places.clone(),
            pages: point.pages,
            chunk: report.chunk,
            default_chunk: point.chunk.is_none(),
            repeat,
            seconds: report.seconds.run,
            elements: report.elements,
            slots_hash: report.slots_hash,
        })?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_has_everything_once_and_follows_from_the_seed() {
        let mut one = order(5, 3, 1);
        assert_eq!(one, order(5, 3, 1));
        assert_ne!(one, order(5, 3, 2));
        one.sort_unstable();
        let all: Vec<_> = (0..5).flat_map(|p| (0..3).map(move |r| (p, r))).collect();
        assert_eq!(one, all);
    }
}
