//! The words for pages and places of memory, as in numactl and hwloc.
#![forbid(unsafe_code)]

use std::fmt;
use std::str::FromStr;

/// Smallest and largest huge page of any kernel, as powers of two: 16 KiB and 16 GiB.
const SHIFTS: std::ops::RangeInclusive<u32> = 14..=34;

/// By what pages an array is mapped.
///
/// Its words are `system`, `base`, `thp`, `huge`, `huge:1G`, `try-huge` and `try-huge:1G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Pages {
    /// As the system does by default.
    #[default]
    System,
    /// By the smallest pages that there are, also where the system would take larger ones.
    Base,
    /// By huge pages that the kernel puts together from free memory, as far as it finds any:
    /// nothing is to be reserved, and nothing is promised.
    Transparent,
    /// By huge pages that were reserved (`vm.nr_hugepages`); too few of them are an error.
    Huge(HugeSize),
    /// The same, but transparent ones where there are too few.
    TryHuge(HugeSize),
}

/// The size of reserved huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct HugeSize {
    /// Power of two of the bytes; 0 for the system's own choice.
    shift: u32,
}

impl HugeSize {
    /// The size that the system takes where none is named (`Hugepagesize` in /proc/meminfo).
    pub const DEFAULT: Self = Self { shift: 0 };
    /// 2 MiB.
    pub const MIB_2: Self = Self { shift: 21 };
    /// 1 GiB.
    pub const GIB_1: Self = Self { shift: 30 };

    /// The size of so many bytes, if it is a power of two from 16 KiB to 16 GiB.
    ///
    /// ```
    /// # use pinpool::HugeSize;
    /// assert_eq!(HugeSize::of_bytes(2 << 20), Some(HugeSize::MIB_2));
    /// assert_eq!(HugeSize::of_bytes(3 << 20), None);
    /// ```
    #[must_use]
    pub fn of_bytes(bytes: u64) -> Option<Self> {
        let shift = bytes.checked_ilog2()?;
        (bytes.is_power_of_two() && SHIFTS.contains(&shift)).then_some(Self { shift })
    }

    /// As `memfd_create` wants it.
    pub(crate) fn shift(self) -> u32 {
        self.shift
    }

    /// In bytes; `None` for the system's own choice.
    #[must_use]
    pub fn bytes(self) -> Option<u64> {
        (self.shift > 0).then(|| 1 << self.shift)
    }
}

/// On which NUMA nodes the pages of an array lie.
///
/// Its words are `default`, `first-touch`, `interleave` and `bind:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Numa {
    /// Where this process's own policy puts them: its node, or what `numactl` said.
    #[default]
    Default,
    /// On the node of the worker that begins with them: each touches its own share first.
    FirstTouch,
    /// Page by page in turn on all nodes that this process may use.
    Interleave,
    /// All on this node.
    Bind(usize),
}

/// A word that is none of those above.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PagesError {
    /// No kind of pages.
    #[error(
        "{0:?} is no kind of pages; use system, base, thp, huge, huge:1G, try-huge or try-huge:1G"
    )]
    Pages(String),
    /// No size of a huge page.
    #[error("{0:?} is no size of a huge page; use a power of two such as 2M or 1G")]
    Size(String),
    /// No NUMA policy.
    #[error("{0:?} is no NUMA policy; use default, first-touch, interleave or bind:N")]
    Numa(String),
}

impl FromStr for Pages {
    type Err = PagesError;

