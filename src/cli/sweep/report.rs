//! From the measurements of a sweep to the page of `--report`: what it needs beside them is
//! measured here, after them: timelines of the settings that say most, and the memory roof.

#![forbid(unsafe_code)]

use clap::ValueEnum;
use pinpool::placement::{self, PlacementOptions};
use pinpool::topology::Topology;
use pinpool::{Backend, EventKind, Numa, Pages};
use pinpool_kernels::isa;

use super::SweepArgs;
use super::points::{Point, place_words};
use super::table::Summary;
use crate::cli::args::{JobArgs, KernelName};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::kernels::{self, Form, Job, WithJob, with_job};
use crate::cli::page::{self, Line, Page, PageFile, Timeline, Traffic};
use crate::cli::pages::{NodeArgs, PagesArgs};
use crate::cli::plan::{DEFAULT_SEED, Plan};
use crate::cli::progress::Progress;
use crate::cli::roof::{Roof, last_level_bytes};
use crate::cli::session::{Session, Setup};

/// A line with more events than this is drawn in so many short times instead.
const BINS: usize = 1200;
/// The kinds of a line's events, in the order of the page.
const KINDS: [EventKind; 5] = [
    EventKind::Chunk,
    EventKind::StolenChunk,
    EventKind::Steal,
    EventKind::Journal,
    EventKind::Wait,
];
const WAIT: usize = 4;

/// Makes the page of a sweep. It is written whatever else cannot be measured for it.
pub(super) fn write(
    file: PageFile,
    args: &SweepArgs,
    topology: &Topology,
    swept: (&[Point], &[Plan]),
    summary: &Summary,
) -> Result<(), Failure> {
    let mut page = measured(args, topology, swept, summary)?;
    let looked = look(&mut page, topology, swept, summary);
    file.write(&page)?;
    looked
}

/// The page with what the sweep has measured, and nothing else.
fn measured(
    args: &SweepArgs,
    topology: &Topology,
    (points, plans): (&[Point], &[Plan]),
    summary: &Summary,
) -> Result<Page, Failure> {
    let rows = summary.rows();
    let mut page = Page {
        many_pages: points.iter().any(|point| point.pages != points[0].pages),
        kernel: plans[0].kernel.name(),
        elements: rows.first().map_or(0, |row| row.elements),
        swept: command_line(),
        simulated: None,
        machine: String::new(),
        points: Vec::new(),
        traffic: None,
        roofs: Vec::new(),
        timelines: Vec::new(),
        repeats: args.repeat,
        left: summary.left(args),
    };
    for row in rows {
        let point = &points[row.point];
        let plan = placement::plan(topology, &point.placement)?;
        if page.machine.is_empty() {
            page.machine = topology.draw(Some(&plan));
        }
        page.points.push(page::Point {
            bind: row.bind.clone(),
            pages: page.pages_of(row.pages.clone()),
            workers: row.workers,
            chunk: row.chunk,
            oversubscribed: plan.oversubscribed,
            seconds: row.median_seconds,
            low: row.low_seconds,
            high: row.high_seconds,
            confidence: row.confidence,
            runs: row.repeats,
            outliers: row.outliers,
            command: run_command(
                (&args.job, &plans[row.point]),
                &point.placement,
                row.chunk,
                point.pages_args(),
            ),
            lost: None,
        });
    }
    Ok(page)
}

