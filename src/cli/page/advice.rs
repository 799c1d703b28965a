//! What a sweep's figures come to, in sentences. A difference is only called one where the
//! intervals of the two settings do not overlap.

#![forbid(unsafe_code)]

use super::series::Scaling;
use super::{Page, Point};

/// Below this part of the ideal speed-up, more workers are mostly waste.
const EFFICIENT: f64 = 0.8;
/// From this part of the roof on, memory is what limits.
const AT_THE_ROOF: f64 = 0.8;
/// A simulation has no noise; differences below its own exactness are none.
const SIMULATED_NOISE: f64 = 0.01;

/// The sentences, the most important first.
pub(super) fn advice(page: &Page, scaling: &[Scaling]) -> Vec<String> {
    let Some(best) = page.best() else {
        return vec!["Nothing was measured: give a larger --budget.".to_owned()];
    };
    let mut sentences = vec![fastest(page, best)];
    sentences.extend(cheaper(page, best));
    sentences.extend(axes(page, best));
    if let Some(line) = scaling.first() {
        sentences.extend(scales(line));
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
    format!(
        "Of {} settings the fastest is {setting}: {} ({} to {}, {:.0} % sure), {per_element:.3} ns an element.",
        page.points.len(),
        time(point.seconds),
        time(point.low),
        time(point.high),
        point.confidence * 100.0
    )
}

/// What cannot be told from the best, and whether it needs less.
fn cheaper(page: &Page, best: usize) -> Option<String> {
    let same = page.as_fast_as(best);
    let others = same.len() - 1;
    if page.simulated.is_some() || page.points.len() < 2 {
        return None;
    }
    if others == 0 {
        return Some("Every other setting is slower by more than the noise.".to_owned());
    }
    let fewest = same.iter().copied().min_by_key(|&at| page.points[at].workers)?;
    let (point, best) = (&page.points[fewest], &page.points[best]);
    let less = if point.workers < best.workers {
        format!(" One of them needs only {}: {}.", setting(point), point.command)
    } else {
        String::new()
    };
    Some(format!(
        "{} be told from it: the difference is below the noise (the intervals overlap).{less}",
        counted(others, "setting cannot", "settings cannot")
    ))
}

/// A sentence for each thing that was swept, the others held as in the best setting.
fn axes(page: &Page, best: usize) -> Vec<String> {
    let of = |point: &Point| (point.bind.clone(), point.pages.clone(), point.chunk, point.workers);
    let (bind, pages, chunk, workers) = of(&page.points[best]);
    let noise = if page.simulated.is_some() { SIMULATED_NOISE } else { 0.0 };
    let axis = |name: &str, is_on: &dyn Fn(&Point) -> bool, word: &dyn Fn(&Point) -> String| {
        let fast = &page.points[best];
        let others: Vec<&Point> =
            page.points.iter().filter(|p| is_on(p) && word(p) != word(fast)).collect();
        let slower = |point: &&&Point| point.low > fast.high * (1.0 + noise);
        let slow: Vec<String> = (others.iter().filter(slower))
            .map(|p| format!("{} {:.2} times", word(p), p.seconds / fast.seconds))
            .collect();
        let same: Vec<String> = others.iter().filter(|p| !slower(p)).map(|p| word(p)).collect();
        if others.is_empty() {
            return None;
        }
        let mut text = format!("{name}, beside {}:", word(fast));
        if !slow.is_empty() {
            text += &format!(" {} its time", slow.join(", "));
        }
        if !same.is_empty() {
            let and = if slow.is_empty() { "" } else { ";" };
            let why = if noise > 0.0 { "no difference" } else { "a difference below the noise" };
            text += &format!("{and} {} {why}", same.join(", "));
        }
        Some(text + ".")
    };
    [
        axis("Policy", &|p| of(p).1 == pages && p.chunk == chunk && p.workers == workers, &|p| {
            p.bind.clone()
        }),
        axis("Pages", &|p| p.bind == bind && p.chunk == chunk && p.workers == workers, &|p| {
            p.pages.clone().unwrap_or_default()
        }),
        axis(
            "Chunk length",
            &|p| p.bind == bind && of(p).1 == pages && p.workers == workers,
            &|p| p.chunk.to_string(),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn scales(line: &Scaling) -> Option<String> {
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
    let first = line.steps[0];
    if last.low <= first.high && first.low <= last.high {
        return Some(text + ", a difference below the noise.");
    }
    let bends = line.steps.iter().find(|step| step.speedup < EFFICIENT * step.workers as f64);
    match bends {
        Some(step) => {
            text += &format!(
                "; from {} workers on it is below {:.0} %",
                step.workers,
                EFFICIENT * 100.0
            );
        }
        None => text += "; scaling does not bend up to there",
    }
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
    let roof = page.roofs.iter().find(|r| r.workers == point.workers && r.bind == point.bind)?;
    let bytes = (traffic.read_bytes + traffic.written_bytes) as f64 * page.elements as f64;
    let (rate, most) = (bytes / point.seconds, roof.of(traffic.written_bytes > 0));
    let part = rate / most;
    let says = if !traffic.beyond_caches {
        "the array fits the caches, so memory is not asked for all of it"
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

fn quiet(page: &Page) -> Vec<String> {
    let mut sentences = Vec::new();
    let runs: usize = page.points.iter().map(|point| point.runs).sum();
    let outliers: usize = page.points.iter().map(|point| point.outliers).sum();
    if outliers > 0 {
        sentences.push(format!(
            "{} of {runs} runs are outliers (far from the median of their setting): something else used the machine.",
            outliers
        ));
    }
    let sure = page.points.iter().map(|point| point.confidence).fold(1.0, f64::min);
    if sure < 0.95 {
        sentences.push(format!(
            "The intervals cover the true median with only {:.0} %: --repeat 6 or more makes it 95 %.",
            sure * 100.0
        ));
    }
    if page.not_measured > 0 {
        sentences.push(format!(
            "The time was up before {} measurements; --resume makes them.",
            page.not_measured
        ));
    }
    sentences
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
    use super::super::{Simulated, Traffic};
    use super::*;
    use crate::cli::roof::Roof;

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
        let bind = "close".to_owned();
        page.roofs = vec![Roof { bind, workers: 2, read: 10e9, copy: 16e9 }];
        let traffic = Traffic { read_bytes: 8, written_bytes: 0, beyond_caches: true };
        page.traffic = Some(traffic);
        let text = said(&page);
        assert!(text.contains("8.00 GB/s, 80 % of the 10.00 GB/s"), "{text}");
        assert!(text.contains("memory limits it"), "{text}");
        page.traffic = Some(Traffic { written_bytes: 1, ..traffic });
        assert!(said(&page).contains("memory is not what limits it"));
        page.traffic = Some(Traffic { beyond_caches: false, ..traffic });
        assert!(said(&page).contains("fits the caches"));
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
