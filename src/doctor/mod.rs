//! What on this machine will hurt a pool, why, and how to mend it.
//!
//! Each check looks at a few files (of the running machine, or of a snapshot's root) or at the
//! [`Topology`], and gives a [`Finding`] or nothing. Nothing is changed, nothing needs
//! privileges, and a file that is missing means that the check has nothing to say. The command
//! `pinpool doctor` is the caller.
#![forbid(unsafe_code)]

mod checks;

use std::fmt;
use std::path::Path;

use crate::topology::{Snapshot, Source, Topology};

/// How much something hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Note,
    /// Costs speed or comfort.
    Warning,
    /// Something will fail.
    Problem,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it hurts.
    pub severity: Severity,
    /// What is the case.
    pub what: String,
    /// Why it matters here.
    pub why: String,
    /// What to do about it: a command, or a sentence.
    pub mend: String,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.what)?;
        writeln!(f, "  why:  {}", self.why)?;
        write!(f, "  mend: {}", self.mend)
    }
}

/// Looks at the machine that the topology was read from, the worst findings first. Of a
/// synthetic machine only the topology itself is looked at.
#[must_use]
pub fn doctor(topology: &Topology) -> Vec<Finding> {
    let root = match topology.source() {
        Source::Live => Some(Path::new("/")),
        Source::Snapshot(root) => Some(root.as_path()),
        Source::Synthetic(_) => None,
    };
    let patient = Patient {
        topology,
        live: *topology.source() == Source::Live,
        files: root.and_then(|root| Snapshot::open(root).ok()),
    };
    let mut findings: Vec<Finding> =
        checks::CHECKS.iter().filter_map(|check| check(&patient)).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// What a check may look at.
struct Patient<'t> {
    topology: &'t Topology,
    live: bool,
    files: Option<Snapshot>,
}

type Check = fn(&Patient<'_>) -> Option<Finding>;

impl Patient<'_> {
    /// A file as trimmed text.
    fn text(&self, path: &str) -> Option<String> {
        let bytes = self.files.as_ref()?.read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_string())
    }

    fn number(&self, path: &str) -> Option<i64> {
        self.files.as_ref()?.read_number(path)
    }

    /// A field of `proc/meminfo`, in bytes.
    fn memory(&self, field: &str) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    }

    /// The soft limit of a line of `proc/self/limits`; `None` where there is none.
    fn soft_limit(&self, name: &str) -> Option<u64> {
        let text = self.text("proc/self/limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    /// The word in brackets of a file such as `always [madvise] never`.
    fn chosen(&self, path: &str) -> Option<String> {
        let text = self.text(path)?;
        let (_, rest) = text.split_once('[')?;
        Some(rest.split_once(']')?.0.to_string())
    }
}
