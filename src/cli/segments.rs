//! `pinpool segments list|gc`: named shared memory of this user, and removing what is dead.

#![forbid(unsafe_code)]

use std::io::{self, Write};

use comfy_table::{CellAlignment, Table};
use pinpool::segments::{self, GcReport, SegmentState};

use super::args::SegmentsAction;
use super::exit::Exit;
use super::failure::Failure;
use super::numbers::Bytes;

pub(super) fn run(action: SegmentsAction) -> Result<Exit, Failure> {
    match action {
        SegmentsAction::List => list(),
        SegmentsAction::Gc => gc(),
    }
}

fn list() -> Result<Exit, Failure> {
    let found = segments::list()?;
    if found.is_empty() {
        say!("no named segments of this user in /dev/shm");
        return Ok(Exit::Done);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["NAME", "SIZE", "STATE", "MADE BY PID"]);
    for segment in found {
        let state = match segment.state {
            SegmentState::Live => "in use",
            SegmentState::Dead => "dead",
            SegmentState::Persistent => "kept",
            _ => "unknown",
        };
        let (size, pid) = (Bytes(segment.bytes).to_string(), segment.pid.to_string());
        table.add_row([segment.name.as_str(), &size, state, &pid]);
    }
    if let Some(size) = table.column_mut(1) {
        size.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(io::stdout(), "{}", table.trim_fmt()).map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

fn gc() -> Result<Exit, Failure> {
    let GcReport { removed, removed_bytes, live, persistent, failed, .. } = segments::gc()?;
    let mut out = io::stdout().lock();
    for name in &removed {
        writeln!(out, "removed {name}").map_err(Failure::Stdout)?;
    }
    say!(
        "{} removed ({}), {live} in use, {persistent} kept by their makers",
        removed.len(),
        Bytes(removed_bytes)
    );
    for name in &failed {
        say!("pinpool: {name} could not be judged or removed; it stays");
    }
    Ok(if failed.is_empty() { Exit::Done } else { Exit::Failed })
}
