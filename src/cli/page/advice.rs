//! What a sweep's figures come to, in sentences. A difference is only called one where the
//! intervals of the two settings do not overlap and are sure, and nothing is said of settings that
//! were not measured.

#![forbid(unsafe_code)]

use super::series::{Scaling, Step};
use super::{Page, Point};
use crate::cli::roof::Roof;
use crate::cli::statistics::{Difference, least_runs};

/// Below this part of the ideal speed-up, more workers are mostly waste.
const EFFICIENT: f64 = 0.8;
/// From this part of the roof on, memory is what limits.
const AT_THE_ROOF: f64 = 0.8;

/// The sentences, the most important first.
pub(super) fn advice(page: &Page, scaling: &[Scaling]) -> Vec<String> {
    let Some(best) = page.best() else {
        return vec!["Nothing was measured: give a larger --budget.".to_owned()];
    };
    let mut sentences = vec![fastest(page, best)];
    sentences.extend(cheaper(page, best));
    sentences.extend(axes(page, best));
    if let Some(line) = scaling.first() {
        sentences.extend(scales(page, line));
        sentences.extend(laws(line));
    }
    match &page.simulated {
        Some(simulated) => sentences.extend(simulated.contention.clone()),
        None => sentences.extend(bandwidth(page, best)),
    }
    sentences.extend(quiet(page));
    sentences
}

fn fastest(page: &Page, best: usize) -> String {
    let point = &page.points[best];
    let per_element = point.seconds * 1e9 / page.elements as f64;
    let setting = setting(point);
    if page.simulated.is_some() {
        return format!(
            "Of {} simulated settings the fastest is {setting}: {} expected ({per_element:.3} ns an element).",
            page.points.len(),
            time(point.seconds)
        );
    }
    let measured = match page.left.settings {
        0 => format!("{} settings", page.points.len()),
        left => {
            let all = page.points.len() + left;
            format!("the {} settings that were measured, of {all},", page.points.len())
        }
    };
    format!(
        "Of {measured} the fastest is {setting}: {} ({} to {}, {:.0} % sure), {per_element:.3} ns an element.",
        time(point.seconds),
        time(point.low),
        time(point.high),
        point.confidence * 100.0
    )
}

/// What cannot be told from the best, and whether it needs less.
fn cheaper(page: &Page, best: usize) -> Vec<String> {
    if page.simulated.is_some() || page.points.len() < 2 {
        return Vec::new();
    }
    let same = page.that_are(Difference::BelowTheNoise);
    let unsure = page.that_are(Difference::Unsure).len();
    let mut sentences = Vec::new();
    if same.len() > 1 {
        let fewest = same.iter().copied().min_by_key(|&at| page.points[at].workers);
        let fewest = fewest.map(|at| &page.points[at]);
        let less = match fewest.filter(|point| point.workers < page.points[best].workers) {
            Some(point) => {
                format!(" One of them needs only {}: {}.", setting(point), point.command)
            }
            None => String::new(),
        };
        sentences.push(format!(
            "{} be told from it: the difference is below the noise (the intervals overlap).{less}",
            counted(same.len() - 1, "setting cannot", "settings cannot")
        ));
    }
    if unsure > 0 {
        sentences.push(format!(
            "{} slower by the median, with too few runs to say that it is more than the noise.",
            counted(unsure, "setting is", "settings are")
        ));
    }
    if sentences.is_empty() {
        let measured = if page.left.settings > 0 { " that was measured" } else { "" };
        sentences.push(format!("Every other setting{measured} is slower by more than the noise."));
    }
    sentences
}

/// A thing that is swept beside the number of workers, and a point's word for it.
#[derive(Clone, Copy)]
struct Axis {
    name: &'static str,
    word: fn(&Point) -> String,
}

const AXES: [Axis; 3] = [
    Axis { name: "Policy", word: |point| point.bind.clone() },
    Axis { name: "Pages", word: |point| point.pages.clone().unwrap_or_default() },
    Axis { name: "Chunk length", word: |point| point.chunk.to_string() },
];

/// A sentence for each thing that was swept, the others held as in the best setting.
fn axes(page: &Page, best: usize) -> Vec<String> {
    let fast = &page.points[best];
    let sentences = AXES.iter().filter_map(|axis| {
        let others: Vec<usize> = (0..page.points.len())
            .filter(|&at| {
                let point = &page.points[at];
                let differ = |axis: &Axis| (axis.word)(point) != (axis.word)(fast);
                let along = AXES.iter().all(|other| differ(other) == (other.name == axis.name));
                along && point.workers == fast.workers
            })
            .collect();
        axis.sentence(page, best, &others)
    });
    sentences.collect()
}

