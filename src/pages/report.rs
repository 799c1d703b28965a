//! What an array really got, from the kernel's account and not from what was asked for.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use super::huge::shmem_setting;
use super::maps::{numa_maps, smaps};
use crate::memory::human;

/// The memory of one array, as the kernel accounts for it (/proc/self/smaps, numa_maps).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryReport {
    /// Bytes of the mapping: header and data, in whole pages.
    pub mapped_bytes: u64,
    /// Bytes that are in memory and in this process's page tables.
    pub resident_bytes: u64,
    /// Bytes of a page as the kernel names it (KernelPageSize): that of the smallest pages, also
    /// where transparent huge ones stand for many of them.
    pub page_bytes: u64,
    /// Bytes in transparent huge pages that are mapped in one piece.
    pub transparent_huge_bytes: u64,
    /// Bytes in reserved huge pages.
    pub reserved_huge_bytes: u64,
    /// Bytes that were written out to swap.
    pub swapped_bytes: u64,
    /// Bytes on each NUMA node; empty where the kernel does not tell.
    pub node_bytes: BTreeMap<usize, u64>,
    /// The NUMA policy in the kernel's words: `default`, `bind:0`, `interleave:0-1`; empty where the
    /// kernel does not tell.
    pub policy: String,
    /// The system's setting for transparent huge pages in shared memory (`shmem_enabled`).
    pub shmem_enabled: Option<String>,
}

impl MemoryReport {
    /// Of the mapping that takes these addresses of this process.
    pub(crate) fn of(range: Range<u64>) -> io::Result<Self> {
        let smaps = smaps(lines("/proc/self/smaps")?.iter().map(String::as_str), &range);
        // Without NUMA there is no such file.
        let numa = lines("/proc/self/numa_maps").unwrap_or_default();
        let numa = numa_maps(numa.iter().map(String::as_str), &range, smaps.page_bytes);
        Ok(Self {
            mapped_bytes: smaps.size,
            resident_bytes: smaps.resident,
            page_bytes: smaps.page_bytes,
            transparent_huge_bytes: smaps.transparent,
            reserved_huge_bytes: smaps.reserved,
            swapped_bytes: smaps.swapped,
            node_bytes: numa.nodes,
            policy: numa.policy,
            shmem_enabled: shmem_setting(Path::new("/")),
        })
    }

    /// Bytes in huge pages of either kind.
    #[must_use]
    pub fn huge_bytes(&self) -> u64 {
        self.transparent_huge_bytes.saturating_add(self.reserved_huge_bytes)
    }
}

fn lines(path: &str) -> io::Result<Vec<String>> {
    BufReader::new(File::open(path)?).lines().collect()
}

/// One line: `297.0 MiB of 305.1 MiB in transparent huge pages, the rest by 4.0 KiB; node 0`.
impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resident = human(self.resident_bytes);
        let page = human(self.page_bytes);
        if self.reserved_huge_bytes > 0 {
            write!(f, "{resident} in reserved huge pages of {page}")?;
        } else if self.transparent_huge_bytes > 0 {
            let huge = human(self.transparent_huge_bytes);
            write!(f, "{huge} of {resident} in transparent huge pages, the rest by {page}")?;
        } else {
            write!(f, "{resident} by pages of {page}")?;
        }
        if self.resident_bytes < self.mapped_bytes {
            write!(f, ", {} mapped", human(self.mapped_bytes))?;
        }
        if self.swapped_bytes > 0 {
            write!(f, ", {} swapped out", human(self.swapped_bytes))?;
        }
        match self.node_bytes.len() {
            0 => {}
            1 => self.node_bytes.keys().try_for_each(|node| write!(f, "; node {node}"))?,
            _ => {
                f.write_str("; nodes")?;
                let mut nodes = self.node_bytes.iter();
                nodes.try_for_each(|(node, &bytes)| write!(f, " {node}: {}", human(bytes)))?;
            }
        }
        if !matches!(self.policy.as_str(), "" | "default") {
            write!(f, "; policy {}", self.policy)?;
        }
        Ok(())
    }
}
