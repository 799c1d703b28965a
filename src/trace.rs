//! Timelines: what each worker did when, in a ring for each, in shared memory.
//!
//! ```text
//! ring of worker 0 | … | ring of the last worker | ring of the supervisor (recoveries)
//! ring: count, padding to 128 bytes | capacity × (kind, start, end, chunk)
//! ```
//!
//! One writer a ring, at most one incarnation of a worker at a time; a new one goes on behind its
//! predecessor. The oldest events are overwritten, and the timeline says how many. Times are
//! CLOCK_MONOTONIC, the clock of [`Instant`](std::time::Instant), which all processes share. A
//! pool without a trace has no rings: what is left then is one branch on a value that never
//! changes, at each place where an event would be.

mod chrome;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};

use crate::control::Control;
use crate::error::Result;
use crate::segment::Segment;
use crate::worker::SegmentSource;

pub use chrome::chrome_trace;

const HEAD_WORDS: usize = 16;
const EVENT_WORDS: usize = 4;

/// What an event of a timeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A chunk of the worker's own share was run.
    Chunk,
    /// A chunk of another worker's share was run.
    StolenChunk,
    /// Looking for a chunk in other workers' shares, until one was claimed.
    Steal,
    /// A chunk's undo copy was made.
    Journal,
    /// Nothing to do: the worker looked out for work, or slept.
    Wait,
    /// A dead worker's chunks were put back and freed.
    Recovery,
}

const KINDS: [EventKind; 6] = [
    EventKind::Chunk,
    EventKind::StolenChunk,
    EventKind::Steal,
    EventKind::Journal,
    EventKind::Wait,
    EventKind::Recovery,
];

/// One thing that was done, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The worker that did it; for a recovery, the number of workers: the supervisor.
    pub worker: usize,
    /// What was done.
    pub kind: EventKind,
    /// When it began, in nanoseconds of the monotonic clock.
    pub start_ns: u64,
    /// When it was over.
    pub end_ns: u64,
    /// Which chunk of its job, or for a recovery which worker; 0 for a wait.
    pub chunk: u64,
}

/// What the workers of a pool did; made by [`Pool::timeline`](crate::Pool::timeline).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    workers: usize,
    events: Vec<Event>,
    dropped: u64,
}

impl Timeline {
    /// How many workers it speaks of.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// All events, by worker and then by time.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Events that were overwritten since there was no more room: the oldest.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The rings of a pool, for the one who reads them.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) segment: Arc<Segment>,
    workers: usize,
    capacity: usize,
}

impl Rings {
    /// Makes the rings, and says in the control block where they are.
    pub(crate) fn create(control: &Control, capacity: usize) -> Result<Rings> {
        // Whole cache lines.
        let capacity = capacity.clamp(4, 1 << 30).next_multiple_of(4);
        let workers = control.workers();
        let bytes = (ring_words(capacity) * 8).saturating_mul(workers + 1);
        let segment = Segment::nameless("pinpool-trace", bytes)?;
        control.header().trace_events.store(capacity as u64, Ordering::Relaxed);
        control.header().trace.store(segment.id(), Ordering::Release);
        Ok(Rings { segment, workers, capacity })
    }

    /// What was recorded so far. An event that is just being overwritten may be missing.
    pub(crate) fn timeline(&self) -> Timeline {
        let mut timeline = Timeline { workers: self.workers, ..Timeline::default() };
        for worker in 0..=self.workers {
            let segment = Arc::clone(&self.segment);
            let ring = Ring { segment, worker, capacity: self.capacity };
            timeline.dropped += ring.read(&mut timeline.events);
        }
        timeline
    }
}

fn ring_words(capacity: usize) -> usize {
    HEAD_WORDS + capacity * EVENT_WORDS
}

/// One writer's ring.
#[derive(Debug)]
struct Ring {
    segment: Arc<Segment>,
    worker: usize,
    capacity: usize,
}