impl Axis {
    /// What some points, which differ from the best one in this alone, cost beside it.
    fn sentence(self, page: &Page, best: usize, others: &[usize]) -> Option<String> {
        let Axis { name, word } = self;
        let fast = &page.points[best];
        let times =
            |point: &Point| format!("{} {:.2} times", word(point), point.seconds / fast.seconds);
        let of = |difference: Difference, text: &dyn Fn(&Point) -> String| {
            let those = others.iter().filter(|&&at| page.difference(at, best) == difference);
            those.map(|&at| text(&page.points[at])).collect::<Vec<_>>().join(", ")
        };
        let simulated = page.simulated.is_some();
        let below = if simulated { "no difference" } else { "a difference below the noise" };
        let parts = [
            (of(Difference::Real, &times), "its time"),
            (of(Difference::BelowTheNoise, &word), below),
            (of(Difference::Unsure, &times), "its time, of too few runs to be sure"),
        ];
        let said: Vec<String> = parts
            .into_iter()
            .filter(|(points, _)| !points.is_empty())
            .map(|(points, what)| format!("{points} {what}"))
            .collect();
        (!said.is_empty()).then(|| format!("{name}, beside {}: {}.", word(fast), said.join("; ")))
    }
}

fn scales(page: &Page, line: &Scaling) -> Option<String> {
    let last = line.steps.last().filter(|last| last.workers > line.base_workers)?;
    let base = counted(line.base_workers, "worker", "workers");
    let part = last.speedup / last.workers as f64;
    let mut text = format!(
        "Against {base}{}, {} are {:.2} times as fast: {:.0} % of the ideal",
        if line.base_workers > 1 {
            format!(", taken as {}", line.base_workers)
        } else {
            String::new()
        },
        counted(last.workers, "worker", "workers"),
        last.speedup,
        part * 100.0
    );
    match page.difference(line.steps[0].point, last.point) {
        Difference::Real => {}
        Difference::BelowTheNoise => return Some(text + ", a difference below the noise."),
        Difference::Unsure => return Some(text + ", of too few runs to be sure."),
    }
    let low = |step: &&Step| step.speedup < EFFICIENT * step.workers as f64;
    let percent = EFFICIENT * 100.0;
    // What bends and recovers is no bend: only what stays low up to the most workers is.
    let bend = line.steps.iter().rev().take_while(low).last();
    let between: Vec<String> =
        line.steps.iter().filter(low).map(|s| s.workers.to_string()).collect();
    text += &match bend {
        Some(step) if step.point == last.point => format!("; it is below {percent:.0} % there"),
        Some(step) => format!("; from {} workers on it is below {percent:.0} %", step.workers),
        None if between.is_empty() => "; scaling does not bend up to there".to_owned(),
        None => {
            format!("; with {} it is below {percent:.0} %, but not with more", listed(&between))
        }
    };
    Some(text + ".")
}

fn laws(line: &Scaling) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(fit) = line.amdahl.fit() {
        let most = match fit.most {
            Some(most) => format!("so no number of workers is more than {most:.1} times as fast"),
            None => "and it sets no bound".to_owned(),
        };
        sentences.push(format!(
            "Amdahl's law: {:.2} % of the work is serial, {most} (no time is further than {:.1} % from the law).",
            fit.serial * 100.0,
            fit.worst * 100.0
        ));
    }
    if let Some(fit) = line.universal.fit() {
        let peak = match (fit.most, fit.most_at) {
            (Some(most), Some(at)) => {
                let at = counted(at.round() as usize, "worker", "workers");
                format!("most at {at}, {most:.1} times as fast; more of them are slower")
            }
            _ => "no number of workers is too many".to_owned(),
        };
        sentences.push(format!(
            "Universal scalability law: contention {:.2} %, coherency {:.4} %; {peak} (within {:.1} %).",
            fit.serial * 100.0,
            fit.coherency * 100.0,
            fit.worst * 100.0
        ));
    }
    sentences
}

fn bandwidth(page: &Page, best: usize) -> Option<String> {
    let point = &page.points[best];
    let traffic = page.traffic?;
    let here = |roof: &&Roof| {
        roof.workers == point.workers && roof.bind == point.bind && roof.pages == point.pages
    };
    let roof = page.roofs.iter().find(here)?;
    let bytes = traffic.kernel.bytes(page.elements, point.chunk) as f64;
    let (rate, most) = (bytes / point.seconds, roof.of(traffic.kernel.writes()));
    let part = rate / most;
    let says = if !traffic.is_beyond_caches() {
        "array and results fit the caches, so memory is not asked for all of it"
    } else if part >= AT_THE_ROOF {
        "memory limits it: more workers on the same memory will not help, another NUMA node may"
    } else {
        "memory is not what limits it"
    };
    Some(format!(
        "It moves {:.2} GB/s, {:.0} % of the {:.2} GB/s that the same workers reach when they do nothing else: {says}.",
        rate / 1e9,
        part * 100.0,
        most / 1e9
    ))
}

