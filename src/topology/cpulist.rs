//! Sets of PUs, and the kernel's list syntax for them (`0-3,8,10-11`).
//!
//! The parser is total: any bytes give a set or a [`ListError`], in time and memory bounded by
//! the text and by [`PU_LIMIT`]. It knows no files and no machine. Called by the reader of
//! `/sys`, by the limits and by the explicit lists that users write.
#![forbid(unsafe_code)]

use std::fmt;

/// PU numbers are below this. Linux is built for at most 8192 (`CONFIG_NR_CPUS`, x86-64); the
/// rest is room, small enough that a mask of all of them is 8 KiB.
pub const PU_LIMIT: usize = 65_536;

/// A set of PUs by kernel number, in ascending order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PuSet(Vec<usize>);

impl PuSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses the kernel's list syntax: numbers and ranges with commas between. White space and
    /// NULs at both ends are dropped (some kernels end a list with a NUL), nothing means the
    /// empty set.
    ///
    /// # Errors
    /// [`ListError`] for anything else: a reversed range, an empty entry, a number of
    /// [`PU_LIMIT`] or above, bytes that are not digits.
    pub fn parse(text: &[u8]) -> Result<Self, ListError> {
        Self::parse_below(text, PU_LIMIT)
    }

    /// As [`PuSet::parse`], with a limit of the machine's own instead of [`PU_LIMIT`].
    pub(crate) fn parse_below(text: &[u8], limit: usize) -> Result<Self, ListError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Self::new());
        }
        // Ranges first, PUs last: a list that names the same PUs again and again stays as short
        // as its text until it is merged.
        let mut ranges = Vec::new();
        for entry in text.split(|&b| b == b',') {
            let (low, high) = match entry.iter().position(|&b| b == b'-') {
                None => {
                    let n = number(entry, limit)?;
                    (n, n)
                }
                Some(dash) => (number(&entry[..dash], limit)?, number(&entry[dash + 1..], limit)?),
            };
            if low > high {
                return Err(ListError::Reversed { low, high });
            }
            ranges.push((low, high));
        }
        ranges.sort_unstable();
        let mut pus = Vec::new();
        let mut next = 0;
        for (low, high) in ranges {
            pus.extend(low.max(next)..=high);
            next = next.max(high + 1);
        }
        Ok(Self(pus))
    }

    /// How many PUs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `pu` is in the set.
    #[must_use]
    pub fn contains(&self, pu: usize) -> bool {
        self.0.binary_search(&pu).is_ok()
    }

    /// The lowest PU.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// The highest PU.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        self.0.last().copied()
    }

    /// The PUs in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + DoubleEndedIterator + '_ {
        self.0.iter().copied()
    }

    /// The PUs in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The PUs that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.iter().filter(|&pu| other.contains(pu)).collect())
    }

    /// The PUs of this set that the other lacks.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.iter().filter(|&pu| !other.contains(pu)).collect())
    }
}

impl FromIterator<usize> for PuSet {
    fn from_iter<I: IntoIterator<Item = usize>>(pus: I) -> Self {
        let mut pus: Vec<usize> = pus.into_iter().collect();
        pus.sort_unstable();
        pus.dedup();
        Self(pus)
    }
}

impl fmt::Display for PuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = &self.0[..];
        let mut comma = "";
        while let Some(&low) = rest.first() {
            let run = rest.iter().enumerate().take_while(|&(i, &pu)| pu == low + i).count();
            match run {
                1 => write!(f, "{comma}{low}")?,
                _ => write!(f, "{comma}{low}-{}", low + run - 1)?,
            }
            comma = ",";
            rest = &rest[run..];
        }
        Ok(())
    }
}

/// Why a list of PUs was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// An entry is neither a number nor a range.
    #[error("`{text}` is not a PU number; write a list such as 0-3,8")]
    NotANumber {
        /// The entry, shortened, with what is not printable escaped.
        text: String,
    },
    /// A range runs backwards.
    #[error("the range {low}-{high} is reversed; write {high}-{low}")]
    Reversed {
        /// Its first number.
        low: usize,
        /// Its second number.
        high: usize,
    },
    /// A number is too large to be a PU of this machine.
    #[error("PU {text} is past the highest possible PU {highest}; use a smaller number")]
    TooLarge {
        /// The number as written, shortened.
        text: String,
        /// The highest number that is accepted.
        highest: usize,
    },
    /// A stride of 0 never ends.
    #[error("the stride in `{text}` is 0; use 1 or more")]
    ZeroStride {
        /// The entry.
        text: String,
    },
}

