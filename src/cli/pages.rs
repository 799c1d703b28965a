//! The options for an array's pages and NUMA nodes, and what the report says of them.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use clap::Args;
use pinpool::{MemoryReport, Numa, Pages};
use serde::Serialize;

/// By what pages the array is made, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Memory")]
pub(super) struct PagesArgs {
    /// Pages of the array: the system's default, base ones, transparent huge ones as far as they
    /// are to be had, reserved huge ones (vm.nr_hugepages) or nothing, or those if there are enough.
    #[arg(long, value_name = "system|base|thp|huge[:1G]|try-huge[:1G]", default_value_t)]
    pub(super) pages: Pages,

    #[command(flatten)]
    pub(super) place: NodeArgs,
}

/// On which nodes it lies, and when it is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Memory")]
pub(super) struct NodeArgs {
    /// NUMA nodes of the array: this process's, that of the worker that begins with each part, all
    /// in turn, or one.
    #[arg(long, value_name = "default|first-touch|interleave|bind:N", default_value_t)]
    pub(super) numa: Numa,

    /// Have each worker map its share before the job; with first-touch it does so anyway.
    #[arg(long)]
    pub(super) prefault: bool,
}

impl PagesArgs {
    /// Which of the options asks for something, if any does.
    pub(super) fn asked(&self) -> Option<&'static str> {
        let NodeArgs { numa, prefault } = self.place;
        let asked = [
            (self.pages != Pages::System, "--pages"),
            (numa != Numa::Default, "--numa"),
            (prefault, "--prefault"),
        ];
        asked.into_iter().find(|(given, _)| *given).map(|(_, option)| option)
    }
}

/// What was got, as the JSON object has it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Got {
    page_bytes: u64,
    resident_bytes: u64,
    mapped_bytes: u64,
    transparent_huge_bytes: u64,
    reserved_huge_bytes: u64,
    swapped_bytes: u64,
    node_bytes: BTreeMap<usize, u64>,
    policy: String,
    shmem_enabled: Option<String>,
    /// The same for people.
    #[serde(skip)]
    line: String,
}

impl Got {
    pub(super) fn of(memory: &MemoryReport, asked: &PagesArgs) -> Got {
        let mut line = memory.to_string();
        let wanted_huge = matches!(asked.pages, Pages::Transparent | Pages::TryHuge(_));
        if wanted_huge && memory.huge_bytes() == 0 {
            let setting = memory.shmem_enabled.as_deref().unwrap_or("not known to this kernel");
            line.push_str(&format!("; no huge page was to be had (shmem_enabled is {setting})"));
        }
        Got {
            page_bytes: memory.page_bytes,
            resident_bytes: memory.resident_bytes,
            mapped_bytes: memory.mapped_bytes,
            transparent_huge_bytes: memory.transparent_huge_bytes,
            reserved_huge_bytes: memory.reserved_huge_bytes,
            swapped_bytes: memory.swapped_bytes,
            node_bytes: memory.node_bytes.clone(),
            policy: memory.policy.clone(),
            shmem_enabled: memory.shmem_enabled.clone(),
            line,
        }
    }
}

impl std::fmt::Display for Got {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}
