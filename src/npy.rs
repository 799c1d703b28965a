//! The NPY header: parse what numpy wrote, write what numpy reads.
//!
//! Pure functions over bytes that were copied out of the file first; nothing here maps or reads.
//! The bytes are taken for an attacker's text: the length is bounded, the grammar is the few forms
//! that numpy writes, all arithmetic is checked, and no allocation is larger than the header.
//! Ours is 4096 bytes long, so that the data begin on a page boundary (numpy refuses headers of
//! more than 10,000 bytes). Called by `array`, and by the fuzz target.
#![forbid(unsafe_code)]

use crate::element::{DTYPES, Dtype};

mod error;
#[cfg(test)]
mod tests;

pub use error::NpyError;

/// Bytes before the data in every array that pinpool makes: one page.
pub(crate) const HEADER_BYTES: usize = 4096;

/// The longest header that is read: what version 1 of the format can say at most.
const MAX_HEADER_BYTES: usize = 12 + 65_535;

/// The most axes that numpy knows.
pub(crate) const MAX_RANK: usize = 64;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// What a header says, checked against the length of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Where the data begin, in bytes from the start of the file.
    pub(crate) data_offset: usize,
}

/// How many bytes of the file a header takes, from its first 12 (or all, where there are fewer).
pub(crate) fn header_len(start: &[u8], file_bytes: u64) -> Result<usize, NpyError> {
    let field = |at: usize, len: usize| {
        start
            .get(at..at + len)
            .ok_or(NpyError::HeaderTruncated { need: (at + len) as u64, have: file_bytes })
    };
    if !start.starts_with(MAGIC) {
        return Err(NpyError::Magic);
    }
    let version = field(6, 2)?;
    let (before, text) = match version {
        [1, 0] => (10, u64::from(u16::from_le_bytes(le_bytes(field(8, 2)?)))),
        [2 | 3, 0] => (12, u64::from(u32::from_le_bytes(le_bytes(field(8, 4)?)))),
        _ => return Err(NpyError::Version { major: version[0], minor: version[1] }),
    };
    let total = before + text;
    if total > MAX_HEADER_BYTES as u64 {
        return Err(NpyError::HeaderTooLong { bytes: total, limit: MAX_HEADER_BYTES });
    }
    if total > file_bytes {
        return Err(NpyError::HeaderTruncated { need: total, have: file_bytes });
    }
    Ok(total as usize)
}

fn le_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the field was cut to this length")
}

/// Reads a header; `bytes` is at least what [`header_len`] says, `file_bytes` the whole file's length.
pub(crate) fn parse(bytes: &[u8], file_bytes: u64) -> Result<Header, NpyError> {
    let data_offset = header_len(bytes, file_bytes)?;
    let before = if bytes[6] == 1 { 10 } else { 12 };
    let text = bytes
        .get(before..data_offset)
        .ok_or(NpyError::HeaderTruncated { need: data_offset as u64, have: bytes.len() as u64 })?;
    let Dictionary { descr, fortran_order, shape } = Parser { text, at: 0 }.dictionary()?;
    let dtype = parse_dtype(&descr)?;
    let overflow = || NpyError::Overflow { shape: shape.clone(), item_bytes: dtype.item_bytes() };
    let data_bytes = data_bytes(&shape, dtype.item_bytes()).ok_or_else(overflow)?;
    let need = (data_offset as u64).checked_add(data_bytes as u64).ok_or_else(overflow)?;
    // Where at most one axis is longer than 1 both orders are the same.
    let one_line = shape.contains(&0) || shape.iter().filter(|&&n| n > 1).count() <= 1;
    if fortran_order && !one_line {
        return Err(NpyError::FortranOrder { shape });
    }
    match file_bytes.cmp(&need) {
        std::cmp::Ordering::Less => Err(NpyError::Truncated { need, have: file_bytes }),
        std::cmp::Ordering::Greater => Err(NpyError::Trailing { need, have: file_bytes }),
        std::cmp::Ordering::Equal => Ok(Header { dtype, shape, data_offset }),
    }
}

/// Bytes of an array of this shape; `None` where it, or its shape without the zeros (which is what
/// ndarray asks for), does not fit `isize`.
pub(crate) fn data_bytes(shape: &[usize], item_bytes: usize) -> Option<usize> {
    let without_zeros = shape
        .iter()
        .filter(|&&n| n != 0)
        .try_fold(item_bytes.max(1), |bytes, &n| bytes.checked_mul(n))
        .filter(|&bytes| isize::try_from(bytes).is_ok())?;
    if shape.contains(&0) || item_bytes == 0 { Some(0) } else { Some(without_zeros) }
}

/// Makes the header of an array: version 1.0, padded with spaces to 4096 bytes.
///
/// # Panics
/// For more than 64 axes, which the caller refuses first.
pub(crate) fn write(dtype: &Dtype, shape: &[usize]) -> [u8; HEADER_BYTES] {
    assert!(shape.len() <= MAX_RANK, "an NPY array has at most {MAX_RANK} axes");
    // numpy writes a comma after every axis of a tuple of one, and reads one after any.
    let axes: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let axes = if shape.len() == 1 { axes.trim_end() } else { axes.trim_end_matches(", ") };
    let text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({axes}), }}");
    let mut header = [b' '; HEADER_BYTES];
    header[..6].copy_from_slice(MAGIC);
    header[6..8].copy_from_slice(&[1, 0]);
    header[8..10].copy_from_slice(&((HEADER_BYTES - 10) as u16).to_le_bytes());
    // 64 axes of 20 digits are 1408 bytes, so it always fits.
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[HEADER_BYTES - 1] = b'\n';
    header
}

