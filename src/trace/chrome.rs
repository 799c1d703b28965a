//! Timelines as JSON in the Chrome trace format, which Perfetto and chrome://tracing open.
//!
//! One process a timeline, one thread a worker; complete events (`ph` X) in microseconds from the
//! first event of all.

#![forbid(unsafe_code)]

use std::fmt::Write;

use super::{EventKind, Timeline};

impl EventKind {
    /// The name in traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Chunk => "chunk",
            EventKind::StolenChunk => "stolen chunk",
            EventKind::Steal => "steal",
            EventKind::Journal => "journal",
            EventKind::Wait => "wait",
            EventKind::Recovery => "recovery",
        }
    }
}

/// The Chrome trace of some timelines, each with a name.
///
/// ```
/// use pinpool::{Pool, chrome_trace, indices};
///
/// let pool = Pool::builder().workers(2).oversubscribe(true).trace(1000).build()?;
/// pool.for_each(indices(8), |_, _| ())?;
/// let timeline = pool.timeline().expect("the pool has a trace");
/// let json = chrome_trace(&[("empty chunks", &timeline)]);
/// assert!(json.starts_with(r#"{"displayTimeUnit""#));
/// # Ok::<(), pinpool::Error>(())
/// ```
#[must_use]
pub fn chrome_trace(timelines: &[(&str, &Timeline)]) -> String {
    let events = timelines.iter().flat_map(|(_, timeline)| timeline.events());
    let origin = events.map(|event| event.start_ns).min().unwrap_or(0);
    let dropped: u64 = timelines.iter().map(|(_, timeline)| timeline.dropped()).sum();
    let mut json = String::from("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"dropped_events\":");
    push(&mut json, format_args!("{dropped}}},\"traceEvents\":["));
    let mut comma = "";
    for (i, (name, timeline)) in timelines.iter().enumerate() {
        let pid = i + 1;
        push(
            &mut json,
            format_args!(
                "{comma}{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{pid},\"tid\":0,\"args\":{{\"name\":{}}}}}",
                quoted(name)
            ),
        );
        comma = ",\n";
        for worker in 0..=timeline.workers() {
            let thread = match worker {
                w if w == timeline.workers() => "supervisor".to_owned(),
                w => format!("worker {w}"),
            };
            push(
                &mut json,
                format_args!(
                    ",\n{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{pid},\"tid\":{worker},\"args\":{{\"name\":\"{thread}\"}}}}"
                ),
            );
        }
        for event in timeline.events() {
            let (at, long) = (event.start_ns - origin, event.end_ns - event.start_ns);
            let what = if event.kind == EventKind::Recovery { "worker" } else { "chunk" };
            push(
                &mut json,
                format_args!(
                    ",\n{{\"ph\":\"X\",\"cat\":\"pinpool\",\"name\":\"{}\",\"ts\":{},\"dur\":{},\"pid\":{pid},\"tid\":{},\"args\":{{\"{what}\":{}}}}}",
                    event.kind.name(),
                    Micros(at),
                    Micros(long),
                    event.worker,
                    event.chunk
                ),
            );
        }
    }
    json += "]}\n";
    json
}

fn push(json: &mut String, text: std::fmt::Arguments<'_>) {
    json.write_fmt(text).expect("writing into a String cannot fail");
}

/// Nanoseconds as the format's microseconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => push(&mut quoted, format_args!("\\u{:04x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped() {
        assert_eq!(super::quoted("a\"b\\\n"), "\"a\\\"b\\\\\\u000a\"");
    }
}