/// How far the measurements are to be trusted, and what would make them better.
fn quiet(page: &Page) -> Vec<String> {
    let mut sentences = Vec::new();
    let runs: usize = page.points.iter().map(|point| point.runs).sum();
    let outliers: usize = page.points.iter().map(|point| point.outliers).sum();
    if outliers > 0 {
        sentences.push(format!(
            "{outliers} of {} far from the median of {} setting: something was in the way, such as another program. pinpool doctor says what hurts on this machine.",
            counted(runs, "run is", "runs are"),
            if outliers == 1 { "its" } else { "their" }
        ));
    }
    let unsure = page.points.iter().filter(|point| !point.interval().is_sure());
    let sure = unsure.map(|point| point.confidence).min_by(f64::total_cmp);
    if let Some(sure) = sure {
        let needed = least_runs();
        let how = if page.repeats < needed {
            let kept = if page.left.kept { " with --resume" } else { "" };
            format!("--repeat {needed} or more{kept} makes it 95 %")
        } else {
            "the runs that the time did not suffice for are needed".to_owned()
        };
        sentences.push(format!(
            "Not every interval covers the true median with 95 %, one with only {:.0} %: {how}.",
            sure * 100.0
        ));
    }
    let left = page.left.measurements > 0;
    if left {
        let sentence = page.left.sentence();
        sentences.push(format!("T{}.", &sentence[1..]));
    }
    sentences
}

/// `1`, `1 and 2`, `1, 2 and 3`.
fn listed(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => words.concat(),
    }
}

