//! Named segments of this user: which there are, and removing the dead.
//!
//! A segment is dead when nobody holds its lock any more: its maker and all workers are gone. One
//! that is in use, marked to persist, or another user's is never touched. Called by
//! `pinpool segments list|gc` and whenever a pool is built.
#![forbid(unsafe_code)]

use std::io;

use crate::segment::registry::{Finding, Registry};

/// How a named segment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SegmentState {
    /// Some process uses it.
    Live,
    /// Nobody uses it: the next collection removes it.
    Dead,
    /// Marked to outlive everybody; remove it by hand.
    Persistent,
}

/// One named segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its name under /dev/shm.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it is in use.
    pub state: SegmentState,
    /// The process that made it; for people, since pids are used again.
    pub pid: u32,
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GcReport {
    /// Names of the dead segments that were removed.
    pub removed: Vec<String>,
    /// Bytes that they held.
    pub removed_bytes: u64,
    /// How many are in use and stay.
    pub live: usize,
    /// How many are marked to stay.
    pub persistent: usize,
    /// Names that could not be judged or removed; they stay, with their records.
    pub failed: Vec<String>,
}

/// Why segments could not be listed or collected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GcError {
    /// The registry could not be read.
    #[error(
        "cannot read the registry of segments in /dev/shm: {source}; is /dev/shm mounted and yours to read?"
    )]
    Registry {
        /// The system's reason.
        #[from]
        source: io::Error,
    },
}

/// All named segments of this user that are on record, by name.
///
/// # Errors
/// [`GcError::Registry`] where /dev/shm cannot be read.
pub fn list() -> Result<Vec<SegmentInfo>, GcError> {
    list_in(&Registry::for_writing()?)
}

/// Removes every dead named segment of this user.
///
/// # Errors
/// [`GcError::Registry`] where /dev/shm cannot be read.
pub fn gc() -> Result<GcReport, GcError> {
    gc_in(&Registry::for_writing()?)
}

fn list_in(registry: &Registry) -> Result<Vec<SegmentInfo>, GcError> {
    let mut segments = Vec::new();
    for locked in registry.lock_existing()? {
        for record in locked.records()?.0 {
            let (finding, bytes) = locked.examine(&record, false)?;
            let state = match finding {
                Finding::Live => SegmentState::Live,
                Finding::Dead => SegmentState::Dead,
                Finding::Persistent => SegmentState::Persistent,
                Finding::Gone => continue,
            };
            segments.push(SegmentInfo { name: record.name, bytes, state, pid: record.pid });
        }
    }
    segments.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(segments)
}

fn gc_in(registry: &Registry) -> Result<GcReport, GcError> {
    let mut report = GcReport::default();
    for locked in registry.lock_existing()? {
        let (records, damaged) = locked.records()?;
        // A record that cannot be read proves nothing, so it can remove nothing but itself.
        damaged.iter().for_each(|name| locked.remove_record(name));
        for record in records {
            match locked.examine(&record, true) {
                Ok((Finding::Live, _)) => report.live += 1,
                Ok((Finding::Persistent, _)) => report.persistent += 1,
                Ok((Finding::Dead, bytes)) => {
                    report.removed.push(record.name);
                    report.removed_bytes += bytes;
                }
                Ok((Finding::Gone, _)) => {}
                Err(_) => report.failed.push(record.name),
            }
        }
    }
    Ok(report)
}