/// Adds timelines of the best setting and of the most workers, where contention shows, and the roof.
///
/// What this machine has no room for is left out with a word.
fn look(
    page: &mut Page,
    topology: &Topology,
    (points, plans): (&[Point], &[Plan]),
    summary: &Summary,
) -> Result<(), Failure> {
    let rows = summary.rows();
    let most = rows.iter().map(|row| row.workers).max();
    let widest = rows.iter().find(|row| Some(row.workers) == most);
    let mut drawn: Vec<usize> = rows.first().into_iter().chain(widest).map(|r| r.point).collect();
    drawn.dedup();
    for at in drawn {
        let mut moved = None;
        let look = Look { point: &points[at], timelines: &mut page.timelines, moved: &mut moved };
        unless_short("timeline", with_job(&plans[at], look))?;
        page.traffic = page.traffic.or(moved.map(|(kernel, working_bytes)| Traffic {
            kernel,
            working_bytes,
            cache_bytes: last_level_bytes(topology),
        }));
    }
    if page.traffic.is_none() {
        return Ok(());
    }
    let mut short = Vec::new();
    for row in rows {
        let (point, pages) = (&points[row.point], page.pages_of(row.pages.clone()));
        let known = |roof: &Roof| {
            roof.workers == point.workers && roof.bind == point.bind && roof.pages == pages
        };
        if page.roofs.iter().any(known) || short.contains(&point.pages) {
            continue;
        }
        let roof = Roof::measure(topology, &point.placement, point.pages_args());
        match unless_short("memory roof", roof)? {
            Some(roof) => page.roofs.push(Roof { pages, ..roof }),
            None => short.push(point.pages),
        }
    }
    Ok(())
}

/// Nothing, and a word about it, where the pool has failed.
fn unless_short<T>(what: &str, done: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Failure::Pool(error)) => {
            say!("pinpool: the report lacks a {what}: {error}");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// One run of a setting, looked at.
struct Look<'a> {
    point: &'a Point,
    timelines: &'a mut Vec<Timeline>,
    /// What the kernel moves, and the bytes that it works on.
    moved: &'a mut Option<(kernels::Traffic, u64)>,
}

impl WithJob for Look<'_> {
    fn with<J: Job>(self, job: J, plan: &Plan) -> Result<Exit, Failure> {
        let quiet = Progress::new(true);
        let Look { point, timelines, moved } = self;
        let backend = Backend::Processes;
        let (placement, pages) = (&point.placement, point.pages_args());
        let setup = Setup { plan, backend, placement, pages, name: None, trace: true };
        let mut session = Session::open(job, &setup)?;
        session.fill(&quiet)?;
        session.run(Form::Blocking, &quiet)?;
        session.refill(&quiet)?;
        let slots = session.run(Form::Blocking, &quiet)?;
        *moved = job.traffic().map(|traffic| (traffic, session.working_bytes(&slots)));
        let (start, end) = session.ran_ns();
        let chunk = session.report(&slots).chunk;
        let (workers, bind) = (point.workers, &point.bind);
        let plural = if workers == 1 { "" } else { "s" };
        let timeline = session.timeline();
        let places = session.pool().plan().workers.iter().zip(session.pool().whereabouts());
        timelines.push(Timeline {
            label: format!("{workers} worker{plural}, bind {bind}, chunks of {chunk}"),
            seconds: (end - start) as f64 / 1e9,
            lines: places
                .map(|(place, really)| {
                    let own = timeline.events().iter().filter(|e| e.worker == really.worker);
                    let own: Vec<Span> =
                        own.filter_map(|event| Span::of(event, start, end)).collect();
                    line(really.worker, &place.pus, really.pu, &own, (end - start) as f64 / 1e3)
                })
                .collect(),
            dropped: timeline.dropped(),
        });
        Ok(Exit::Done)
    }
}

/// An event within the run: kind, start and end in microseconds from the call.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    kind: usize,
    start: f64,
    end: f64,
}

impl Span {
    fn of(event: &pinpool::Event, start: u64, end: u64) -> Option<Span> {
        let kind = KINDS.iter().position(|&kind| kind == event.kind)?;
        let (from, to) = (event.start_ns.max(start), event.end_ns.min(end));
        let micros = |ns: u64| (ns - start) as f64 / 1e3;
        (from < to).then(|| Span { kind, start: micros(from), end: micros(to) })
    }
}

