//! The measurements of a sweep, in memory and in a file that grows with each of them.

#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use pinpool::Pages;

use super::SweepArgs;
use super::points::Point;
use crate::cli::failure::Failure;
use crate::cli::plan::Plan;

const OPEN: &str = "open the file of measurements";
const WRITE: &str = "write the measurements";
const COLUMNS: &str =
    "workers,bind,places,pages,chunk,default_chunk,repeat,seconds,elements,slots_sha256";

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    pub(super) workers: usize,
    pub(super) bind: String,
    /// What places are, in the words of the command line.
    pub(super) places: String,
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
            && self.places == point.places
            && self.pages == point.pages
            && chunk == point.chunk
    }

    fn line(&self) -> String {
        let Measurement { workers, bind, places, pages, chunk, default_chunk, repeat, .. } = self;
        let Measurement { seconds, elements, slots_hash, .. } = self;
        // No policy and no place is written with a quote.
        format!(
            "{workers},\"{bind}\",\"{places}\",{pages},{chunk},{default_chunk},{repeat},{seconds:e},{elements},{slots_hash}"
        )
    }

    fn parse(line: &str) -> Option<Measurement> {
        let (workers, rest) = line.split_once(",\"")?;
        let (bind, rest) = rest.split_once("\",\"")?;
        let (places, rest) = rest.split_once("\",")?;
        let mut fields = rest.split(',');
        let measurement = Measurement {
            workers: workers.parse().ok()?,
            bind: bind.to_owned(),
            places: places.to_owned(),
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
        let Some(path) = &args.csv else {
            return Ok(Record { measurements: Vec::new(), file: None });
        };
        let head = head(args, plan)?;
        if args.resume {
            return Record::go_on(path, &head);
        }
        let mut file =
            File::create(path).map_err(|source| Failure::System { action: OPEN, source })?;
        file.write_all(head.as_bytes())
            .map_err(|source| Failure::System { action: WRITE, source })?;
        Ok(Record { measurements: Vec::new(), file: Some(file) })
    }

    /// With what the file has, which stays where it is: nothing is lost should the sweep end here.
    fn go_on(path: &Path, head: &str) -> Result<Record, Failure> {
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(|source| Failure::System { action: OPEN, source })?;
        let no = || Failure::NotResumable { path: path.display().to_string() };
        let mut bytes = Vec::new();
        let mut read = || -> io::Result<bool> {
            // To read from a pipe would be to wait for what nobody writes.
            let regular = file.metadata()?.is_file();
            if regular {
                file.read_to_end(&mut bytes)?;
            }
            Ok(regular)
        };
        let regular =
            read().map_err(|source| Failure::System { action: "read the measurements", source })?;
        let known = Known::of(&bytes, head).filter(|_| regular).ok_or_else(no)?;
        if known.cut_off > 0 {
            say!(
                "pinpool: the last line of '{}' was cut off; that measurement is made again",
                path.display()
            );
        }
        let mut begin = || -> io::Result<()> {
            file.set_len(known.whole)?;
            file.seek(SeekFrom::Start(known.whole))?;
            if known.whole == 0 {
                file.write_all(head.as_bytes())?;
            }
            Ok(())
        };
        begin().map_err(|source| Failure::System { action: WRITE, source })?;
        Ok(Record { measurements: known.measurements, file: Some(file) })
    }

    pub(super) fn has(&self, point: &Point, repeat: usize) -> bool {
        self.measurements.iter().any(|m| m.repeat == repeat && m.is_of(point))
    }

    pub(super) fn add(&mut self, measurement: Measurement) -> Result<(), Failure> {
        if let Some(file) = &mut self.file {
            let written = file.write_all((measurement.line() + "\n").as_bytes());
            written.map_err(|source| Failure::System { action: WRITE, source })?;
        }
        self.measurements.push(measurement);
        Ok(())
    }

    pub(super) fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }
}

/// The first lines: all that results and times depend on, but for what each measurement says itself.
fn head(args: &SweepArgs, plan: &Plan) -> Result<String, Failure> {
    let job =
        plan.identity().map_err(|source| Failure::System { action: "read --input", source })?;
    let prefault = if args.nodes.prefault { ", prefault" } else { "" };
    let (version, numa) = (env!("CARGO_PKG_VERSION"), args.nodes.numa);
    Ok(format!("# pinpool {version}: {job}; numa {numa}{prefault}\n{COLUMNS}\n"))
}

/// What a file of measurements has.
#[derive(Debug, PartialEq)]
struct Known {
    measurements: Vec<Measurement>,
    /// Bytes up to the end of the last whole line; none where not even the head is whole.
    whole: u64,
    /// Bytes behind them: a line that was being written when its sweep ended.
    cut_off: usize,
}

impl Known {
    /// `None` where it is no file with this head.
    fn of(bytes: &[u8], head: &str) -> Option<Known> {
        if head.as_bytes().starts_with(bytes) && bytes.len() < head.len() {
            return Some(Known { measurements: Vec::new(), whole: 0, cut_off: 0 });
        }
        let rest = bytes.strip_prefix(head.as_bytes())?;
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines = std::str::from_utf8(&rest[..whole]).ok()?.lines().map(Measurement::parse);
        Some(Known {
            measurements: lines.collect::<Option<_>>()?,
            whole: (head.len() + whole) as u64,
            cut_off: rest.len() - whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(repeat: usize) -> String {
        let hash = "0".repeat(64);
        format!(
            "1,\"close\",\"--places {{0,1}},{{2}}\",system,100,false,{repeat},1e-3,5000,{hash}\n"
        )
    }

    #[test]
    fn a_file_cut_off_anywhere_is_gone_on_with_from_its_last_whole_line() {
        let head = "# job\ncolumns\n";
        let text = format!("{head}{}{}", line(0), line(1));
        for cut in 0..=text.len() {
            let known = Known::of(&text.as_bytes()[..cut], head).unwrap();
            let lines = text[..cut].matches('\n').count().saturating_sub(2);
            assert_eq!(known.measurements.len(), lines, "{cut}");
            let kept = known.whole as usize;
            assert!(text[..kept].ends_with('\n') || kept == 0);
            assert!(kept == 0 && cut < head.len() || kept + known.cut_off == cut, "{cut}");
        }
    }

    #[test]
    fn what_is_no_such_file_is_told_from_one() {
        let head = "# job\ncolumns\n";
        for text in ["# other\ncolumns\n", "# job\ncolumns\nnonsense\n", "x"] {
            assert_eq!(Known::of(text.as_bytes(), head), None, "{text}");
        }
        assert_eq!(Known::of(b"# job\ncolumns\n\xff\n", head), None);
    }
}