    fn from_str(text: &str) -> Result<Self, PagesError> {
        let (word, size) = match text.split_once(':') {
            Some((word, size)) => (word, Some(size)),
            None => (text, None),
        };
        match (word, size) {
            ("system", None) => Ok(Self::System),
            ("base", None) => Ok(Self::Base),
            ("thp", None) => Ok(Self::Transparent),
            ("huge", size) => Ok(Self::Huge(size.map_or(Ok(HugeSize::DEFAULT), str::parse)?)),
            ("try-huge", size) => {
                Ok(Self::TryHuge(size.map_or(Ok(HugeSize::DEFAULT), str::parse)?))
            }
            _ => Err(PagesError::Pages(text.to_owned())),
        }
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, size) = match self {
            Self::System => ("system", HugeSize::DEFAULT),
            Self::Base => ("base", HugeSize::DEFAULT),
            Self::Transparent => ("thp", HugeSize::DEFAULT),
            Self::Huge(size) => ("huge", *size),
            Self::TryHuge(size) => ("try-huge", *size),
        };
        f.write_str(word)?;
        if size == HugeSize::DEFAULT { Ok(()) } else { write!(f, ":{size}") }
    }
}

impl FromStr for HugeSize {
    type Err = PagesError;

    fn from_str(text: &str) -> Result<Self, PagesError> {
        let wrong = || PagesError::Size(text.to_owned());
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
            "k" | "ki" | "kib" => 10,
            "m" | "mi" | "mib" => 20,
            "g" | "gi" | "gib" => 30,
            _ => return Err(wrong()),
        };
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| plain).ok_or_else(wrong)?;
        number.checked_mul(1 << shift).and_then(Self::of_bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for HugeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shift {
            0 => f.write_str("default"),
            shift @ 1..20 => write!(f, "{}K", 1 << (shift - 10)),
            shift @ 20..30 => write!(f, "{}M", 1 << (shift - 20)),
            shift => write!(f, "{}G", 1 << (shift - 30)),
        }
    }
}

impl FromStr for Numa {
    type Err = PagesError;

    fn from_str(text: &str) -> Result<Self, PagesError> {
        match text {
            "default" => Ok(Self::Default),
            "first-touch" => Ok(Self::FirstTouch),
            "interleave" => Ok(Self::Interleave),
            _ => text
                .strip_prefix("bind:")
                .filter(|node| node.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|node| node.parse().ok())
                .map(Self::Bind)
                .ok_or_else(|| PagesError::Numa(text.to_owned())),
        }
    }
}

impl fmt::Display for Numa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::FirstTouch => f.write_str("first-touch"),
            Self::Interleave => f.write_str("interleave"),
            Self::Bind(node) => write!(f, "bind:{node}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_prints_as_it_is_written() {
        for word in [
            "system",
            "base",
            "thp",
            "huge",
            "huge:1G",
            "huge:2M",
            "huge:64K",
            "try-huge",
            "try-huge:16G",
        ] {
            assert_eq!(word.parse::<Pages>().unwrap().to_string(), word);
        }
        for word in ["default", "first-touch", "interleave", "bind:0", "bind:17"] {
            assert_eq!(word.parse::<Numa>().unwrap().to_string(), word);
        }
        assert_eq!("huge:2MiB".parse(), Ok(Pages::Huge(HugeSize::MIB_2)));
        assert_eq!("huge:1g".parse(), Ok(Pages::Huge(HugeSize::GIB_1)));
        assert_eq!("huge".parse(), Ok(Pages::Huge(HugeSize::DEFAULT)));
        assert_eq!(HugeSize::GIB_1.bytes(), Some(1 << 30));
    }

    #[test]
    fn other_words_are_refused() {
        for word in [
            "",
            "THP",
            "base:2M",
            "thp:1G",
            "big",
            "huge:",
            "huge:3M",
            "huge:2",
            "huge:-2M",
            "huge:+2M",
            "huge:1T",
            "huge:2Mé",
            "huge:99999999999999999999G",
            "huge:8K",
            "huge:32G",
        ] {
            assert!(word.parse::<Pages>().is_err(), "{word}");
        }
        for word in ["", "bind", "bind:", "bind:x", "bind:+1", "bind:-1", "first", "local"] {
            assert!(word.parse::<Numa>().is_err(), "{word}");
        }
    }
}
