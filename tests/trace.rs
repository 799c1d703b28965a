//! Timelines: their format, that they account for the time, and what they say of deaths.

mod watchdog;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use pinpool::{Backend, EventKind, Pool, SharedArray, Timeline, chrome_trace, indices};
use serde_json::Value;
use watchdog::watched;

fn pool(backend: Backend, events: usize) -> Pool {
    let builder = Pool::builder().workers(2).oversubscribe(true).backend(backend);
    builder.trace(events).build().unwrap()
}

fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Start and length in microseconds, and the name.
type Span = (f64, f64, String);

/// Checks what the Chrome trace format asks for; gives the complete events by process and thread.
fn checked(json: &str) -> HashMap<(u64, u64), Vec<Span>> {
    let trace: Value = serde_json::from_str(json).unwrap();
    assert_eq!(trace["displayTimeUnit"], "ns");
    let mut lines: HashMap<_, Vec<_>> = HashMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let id = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
        let name = event["name"].as_str().unwrap().to_owned();
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"]["name"].is_string()),
            "X" => {
                let (ts, dur) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
                assert!(ts >= 0.0 && dur >= 0.0);
                lines.entry(id).or_default().push((ts, dur, name));
            }
            other => panic!("unexpected phase {other}"),
        }
    }
    for events in lines.values() {
        // One after the other on each line: what follows begins when what precedes is over.
        for pair in events.windows(2) {
            let ((ts, dur, _), (next, ..)) = (&pair[0], &pair[1]);
            assert!(ts + dur <= next + 0.0015, "{pair:?} overlap");
        }
    }
    lines
}

fn count(timeline: &Timeline, kinds: &[EventKind]) -> usize {
    timeline.events().iter().filter(|event| kinds.contains(&event.kind)).count()
}

const CHUNK_KINDS: [EventKind; 2] = [EventKind::Chunk, EventKind::StolenChunk];

#[test]
fn a_trace_has_each_chunk_once_and_accounts_for_the_time() {
    watched(|| {
        for backend in [Backend::Processes, Backend::Threads, Backend::Serial] {
            let pool = pool(backend, 10_000);
            let mut x = SharedArray::<u64, _>::zeros(300).unwrap();
            // The first third takes longest, so that there is something to steal.
            pool.for_each(x.chunks_mut(1), |mut row, ctx| {
                busy(Duration::from_micros(if ctx.chunk() < 100 { 1500 } else { 300 }));
                row[0] = ctx.chunk();
            })
            .unwrap();
            let timeline = pool.timeline().unwrap();
            assert_eq!(timeline.dropped(), 0);
            let mut chunks: Vec<u64> = timeline
                .events()
                .iter()
                .filter(|event| CHUNK_KINDS.contains(&event.kind))
                .map(|event| event.chunk)
                .collect();
            chunks.sort_unstable();
            assert_eq!(chunks, (0..300).collect::<Vec<_>>(), "{backend}");
            assert_eq!(count(&timeline, &[EventKind::Journal]), 300, "{backend}");
            if backend != Backend::Serial {
                assert!(count(&timeline, &[EventKind::StolenChunk]) > 0, "{backend}");
            }
            for (line, events) in checked(&chrome_trace(&[("test", &timeline)])) {
                let (first, last) = (&events[0], &events[events.len() - 1]);
                let wall = last.0 + last.1 - first.0;
                let sum: f64 = events.iter().map(|(_, dur, _)| dur).sum();
                assert!((sum / wall - 1.0).abs() < 0.02, "{line:?}: {sum} of {wall} µs");
            }
        }
    });
}

#[test]
fn the_oldest_events_make_room_and_their_number_is_told() {
    watched(|| {
        let pool = pool(Backend::Serial, 64);
        pool.for_each(indices(1000), |_, _| ()).unwrap();
        let timeline = pool.timeline().unwrap();
        assert_eq!(timeline.events().len(), 64);
        assert_eq!(timeline.dropped(), 1000 - 64);
        let kept: Vec<u64> = timeline.events().iter().map(|event| event.chunk).collect();
        assert_eq!(kept, (936..1000).collect::<Vec<_>>());
        let json = chrome_trace(&[("a \"name\"", &timeline)]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["otherData"]["dropped_events"], 936);
    });
}

#[test]
fn a_pool_without_a_trace_has_no_timeline() {
    watched(|| {
        let pool = Pool::builder().backend(Backend::Serial).build().unwrap();
        pool.for_each(indices(3), |_, _| ()).unwrap();
        assert_eq!(pool.timeline(), None);
    });
}

#[test]
fn a_recovery_is_on_the_supervisors_line_and_the_successor_goes_on() {
    watched(|| {
        let pool = pool(Backend::Processes, 10_000);
        pool.for_each(indices(100), |_, _| ()).unwrap();
        let pid = pool.whereabouts()[1].pid;
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        while pool.deaths() == 0 || pool.whereabouts()[1].pid == pid {
            std::thread::sleep(Duration::from_millis(1));
        }
        pool.for_each(indices(100), |_, _| busy(Duration::from_micros(300))).unwrap();
        let timeline = pool.timeline().unwrap();
        assert_eq!(count(&timeline, &CHUNK_KINDS), 200);
        let recoveries: Vec<_> =
            timeline.events().iter().filter(|e| e.kind == EventKind::Recovery).collect();
        assert_eq!(recoveries.len(), 1);
        assert_eq!((recoveries[0].worker, recoveries[0].chunk), (2, 1));
        let successor = timeline.events().iter().filter(|e| e.worker == 1);
        assert!(successor.filter(|e| e.start_ns > recoveries[0].end_ns).count() > 0);
        checked(&chrome_trace(&[("test", &timeline)]));
    });
}
