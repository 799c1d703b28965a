//! A checkpoint file: where its parts lie, and the page that says whose it is.
//!
//! ```text
//! 0     4096                                             a page each, from here on
//! header | chunk words | result slots | worker 0: record, journal | worker 1: … | …
//! ```
//!
//! How many workers it has room for follows from its length, so that it grows in one step. The
//! header never changes once its first word, the last to be written, is there; a sum over it shows
//! every flipped bit. What follows it is live memory of a run, checked by its meaning.

#![forbid(unsafe_code)]

use bytemuck::{Pod, Zeroable};

use super::error::{CheckpointError, Difference};
use crate::config::{MAX_ARGS, MAX_NDIM, MAX_PARAM_BYTES, MAX_WORKERS};

/// First word of a complete checkpoint, written last.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"pinpool\x02");
/// Second word of every checkpoint, written first.
pub(super) const MARK: u64 = 0x9d3b_5c1e_74a6_08f2;
/// Of the format of the file.
const VERSION: u64 = 1;

/// The parts of the file begin at multiples of this.
const PAGE: u64 = 4096;
/// Bytes of the header, and of a worker's record.
pub(crate) const HEADER_BYTES: usize = PAGE as usize;
/// A worker's record is a page, whose first word says which chunk's old bytes are in the journal.
pub(crate) const RECORD_BYTES: usize = PAGE as usize;

/// Bytes of the kernel's type name that are kept, for people.
const NAME_BYTES: usize = 256;

/// What a job is, as far as its checkpoint has to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Header {
    pub(super) magic: u64,
    pub(super) mark: u64,
    version: u64,
    /// Of the contents: the sum of all else.
    sum: u64,
    pub(crate) durable: u64,
    pub(crate) build: [u64; 2],
    /// The kernel's place in the executable, and its name.
    pub(crate) entry: i64,
    pub(crate) name: [u8; NAME_BYTES],
    pub(crate) seed: u64,
    pub(crate) stream: u64,
    pub(crate) chunks: u64,
    /// Of a job that is a part of a larger one: its first chunk there, and how many there are.
    pub(crate) first_chunk: u64,
    pub(crate) total_chunks: u64,
    pub(crate) result_bytes: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) args: u64,
    pub(crate) param_bytes: u64,
    pub(crate) params: [u64; MAX_PARAM_BYTES / 8],
    pub(crate) arg: [ArgRecord; MAX_ARGS],
    rest: [u64; 127],
}

/// One argument, and of an array the identity of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct ArgRecord {
    pub(crate) kind: u64,
    pub(crate) offset: u64,
    pub(crate) rows: u64,
    pub(crate) row_bytes: u64,
    pub(crate) chunk_rows: u64,
    pub(crate) element_bytes: u64,
    pub(crate) ndim: u64,
    pub(crate) shape: [u64; MAX_NDIM],
    pub(crate) inode: u64,
    pub(crate) birth: u64,
    pub(crate) file_bytes: u64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Where the parts of the file lie; all from numbers of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) results: u64,
    pub(crate) records: u64,
    pub(crate) record_stride: u64,
}

impl Layout {
    pub(crate) const WORDS: u64 = PAGE;

    /// `None`: larger than any file.
    pub(crate) fn of(header: &Header) -> Option<Layout> {
        let page = |bytes: u64| bytes.checked_next_multiple_of(PAGE);
        let results = page(header.chunks.checked_mul(8)?)?.checked_add(Self::WORDS)?;
        let slots = header.chunks.checked_mul(header.result_bytes)?;
        let records = page(slots)?.checked_add(results)?;
        let record_stride = page(header.journal_bytes)?.checked_add(PAGE)?;
        let layout = Layout { results, records, record_stride };
        let most = record_stride.checked_mul(MAX_WORKERS as u64)?.checked_add(records)?;
        (i64::try_from(most).is_ok()).then_some(layout)
    }

    /// Length of a file with room for so many workers.
    pub(crate) fn bytes(&self, workers: usize) -> usize {
        (self.records + self.record_stride * workers as u64) as usize
    }

    /// Workers that a file of this length has room for; `None`: no file has this length.
    pub(super) fn workers(&self, file_bytes: u64) -> Option<usize> {
        let all = file_bytes.checked_sub(self.records)?;
        let workers = all / self.record_stride;
        let whole = all.is_multiple_of(self.record_stride) && workers > 0;
        (whole && workers <= MAX_WORKERS as u64).then_some(workers as usize)
    }
}

impl Header {
    pub(crate) fn new(name: &str) -> Header {
        let mut header = Header::zeroed();
        (header.magic, header.mark, header.version) = (MAGIC, MARK, VERSION);
        let mut len = name.len().min(NAME_BYTES);
        while !name.is_char_boundary(len) {
            len -= 1;
        }
        header.name[..len].copy_from_slice(&name.as_bytes()[..len]);
        header
    }