/// Drops white space and NULs at both ends.
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    let is_blank = |b: u8| b == 0 || b.is_ascii_whitespace();
    while let [b, rest @ ..] = text
        && is_blank(*b)
    {
        text = rest;
    }
    while let [rest @ .., b] = text
        && is_blank(*b)
    {
        text = rest;
    }
    text
}

/// A decimal number below `limit`; digits only, so no sign and no blank.
pub(crate) fn number(text: &[u8], limit: usize) -> Result<usize, ListError> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(ListError::NotANumber { text: shown(text) });
    }
    let mut value = 0usize;
    for digit in text {
        value = value * 10 + usize::from(digit - b'0');
        // Checked at every digit, so that no number of digits overflows.
        if value >= limit {
            return Err(ListError::TooLarge {
                text: shown(text),
                highest: limit.saturating_sub(1),
            });
        }
    }
    Ok(value)
}

/// At most 40 bytes of a text, escaped, for messages.
pub(crate) fn shown(text: &[u8]) -> String {
    let cut = &text[..text.len().min(40)];
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

/// An ordered list of PUs as users write it: `0,2,4-8:2`. Order and repetition are kept.
///
/// # Errors
/// [`ListError`], as for the kernel's lists; blanks are not allowed inside.
pub(crate) fn ordered(text: &str) -> Result<Vec<usize>, ListError> {
    let mut pus = Vec::new();
    for entry in text.trim().split(',') {
        let entry = entry.trim();
        let (range, stride) = match entry.split_once(':') {
            None => (entry, 1),
            Some((range, stride)) => (range, number(stride.as_bytes(), PU_LIMIT)?),
        };
        if stride == 0 {
            return Err(ListError::ZeroStride { text: shown(entry.as_bytes()) });
        }
        let (low, high) = match range.split_once('-') {
            None if stride != 1 || entry.contains(':') => {
                return Err(ListError::NotANumber { text: shown(entry.as_bytes()) });
            }
            None => {
                let n = number(range.as_bytes(), PU_LIMIT)?;
                (n, n)
            }
            Some((low, high)) => {
                (number(low.as_bytes(), PU_LIMIT)?, number(high.as_bytes(), PU_LIMIT)?)
            }
        };
        if low > high {
            return Err(ListError::Reversed { low, high });
        }
        pus.extend((low..=high).step_by(stride));
        if pus.len() > PU_LIMIT {
            return Err(ListError::TooLarge {
                text: format!("number {}", pus.len()),
                highest: PU_LIMIT,
            });
        }
    }
    Ok(pus)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> Vec<usize> {
        PuSet::parse(text.as_bytes()).unwrap().0
    }

    #[test]
    fn lists_of_the_kernel_are_sets() {
        assert_eq!(set("0-3,8,10-11\n"), [0, 1, 2, 3, 8, 10, 11]);
        assert!(set("").is_empty());
        assert!(set("\n").is_empty());
        assert_eq!(set("0-1\n\0"), [0, 1]);
        assert_eq!(set(" \0 7 \0\n"), [7]);
        assert_eq!(set("3,1,1-2"), [1, 2, 3]);
    }

    #[test]
    fn anything_else_is_an_error() {
        for bad in [
            "3-1",
            "1,",
            ",1",
            "1,,2",
            "-1",
            "1-",
            "a",
            "1 2",
            "0-99999999999999999999",
            "+1",
            "0x1",
            "1-2-3",
            "0-3:2",
            "0-4294967295",
            "1\n2",
        ] {
            assert!(PuSet::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(PuSet::parse(b"0,\xff").is_err());
    }

    #[test]
    fn many_times_the_whole_range_stays_small() {
        let text = vec!["0-65535"; 2000].join(",");
        assert_eq!(set(&text).len(), 65_536);
    }

    #[test]
    fn a_set_prints_as_the_list_that_made_it() {
        for text in ["", "0", "0-3,8,10-11", "5,7,9-10"] {
            assert_eq!(PuSet::parse(text.as_bytes()).unwrap().to_string(), text);
        }
    }

    #[test]
    fn ordered_lists_keep_order_and_strides() {
        assert_eq!(ordered("0,2,4-8:2").unwrap(), [0, 2, 4, 6, 8]);
        assert_eq!(ordered("3,1,1").unwrap(), [3, 1, 1]);
        for bad in ["", "1:2", "0-4:0", "4-0", "a", "1-2:x"] {
            assert!(ordered(bad).is_err(), "{bad}");
        }
    }
}