fn setting(point: &Point) -> String {
    let pages = point.pages.as_ref().map_or(String::new(), |pages| format!(", pages {pages}"));
    format!(
        "{}, bind {}, chunks of {}{pages}",
        counted(point.workers, "worker", "workers"),
        point.bind,
        point.chunk
    )
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A time in the unit that suits it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s => format!("{:.2} µs", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{page, point};
    use super::super::{Left, Simulated, Traffic};
    use super::*;
    use crate::cli::kernels;

    fn said(page: &Page) -> String {
        advice(page, &Scaling::of(&page.points)).join("\n")
    }

    #[test]
    fn a_difference_is_one_only_above_the_noise() {
        let close = page(vec![point(2, 10, 1.0), point(2, 20, 1.01), point(2, 30, 2.0)]);
        let text = said(&close);
        assert!(text.contains("the fastest is 2 workers, bind close, chunks of 10"), "{text}");
        assert!(text.contains("1 setting cannot be told from it"), "{text}");
        assert!(
            text.contains("beside 10: 30 2.00 times its time; 20 a difference below"),
            "{text}"
        );
        let apart = said(&page(vec![point(2, 10, 1.0), point(2, 20, 1.5)]));
        assert!(apart.contains("Every other setting is slower by more than the noise"), "{apart}");
    }

    #[test]
    fn fewer_workers_that_are_as_fast_are_named_with_their_command() {
        let text = said(&page(vec![point(1, 10, 1.005), point(2, 10, 1.0)]));
        assert!(text.contains("needs only 1 worker"), "{text}");
        assert!(text.contains("50 % of the ideal, a difference below the noise"), "{text}");
        assert!(text.contains("pinpool run k --workers 1 --chunk 10"), "{text}");
    }

    #[test]
    fn where_scaling_bends_and_what_it_may_reach_are_said() {
        let time = |n: usize| point(n, 10, 0.1 + 0.9 / n as f64);
        let text = said(&page([1, 2, 4, 8].map(time).to_vec()));
        assert!(text.contains("8 workers are 4.71 times as fast: 59 % of the ideal"), "{text}");
        assert!(text.contains("from 4 workers on it is below 80 %"), "{text}");
        assert!(text.contains("10.00 % of the work is serial"), "{text}");
        assert!(text.contains("more than 10.0 times"), "{text}");
        assert!(text.contains("Universal scalability law: contention 10.00 %"), "{text}");
    }

    #[test]
    fn the_roof_says_whether_memory_limits() {
        let mut page = page(vec![point(2, 10, 1e-6)]);
        let roof = |pages: Option<&str>, read: f64| Roof {
            bind: "close".to_owned(),
            workers: 2,
            pages: pages.map(str::to_owned),
            read,
            copy: 16e9,
        };
        page.roofs = vec![roof(None, 10e9)];
        let kernel = kernels::Traffic { read_bytes: 8, written_bytes: 0, slot_bytes: 0 };
        let traffic = Traffic { kernel, working_bytes: 1000, cache_bytes: 999 };
        page.traffic = Some(traffic);
        let text = said(&page);
        assert!(text.contains("8.00 GB/s, 80 % of the 10.00 GB/s"), "{text}");
        assert!(text.contains("memory limits it"), "{text}");
        // A slot for each ten elements.
        let slots = kernels::Traffic { slot_bytes: 8, ..kernel };
        page.traffic = Some(Traffic { kernel: slots, ..traffic });
        let text = said(&page);
        assert!(text.contains("8.80 GB/s, 88 % of the 10.00 GB/s"), "{text}");
        // Each kind of pages has its own roof.
        page.traffic = Some(traffic);
        page.points[0].pages = Some("thp".to_owned());
        page.roofs = vec![roof(Some("base"), 10e9), roof(Some("thp"), 20e9)];
        let text = said(&page);
        assert!(text.contains("8.00 GB/s, 40 % of the 20.00 GB/s"), "{text}");
        let writes = kernels::Traffic { written_bytes: 1, ..kernel };
        page.traffic = Some(Traffic { kernel: writes, ..traffic });
        assert!(said(&page).contains("memory is not what limits it"));
        page.traffic = Some(Traffic { cache_bytes: 1000, ..traffic });
        assert!(said(&page).contains("fit the caches"));
    }

    /// Points of this many runs.
    fn of_runs(mut points: Vec<Point>, runs: usize, confidence: f64) -> Vec<Point> {
        points.iter_mut().for_each(|point| (point.runs, point.confidence) = (runs, confidence));
        points
    }

    #[test]
    fn too_few_runs_tell_nothing_apart() {
        let points = vec![point(1, 10, 2.0), point(2, 10, 1.0), point(2, 20, 1.5)];
        let mut single = page(of_runs(points.clone(), 1, 0.0));
        single.repeats = 1;
        let text = said(&single);
        assert!(!text.contains("slower by more than the noise"), "{text}");
        assert!(text.contains("2 settings are slower by the median, with too few runs"), "{text}");
        assert!(text.contains("20 1.50 times its time, of too few runs to be sure"), "{text}");
        assert!(text.contains("100 % of the ideal, of too few runs to be sure"), "{text}");
        assert!(text.contains("one with only 0 %: --repeat 6 or more makes it 95 %"), "{text}");
        let text = said(&page(of_runs(points, 6, 0.96875)));
        assert!(text.contains("Every other setting is slower by more than the noise"), "{text}");
        assert!(!text.contains("--repeat"), "{text}");
    }

    #[test]
    fn only_what_was_measured_is_spoken_of() {
        let mut page = page(of_runs(vec![point(1, 10, 2.0), point(2, 10, 1.0)], 4, 0.875));
        page.left = Left { measurements: 8, settings: 3, kept: false };
        let text = said(&page);
        assert!(text.contains("Of the 2 settings that were measured, of 5, the fastest"), "{text}");
        assert!(text.contains("The time was up before 8 measurements, and 3 settings have none; a larger --budget makes them."), "{text}");
        assert!(text.contains("the runs that the time did not suffice for are needed"), "{text}");
        assert!(!text.contains("--repeat") && !text.contains("--resume"), "{text}");
        page.points = of_runs(page.points, 7, 0.98);
        page.left = Left { measurements: 1, settings: 1, kept: true };
        let text = said(&page);
        assert!(text.contains("Every other setting that was measured is slower"), "{text}");
        assert!(
            text.contains("before 1 measurement, and 1 setting has none; --resume makes it."),
            "{text}"
        );
    }

    #[test]
    fn a_dip_that_recovers_is_no_bend() {
        let of = |efficiency: [f64; 4]| {
            let counts = [1, 2, 4, 8].into_iter().zip(efficiency);
            said(&page(counts.map(|(n, part)| point(n, 10, 1.0 / n as f64 / part)).collect()))
        };
        let text = of([1.0, 0.7, 0.9, 0.85]);
        assert!(
            text.contains("85 % of the ideal; with 2 it is below 80 %, but not with more"),
            "{text}"
        );
        let text = of([1.0, 0.7, 0.9, 0.6]);
        assert!(text.contains("60 % of the ideal; it is below 80 % there"), "{text}");
        assert!(of([1.0, 0.7, 0.7, 0.6]).contains("from 2 workers on it is below 80 %"));
        assert!(of([1.0, 0.9, 0.9, 0.9]).contains("scaling does not bend up to there"));
    }

    #[test]
    fn a_simulation_is_called_one() {
        let mut page = page(vec![point(1, 10, 1.0), point(2, 10, 0.5)]);
        let contention = vec!["Contention begins nowhere.".to_owned()];
        let (topology, assumptions) = ("core:2".to_owned(), Vec::new());
        page.simulated = Some(Simulated { topology, assumptions, contention });
        let text = said(&page);
        assert!(text.contains("Of 2 simulated settings") && text.contains("expected"), "{text}");
        assert!(text.contains("Contention begins nowhere."), "{text}");
        assert!(!text.contains("noise"), "{text}");
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(said(&page(Vec::new())).contains("Nothing was measured"));
    }
}