    /// With its sum.
    pub(super) fn sealed(mut self) -> Header {
        self.sum = self.sum_of_rest();
        self
    }

    /// Every change of one word changes it: each step is one to one in both.
    fn sum_of_rest(&self) -> u64 {
        let words: [u64; HEADER_BYTES / 8] = bytemuck::cast(Header { sum: 0, ..*self });
        words.iter().fold(0x51_7c_c1_b7_27_22_0a_95, |sum: u64, word| {
            (sum ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
        })
    }

    /// A header as it was read from a file, if it is a whole one.
    pub(super) fn check(self, path: &str) -> Result<Header, CheckpointError> {
        let path = || path.to_owned();
        if self.mark != MARK || !matches!(self.magic, 0 | MAGIC) {
            return Err(CheckpointError::NotACheckpoint { path: path() });
        }
        if self.magic == 0 {
            return Err(CheckpointError::Unbegun { path: path() });
        }
        if self.version != VERSION {
            let found = self.version;
            return Err(CheckpointError::Version { path: path(), found, known: VERSION });
        }
        if self.sum != self.sum_of_rest() {
            return Err(CheckpointError::Damaged { path: path(), what: "its first page" });
        }
        Ok(self)
    }

    fn name(&self) -> String {
        let end = self.name.iter().position(|&b| b == 0).unwrap_or(NAME_BYTES);
        String::from_utf8_lossy(&self.name[..end]).into_owned()
    }

    /// Whether `asked` is the job that `self` speaks of; that a run is durable is no difference.
    pub(crate) fn compare(&self, asked: &Header) -> Result<(), Difference> {
        let number = |what, begun, asked| match begun == asked {
            true => Ok(()),
            false => Err(Difference::Number { what, begun, asked }),
        };
        if self.build != asked.build {
            return Err(Difference::Build);
        }
        if self.entry != asked.entry || self.name != asked.name {
            return Err(Difference::Kernel { begun: self.name(), asked: asked.name() });
        }
        number("the seed", self.seed, asked.seed)?;
        number("the job number (`stream`)", self.stream, asked.stream)?;
        number("the number of arguments", self.args, asked.args)?;
        if (self.param_bytes, self.params) != (asked.param_bytes, asked.params) {
            return Err(Difference::Params);
        }
        for (i, (begun, asked)) in self.arg.iter().zip(&asked.arg).enumerate() {
            begun.compare(asked, i)?;
        }
        number("the number of chunks", self.chunks, asked.chunks)?;
        number("the first chunk", self.first_chunk, asked.first_chunk)?;
        number("the chunks of the whole job", self.total_chunks, asked.total_chunks)?;
        number("the bytes of a result", self.result_bytes, asked.result_bytes)?;
        number("the bytes of a journal", self.journal_bytes, asked.journal_bytes)
    }
}

impl ArgRecord {
    fn compare(&self, asked: &ArgRecord, argument: usize) -> Result<(), Difference> {
        let shape = |a: &ArgRecord| a.shape[..(a.ndim as usize).min(MAX_NDIM)].to_vec();
        if (self.ndim, self.shape, self.rows) != (asked.ndim, asked.shape, asked.rows) {
            return Err(Difference::Shape { argument, begun: shape(self), asked: shape(asked) });
        }
        if self.chunk_rows != asked.chunk_rows {
            let (begun, asked) = (self.chunk_rows, asked.chunk_rows);
            return Err(Difference::Number { what: "the chunk length", begun, asked });
        }
        let file = |a: &ArgRecord| (a.inode, a.birth, a.file_bytes, a.offset);
        if file(self) != file(asked) {
            return Err(Difference::File { argument });
        }
        if self != asked {
            return Err(Difference::Argument { argument });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let mut header = Header::new("a::kernel");
        (header.chunks, header.result_bytes, header.journal_bytes) = (1000, 24, 5000);
        header.sealed()
    }

    #[test]
    fn every_flipped_bit_of_the_header_is_an_error() {
        let good = header();
        assert_eq!(good.check("x").unwrap(), good);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes: [u8; HEADER_BYTES] = bytemuck::cast(good);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let bad: Header = bytemuck::cast(bytes);
            assert!(bad.check("x").is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_parts_of_the_file_follow_each_other_and_its_length_tells_the_workers() {
        let layout = Layout::of(&header()).unwrap();
        assert_eq!(layout.results, 4096 + 8192);
        assert_eq!(layout.records, layout.results + 24_576);
        assert_eq!(layout.record_stride, 4096 + 8192);
        for workers in [1, 2, MAX_WORKERS] {
            assert_eq!(layout.workers(layout.bytes(workers) as u64), Some(workers));
            assert_eq!(layout.workers(layout.bytes(workers) as u64 - 1), None);
        }
        assert_eq!(layout.workers(layout.records), None);
        assert_eq!(layout.workers(layout.bytes(MAX_WORKERS + 1) as u64), None);
        assert_eq!(Layout::of(&Header { chunks: u64::MAX, ..header() }), None);
    }
}
