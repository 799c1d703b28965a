//! The measurements of a sweep, in memory and in a file that grows with each of them.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Write;

use pinpool::Pages;

use super::Point;
use super::SweepArgs;
use crate::cli::failure::Failure;
use crate::cli::plan::Plan;

const COLUMNS: &str = "workers,bind,pages,chunk,default_chunk,repeat,seconds,elements,slots_sha256";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    pub(super) workers: usize,
    pub(super) bind: String,
    pub(super) pages: Pages,
    pub(super) chunk: usize,
    pub(super) default_chunk: bool,
    pub(super) repeat: usize,
    pub(super) seconds: f64,
    pub(super) elements: usize,
    pub(super) slots_hash: String,
}

impl Measurement {
    pub(super) fn is_of(&self, point: &Point) -> bool {
        let chunk = if self.default_chunk { None } else { Some(self.chunk) };
        self.workers == point.workers
            && self.bind == point.bind
            && self.pages == point.pages
            && chunk == point.chunk
    }

    fn line(&self) -> String {
        let Measurement { workers, bind, pages, chunk, default_chunk, repeat, .. } = self;
        let Measurement { seconds, elements, slots_hash, .. } = self;
        // No policy's name holds a quote.
        format!(
            "{workers},\"{bind}\",{pages},{chunk},{default_chunk},{repeat},{seconds:e},{elements},{slots_hash}"
        )
    }

    fn parse(line: &str) -> Option<Measurement> {
        let (workers, rest) = line.split_once(",\"")?;
        let (bind, rest) = rest.split_once("\",")?;
        let mut fields = rest.split(',');
        let measurement = Measurement {
            workers: workers.parse().ok()?,
            bind: bind.to_owned(),
            pages: fields.next()?.parse().ok()?,
            chunk: fields.next()?.parse().ok()?,
            default_chunk: fields.next()?.parse().ok()?,
            repeat: fields.next()?.parse().ok()?,
            seconds: fields.next()?.parse().ok()?,
            elements: fields.next()?.parse().ok()?,
            slots_hash: fields.next()?.to_owned(),
        };
        (fields.next().is_none() && measurement.slots_hash.len() == 64).then_some(measurement)
    }
}

#[derive(Debug)]
pub(super) struct Record {
    measurements: Vec<Measurement>,
    file: Option<File>,
}

impl Record {
    /// Opens the file, if there is to be one, with what it has where the sweep goes on.
    pub(super) fn open(args: &SweepArgs, plan: &Plan) -> Result<Record, Failure> {
        let mut record = Record { measurements: Vec::new(), file: None };
        let Some(path) = &args.csv else { return Ok(record) };
        let failed = |source| Failure::System { action: "write the measurements", source };
        // All that results and times depend on, but for what is swept.
        let nodes = if args.nodes.prefault { " prefault" } else { "" };
        let job = format!(
            "# {:?} {:?} seed {} {} numa {}{nodes}",
            plan.kernel.name(),
            plan.source,
            plan.seed,
            plan.isa,
            args.nodes.numa
        );
        let places = args.place_words();
        let job = if places.is_empty() { job } else { format!("{job} {places:?}") };
        let head = format!("{job}\n{COLUMNS}\n");
        let known =
            if args.resume { fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        if !known.is_empty() {
            let no = || Failure::NotResumable { path: path.display().to_string() };
            let rest = known.strip_prefix(&head).ok_or_else(no)?;
            // The last line may have been cut off.
            let whole = rest.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines = whole.lines().map(Measurement::parse);
            record.measurements = lines.collect::<Option<_>>().ok_or_else(no)?;
        }
        let mut file = File::create(path).map_err(failed)?;
        let lines = record.measurements.iter().map(|m| m.line() + "\n");
        let text: String = [head].into_iter().chain(lines).collect();
        file.write_all(text.as_bytes()).map_err(failed)?;
        record.file = Some(file);
        Ok(record)
    }

    pub(super) fn has(&self, point: &Point, repeat: usize) -> bool {
        self.measurements.iter().any(|m| m.repeat == repeat && m.is_of(point))
    }

    pub(super) fn add(&mut self, measurement: Measurement) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            let written = file.write_all((measurement.line() + "\n").as_bytes());
            let failed = |source| Failure::System { action: "write the measurements", source };
            written.map_err(failed)?;
        }
        self.measurements.push(measurement);
        Ok(())
    }

    pub(super) fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }
}