/// What one worker did in a run of so many microseconds.
fn line(worker: usize, asked: &[usize], pu: usize, own: &[Span], long: f64) -> Line {
    let mut spans = own.to_vec();
    // A wait is only written down when it is over, which the last one is not yet.
    let last = own.iter().map(|span| span.end).fold(0.0, f64::max);
    spans.push(Span { kind: WAIT, start: last, end: long });
    // Nor is the way from a wait to the first claim an event.
    if let Some(first) = own.iter().map(|span| span.start).min_by(f64::total_cmp)
        && first > 0.0
    {
        spans.insert(0, Span { kind: WAIT, start: 0.0, end: first });
    }
    let mut sums = [0.0; 5];
    spans.iter().for_each(|span| sums[span.kind] += (span.end - span.start) / 1e6);
    let of = |kind: usize| own.iter().filter(|span| span.kind == kind).count();
    let binned = spans.len() > BINS;
    let shown = if binned { bins(&spans, long) } else { spans };
    let tenths = |micros: f64| (micros * 10.0).round() / 10.0;
    Line {
        worker,
        asked: asked.to_vec(),
        pu,
        chunks: of(0) + of(1),
        stolen: of(1),
        sums,
        spans: shown.iter().map(|s| (s.kind, tenths(s.start), tenths(s.end))).collect(),
        binned,
    }
}

/// The kind that fills most of each of [`BINS`] equal times, like neighbours joined.
fn bins(spans: &[Span], long: f64) -> Vec<Span> {
    let width = long / BINS as f64;
    let mut filled = vec![[0.0; 5]; BINS];
    for span in spans {
        let first = ((span.start / width) as usize).min(BINS - 1);
        let last = ((span.end / width) as usize).min(BINS - 1);
        for (bin, filled) in filled.iter_mut().enumerate().take(last + 1).skip(first) {
            let (from, to) = (bin as f64 * width, (bin + 1) as f64 * width);
            filled[span.kind] += (span.end.min(to) - span.start.max(from)).max(0.0);
        }
    }
    let mut joined: Vec<Span> = Vec::new();
    for (bin, filled) in filled.iter().enumerate() {
        let most = (0..KINDS.len()).max_by(|&a, &b| filled[a].total_cmp(&filled[b]));
        let Some(kind) = most.filter(|&kind| filled[kind] > 0.0) else { continue };
        let (start, end) = (bin as f64 * width, (bin + 1) as f64 * width);
        match joined.last_mut() {
            Some(span) if span.kind == kind && start - span.end < width / 2.0 => span.end = end,
            _ => joined.push(Span { kind, start, end }),
        }
    }
    joined
}