/// Reads a dtype string, and says of each that cannot be used why not.
fn parse_dtype(descr: &str) -> Result<Dtype, NpyError> {
    let owned = || descr.to_owned();
    let unsupported = || NpyError::Unsupported { descr: owned() };
    let (order, kind) = match descr.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => (descr.as_bytes()[0], &descr[1..]),
        Some(_) => (b'=', descr),
        None => return Err(unsupported()),
    };
    if kind.starts_with('O') {
        return Err(NpyError::Object { descr: owned() });
    }
    if let Some(size) = kind.strip_prefix('V') {
        let plain = size.bytes().all(|b| b.is_ascii_digit());
        let size = size.parse().ok().filter(|_| plain);
        return size.map(Dtype::void).ok_or_else(unsupported);
    }
    let known = DTYPES.iter().find(|dtype| &dtype.descr()[1..] == kind);
    match known {
        Some(dtype) if order == b'>' && dtype.item_bytes() > 1 => {
            Err(NpyError::BigEndian { descr: owned() })
        }
        Some(dtype) if order == b'|' && dtype.item_bytes() > 1 => Err(unsupported()),
        Some(dtype) => Ok(dtype.clone()),
        None => Err(unsupported()),
    }
}

/// The three values of a header, as they stand there.
struct Dictionary {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

/// Reads the Python dictionary literal of a header: the forms that numpy writes, and no more.
struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn dictionary(mut self) -> Result<Dictionary, NpyError> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect(b'{', "'{'")?;
        while !self.eat(b'}') {
            let key = self.string()?;
            self.expect(b':', "':'")?;
            let twice = match key.as_str() {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(self.bool()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                _ => return Err(NpyError::Key { key, problem: "not known" }),
            };
            if twice {
                return Err(NpyError::Key { key, problem: "there twice" });
            }
            if !self.eat(b',') {
                self.expect(b'}', "',' or '}'")?;
                break;
            }
        }
        self.space();
        if self.at != self.text.len() {
            return Err(self.error("nothing but spaces"));
        }
        let missing = |key: &str| NpyError::Key { key: key.to_owned(), problem: "missing" };
        Ok(Dictionary {
            descr: descr.ok_or_else(|| missing("descr"))?,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    /// A type string; a list or a tuple there is a structured dtype.
    fn descr(&mut self) -> Result<String, NpyError> {
        self.space();
        match self.text.get(self.at) {
            Some(b'[' | b'(') => Err(NpyError::Structured),
            _ => self.string(),
        }
    }

    fn bool(&mut self) -> Result<bool, NpyError> {
        self.space();
        for (word, value) in [(&b"True"[..], true), (b"False", false)] {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("True or False"))
    }

    fn shape(&mut self) -> Result<Vec<usize>, NpyError> {
        let mut shape = Vec::new();
        self.expect(b'(', "'('")?;
        while !self.eat(b')') {
            if shape.len() == MAX_RANK {
                return Err(NpyError::Rank);
            }
            shape.push(self.number()?);
            if !self.eat(b',') {
                self.expect(b')', "',' or ')'")?;
                // Python reads (5) as a number.
                return if shape.len() == 1 {
                    Err(self.error("',' before ')'"))
                } else {
                    Ok(shape)
                };
            }
        }
        Ok(shape)
    }

    fn number(&mut self) -> Result<usize, NpyError> {
        self.space();
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        let text = std::str::from_utf8(&self.text[self.at..self.at + digits]);
        let number = text.ok().filter(|text| !text.is_empty()).ok_or(self.error("a number"))?;
        let number = number.parse().map_err(|_| self.error("a number below 2^64"))?;
        self.at += digits;
        // Python 2 wrote 3L.
        if self.text.get(self.at) == Some(&b'L') {
            self.at += 1;
        }
        Ok(number)
    }

    fn string(&mut self) -> Result<String, NpyError> {
        self.space();
        let quote = match self.text.get(self.at) {
            Some(&quote @ (b'\'' | b'"')) => quote,
            _ => return Err(self.error("a string")),
        };
        let rest = &self.text[self.at + 1..];
        let len = rest.iter().position(|&b| b == quote).ok_or(self.error("a string that ends"))?;
        let plain = rest[..len].iter().all(|b| matches!(b, b' '..=b'~') && *b != b'\\');
        if !plain {
            return Err(self.error("a string of plain ASCII"));
        }
        self.at += len + 2;
        Ok(rest[..len].iter().map(|&b| char::from(b)).collect())
    }

    fn expect(&mut self, byte: u8, name: &'static str) -> Result<(), NpyError> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(name)) }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn error(&self, expected: &'static str) -> NpyError {
        NpyError::Syntax { at: self.at, expected }
    }
}