impl Ring {
    fn words(&self) -> &[AtomicU64] {
        let len = ring_words(self.capacity);
        let at = self.segment.base().wrapping_add(self.worker * len * 8);
        // SAFETY: `Rings::create` made room for so many rings, and `Recorder::open` checked it
        // again; the segment begins on a page and stays mapped with `self`; its words are only
        // ever used as atomics.
        unsafe { std::slice::from_raw_parts(at.cast_const().cast(), len) }
    }

    fn push(&self, kind: EventKind, start_ns: u64, end_ns: u64, chunk: u64) {
        let words = self.words();
        let count = words[0].load(Ordering::Relaxed);
        let at = HEAD_WORDS + (count % self.capacity as u64) as usize * EVENT_WORDS;
        let kind = KINDS.iter().position(|&k| k == kind).unwrap_or(0) as u64;
        for (word, value) in words[at..].iter().zip([kind + 1, start_ns, end_ns, chunk]) {
            word.store(value, Ordering::Relaxed);
        }
        words[0].store(count + 1, Ordering::Release);
    }

    /// Appends the events; gives how many were overwritten.
    fn read(&self, events: &mut Vec<Event>) -> u64 {
        let words = self.words();
        let count = words[0].load(Ordering::Acquire);
        let kept = count.min(self.capacity as u64);
        for i in count - kept..count {
            let at = HEAD_WORDS + (i % self.capacity as u64) as usize * EVENT_WORDS;
            let word = |k: usize| words[at + k].load(Ordering::Relaxed);
            let kind = word(0).checked_sub(1).and_then(|kind| KINDS.get(kind as usize));
            let (start_ns, end_ns) = (word(1), word(2));
            if let Some(&kind) = kind
                && start_ns <= end_ns
            {
                let (worker, chunk) = (self.worker, word(3));
                events.push(Event { worker, kind, start_ns, end_ns, chunk });
            }
        }
        count - kept
    }
}

/// Where a worker, or the supervisor, records; without a ring it does nothing.
#[derive(Debug)]
pub(crate) struct Recorder {
    ring: Option<Ring>,
}

impl Recorder {
    /// The recorder of worker `worker`, or of the supervisor, which comes after the last.
    pub(crate) fn open(
        control: &Control,
        source: &mut impl SegmentSource,
        worker: usize,
    ) -> Recorder {
        let id = control.header().trace.load(Ordering::Acquire);
        let capacity = control.header().trace_events.load(Ordering::Relaxed) as usize;
        if id == 0 {
            return Recorder { ring: None };
        }
        let ring = source.segment(id).map(|segment| Ring { segment, worker, capacity });
        let fits = |ring: &Ring| {
            let bytes = ring_words(capacity).saturating_mul(8).saturating_mul(worker + 1);
            bytes <= ring.segment.len()
        };
        Recorder { ring: ring.filter(fits) }
    }

    /// The time, where anything is recorded.
    #[inline]
    pub(crate) fn start(&self) -> u64 {
        if self.ring.is_some() { now_ns() } else { 0 }
    }

    /// Records what began at `start` and is over now.
    #[inline]
    pub(crate) fn end(&self, kind: EventKind, start: u64, chunk: u64) {
        if let Some(ring) = &self.ring {
            ring.push(kind, start, now_ns(), chunk);
        }
    }

    /// Records the end of a chunk; before one of another worker's share, the search for it.
    #[inline]
    pub(crate) fn end_chunk(&self, start: u64, chunk: u64, own: impl FnOnce() -> bool) {
        if self.ring.is_some() {
            let kind = if own() { EventKind::Chunk } else { EventKind::StolenChunk };
            self.end(kind, start, chunk);
        }
    }

    /// Records that a chunk of another worker's share was looked for since `start`, and found.
    #[inline]
    pub(crate) fn end_search(&self, start: u64, chunk: u64, own: impl FnOnce() -> bool) {
        if self.ring.is_some() && !own() {
            self.end(EventKind::Steal, start, chunk);
        }
    }
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