/// The command that runs a job in one of the settings, whatever the environment then is.
pub(super) fn run_command(
    (job, plan): (&JobArgs, &Plan),
    placement: &PlacementOptions,
    chunk: usize,
    pages: PagesArgs,
) -> String {
    let mut words = vec!["pinpool".to_owned(), "run".to_owned()];
    words.extend(job_words(job, plan));
    let PagesArgs { pages, place: NodeArgs { numa, prefault } } = pages;
    let given = [
        ("--workers", placement.workers.map(|workers| workers.to_string())),
        ("--bind", placement.bind.as_ref().map(ToString::to_string)),
        ("--chunk", (job.kernel != KernelName::PrimePi).then(|| chunk.to_string())),
        ("--pages", (pages != Pages::System).then(|| pages.to_string())),
        ("--numa", (numa != Numa::Default).then(|| numa.to_string())),
    ];
    for (option, value) in given {
        words.extend(value.into_iter().flat_map(|value| [option.to_owned(), value]));
    }
    words.extend(prefault.then(|| "--prefault".to_owned()));
    words.extend(place_words(placement));
    words.extend(placement.oversubscribe.then(|| "--oversubscribe".to_owned()));
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// The words of a job, the chunk length left out; seed and instruction set also where the
/// environment gave them.
fn job_words(job: &JobArgs, plan: &Plan) -> Vec<String> {
    let kernel = job.kernel.to_possible_value();
    let mut words: Vec<String> = kernel.iter().map(|value| value.get_name().to_owned()).collect();
    words.extend(job.number.map(|number| number.to_string()));
    let drawn = !plan.kernel.is_range() && plan.seed != DEFAULT_SEED;
    let numbers = [
        ("--elements", job.elements.map(|n| n as u64)),
        ("--rounds", job.rounds),
        ("--low", job.low),
        ("--high", job.high),
        ("--seed", job.seed.or(drawn.then_some(plan.seed))),
    ];
    for (option, value) in numbers {
        words.extend(value.into_iter().flat_map(|value| [option.to_owned(), value.to_string()]));
    }
    let input = job.input.iter().map(|path| path.display().to_string());
    words.extend(input.flat_map(|path| ["--input".to_owned(), path]));
    words.extend(job.in_place.then(|| "--in-place".to_owned()));
    let isa = job.isa.or((plan.isa != isa::best()).then_some(plan.isa));
    words.extend(isa.into_iter().flat_map(|isa| ["--isa".to_owned(), isa.name().to_owned()]));
    words
}

/// The command that this process is.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy()));
    ["pinpool".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;
    use pinpool::placement::Bind;

    #[test]
    fn words_come_back_from_a_shell_as_they_were() {
        for (word, text) in
            [("a.npy", "a.npy"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(quoted(word), text);
        }
    }

    #[test]
    fn the_command_has_what_the_result_depends_on_and_is_understood() {
        let line = "pinpool sweep trig-power --elements 5000 --rounds 2 --seed 9 --in-place --isa scalar --smt last --kind E";
        let Command::Sweep(args) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("no sweep");
        };
        let plan = Plan::of(&args.job).unwrap();
        let placement =
            PlacementOptions { workers: Some(3), bind: Some(Bind::Compact), ..args.placement() };
        let pages = PagesArgs { pages: Pages::Transparent, place: args.nodes };
        let command = run_command((&args.job, &plan), &placement, 100, pages);
        let expected = "pinpool run trig-power --elements 5000 --rounds 2 --seed 9 --in-place --isa scalar --workers 3 --bind compact --chunk 100 --pages thp --smt last --kind E";
        assert_eq!(command, expected);
        assert!(Cli::try_parse_from(command.split(' ')).is_ok());
    }

    #[test]
    fn a_line_accounts_for_the_whole_time() {
        let own = [
            Span { kind: WAIT, start: 1.0, end: 2.0 },
            Span { kind: 0, start: 2.0, end: 5.0 },
            Span { kind: 1, start: 5.0, end: 9.0 },
        ];
        let line = line(1, &[3], 3, &own, 10.0);
        assert_eq!((line.chunks, line.stolen, line.binned), (2, 1, false));
        assert!((line.sums.iter().sum::<f64>() - 10e-6).abs() < 1e-12, "{line:?}");
        assert_eq!(line.spans.first(), Some(&(WAIT, 0.0, 1.0)));
        assert_eq!(line.spans.last(), Some(&(WAIT, 9.0, 10.0)));
    }

    #[test]
    fn many_events_are_drawn_as_what_fills_most_of_a_time() {
        // Chunks of 0.9 with undo copies of 0.1 between them, then nothing.
        let mut own = Vec::new();
        for at in 0..5000 {
            let start = f64::from(at);
            own.push(Span { kind: 3, start, end: start + 0.1 });
            own.push(Span { kind: 0, start: start + 0.1, end: start + 1.0 });
        }
        let line = line(0, &[], 0, &own, 10_000.0);
        assert!(line.binned);
        assert_eq!(line.spans, [(0, 0.0, 5000.0), (WAIT, 5000.0, 10_000.0)]);
    }
}
