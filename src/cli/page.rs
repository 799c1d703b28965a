//! The report of a sweep: one HTML file that carries its data, its style and its plots.
//!
//! Here is what the page says, as plain data, and the frame around it. The plots are drawn in the
//! browser by `page/*.js` with uPlot (`vendor/uplot`), from the JSON that the page carries; the page
//! forbids itself, by a policy in its head, to load or to run anything else. Nothing is measured
//! here: `sweep/` does that and fills in a [`Page`].

#![forbid(unsafe_code)]

mod advice;
mod file;
mod fit;
mod series;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::base64::base64;
use super::kernels;
use super::roof::Roof;
use super::statistics::{Difference, Interval};

pub(super) use file::PageFile;
pub(super) use series::Scaling;

const UPLOT: &str = include_str!("page/vendor/uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("page/vendor/uplot/uPlot.min.css");
const UPLOT_LICENSE: &str = include_str!("page/vendor/uplot/LICENSE");
/// In the order in which they build on each other.
const SCRIPT: &str = concat!(
    include_str!("page/tools.js"),
    include_str!("page/lines.js"),
    include_str!("page/pictures.js"),
    include_str!("page/page.js")
);
/// A simulation has no noise; differences below its own exactness are none.
const SIMULATED_NOISE: f64 = 0.01;
const STYLE: &str = include_str!("page/page.css");

/// All that a report says.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// Whether several kinds of pages are swept.
    #[serde(skip)]
    pub(super) many_pages: bool,
    pub(super) kernel: &'static str,
    pub(super) elements: usize,
    /// The command that made the report.
    pub(super) swept: String,
    /// Where nothing was timed but the chunks: the machine, and what was taken for granted.
    pub(super) simulated: Option<Simulated>,
    /// The machine in characters.
    pub(super) machine: String,
    pub(super) points: Vec<Point>,
    pub(super) traffic: Option<Traffic>,
    pub(super) roofs: Vec<Roof>,
    pub(super) timelines: Vec<Timeline>,
    /// Runs that were asked for of each setting; of a simulation none.
    pub(super) repeats: usize,
    pub(super) left: Left,
}

/// What the time did not suffice for.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Left {
    /// Measurements that were to be made,
    pub(super) measurements: usize,
    /// and settings that have none at all.
    pub(super) settings: usize,
    /// Whether those that were made are in a file to go on with.
    pub(super) kept: bool,
}

impl Left {
    pub(super) fn sentence(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let none = match self.settings {
            0 => String::new(),
            1 => ", and 1 setting has none".to_owned(),
            settings => format!(", and {settings} settings have none"),
        };
        let how = if self.kept { "--resume" } else { "a larger --budget" };
        let measurements = count(self.measurements, "measurement");
        let them = if self.measurements == 1 { "it" } else { "them" };
        format!("the time was up before {measurements}{none}; {how} makes {them}")
    }
}

/// What a simulation stands on.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Simulated {
    pub(super) topology: String,
    pub(super) assumptions: Vec<String>,
    /// By policy and chunk length, where contention begins.
    pub(super) contention: Vec<String>,
}

/// One setting, timed.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Point {
    pub(super) bind: String,
    /// The kind of pages, where several are swept.
    pub(super) pages: Option<String>,
    pub(super) workers: usize,
    pub(super) chunk: usize,
    /// More workers than places: such a point is in no fit.
    pub(super) oversubscribed: bool,
    pub(super) seconds: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The probability that low and high enclose the true median; of a simulation 1.
    pub(super) confidence: f64,
    pub(super) runs: usize,
    pub(super) outliers: usize,
    /// The command that runs the kernel so.
    pub(super) command: String,
    /// Of a simulation: the parts of the working time lost to shared cores and to the memory roof.
    pub(super) lost: Option<[f64; 2]>,
}

/// What the kernel moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Traffic {
    #[serde(flatten)]
    pub(super) kernel: kernels::Traffic,
    /// Bytes of the array and its results.
    pub(super) working_bytes: u64,
    /// Bytes of the last level caches together.
    pub(super) cache_bytes: u64,
}

impl Traffic {
    /// Whether all of it has to come from memory.
    fn is_beyond_caches(self) -> bool {
        self.working_bytes > self.cache_bytes
    }
}

/// What the workers did in one run.
#[derive(Debug, Serialize)]
pub(super) struct Timeline {
    pub(super) label: String,
    pub(super) seconds: f64,
    pub(super) lines: Vec<Line>,
    /// Events for which there was no room.
    pub(super) dropped: u64,
}

/// What one worker did.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) worker: usize,
    /// The PUs that it was bound to; none where it was not.
    pub(super) asked: Vec<usize>,
    /// The PU on which the kernel ran it.
    pub(super) pu: usize,
    pub(super) chunks: usize,
    pub(super) stolen: usize,
    /// Seconds by kind: chunk, stolen chunk, steal, journal, wait.
    pub(super) sums: [f64; 5],
    /// Kind, start and end in microseconds from the call.
    pub(super) spans: Vec<(usize, f64, f64)>,
    /// Whether spans stand for the kind that fills most of a short time, and not for events.
    pub(super) binned: bool,
}

/// What the page has beside the page's data: derived, so that it is said in one place.
#[derive(Serialize)]
struct Derived<'a> {
    #[serde(flatten)]
    page: &'a Page,
    scaling: Vec<Scaling>,
    /// The indices of the points that cannot be told from the fastest, itself among them.
    as_fast_as_the_best: Vec<usize>,
    /// Those of which too few runs are known to say.
    too_few_runs: Vec<usize>,
}

impl Page {
    /// The kind of pages, where it is to be named.
    pub(super) fn pages_of(&self, pages: String) -> Option<String> {
        self.many_pages.then_some(pages)
    }

    fn html(&self) -> String {
        let scaling = Scaling::of(&self.points);
        let advice = advice::advice(self, &scaling);
        let best = self.best();
        let command = best.map_or("", |best| self.points[best].command.as_str());
        let derived = Derived {
            page: self,
            as_fast_as_the_best: self.that_are(Difference::BelowTheNoise),
            too_few_runs: self.that_are(Difference::Unsure),
            scaling,
        };
        let data = serde_json::to_string(&derived).expect("a page is plain data");
        let script = format!("\"use strict\";\n{UPLOT}\n{SCRIPT}");
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
            base64(&Sha256::digest(script.as_bytes()))
        );
        let kernel = escaped(self.kernel);
        let (mark, banner) = match &self.simulated {
            None => ("", String::new()),
            Some(simulated) => (
                "simulated ",
                format!(
                    "<p class=\"banner\"><strong>Simulated</strong> for <code>{}</code>: nothing but the chunks was timed, and none of it on that machine.</p>",
                    escaped(&simulated.topology)
                ),
            ),
        };
        let sentences: String =
            advice.iter().map(|text| format!("<li>{}</li>\n", escaped(text))).collect();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>pinpool: {mark}sweep of {kernel}</title>\n\
             <style>{UPLOT_STYLE}\n{STYLE}</style>\n</head>\n<body>\n\
             <header><h1>{kernel}: {mark}sweep</h1><button id=\"theme\" type=\"button\">Theme</button></header>\n\
             <main>\n{banner}\n<section id=\"advice\"><h2>What to do</h2>\n<ul>\n{sentences}</ul>\n\
             <p>The best setting as a command:</p>\n<pre><code id=\"command\">{}</code></pre>\n</section>\n\
             <noscript><p class=\"banner\">The plots and their tables need the page's own script to run.</p></noscript>\n\
             <div id=\"plots\"></div>\n</main>\n\
             <footer><p>Made by <code>{}</code> of pinpool {}. Plots by uPlot 1.6.32:</p><details><summary>its licence</summary><pre>{}</pre></details></footer>\n\
             <script type=\"application/json\" id=\"data\">{}</script>\n\
             <script>{script}</script>\n</body>\n</html>\n",
            escaped(command),
            escaped(&self.swept),
            env!("CARGO_PKG_VERSION"),
            escaped(UPLOT_LICENSE),
            embedded(&data),
        )
    }

    /// The index of the fastest point.
    fn best(&self) -> Option<usize> {
        let by_time =
            |a: &usize, b: &usize| self.points[*a].seconds.total_cmp(&self.points[*b].seconds);
        (0..self.points.len()).min_by(by_time)
    }

    /// How far one point is told from another.
    fn difference(&self, one: usize, other: usize) -> Difference {
        let (one, other) = (&self.points[one], &self.points[other]);
        if self.simulated.is_none() {
            return one.interval().difference(other.interval());
        }
        let (fast, slow) = (one.seconds.min(other.seconds), one.seconds.max(other.seconds));
        if slow > fast * (1.0 + SIMULATED_NOISE) {
            Difference::Real
        } else {
            Difference::BelowTheNoise
        }
    }

    /// The points that differ so from the fastest.
    fn that_are(&self, difference: Difference) -> Vec<usize> {
        let Some(best) = self.best() else { return Vec::new() };
        (0..self.points.len()).filter(|&at| self.difference(at, best) == difference).collect()
    }
}

impl Point {
    fn interval(&self) -> Interval {
        Interval { low: self.low, high: self.high, confidence: self.confidence }
    }
}

/// Text between tags or in an attribute with double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            c => out.push(c),
        }
    }
    out
}

/// JSON that no HTML parser takes for the end of a script or the begin of a comment.
fn embedded(json: &str) -> String {
    // In JSON these characters stand in strings only, where an escape means the same.
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A point of this time, sure to a percent.
    pub(super) fn point(workers: usize, chunk: usize, seconds: f64) -> Point {
        Point {
            bind: "close".to_owned(),
            pages: None,
            workers,
            chunk,
            oversubscribed: false,
            seconds,
            low: seconds * 0.99,
            high: seconds * 1.01,
            confidence: 0.98,
            runs: 7,
            outliers: 0,
            command: format!("pinpool run k --workers {workers} --chunk {chunk}"),
            lost: None,
        }
    }

    pub(super) fn page(points: Vec<Point>) -> Page {
        Page {
            many_pages: false,
            kernel: "trig-power",
            elements: 1000,
            swept: "pinpool sweep 'a </script><b>'".to_owned(),
            simulated: None,
            machine: String::new(),
            points,
            traffic: None,
            roofs: Vec::new(),
            timelines: Vec::new(),
            repeats: 7,
            left: Left::default(),
        }
    }

    #[test]
    fn what_users_wrote_cannot_end_the_script_or_begin_a_tag() {
        let html = page(vec![point(1, 10, 1.0)]).html();
        assert_eq!(html.matches("</script>").count(), 2, "one for the data, one for the script");
        assert!(!html.contains("<b>"), "{html}");
        assert!(html.contains("a &lt;/script&gt;"));
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        let (json, _) = rest.split_once("</script>").unwrap();
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["swept"], "pinpool sweep 'a </script><b>'");
    }

    #[test]
    fn the_vendored_script_cannot_end_its_own_element() {
        for text in [UPLOT, SCRIPT] {
            assert!(!text.contains("</script") && !text.contains("<!--"));
        }
        assert!(!UPLOT_STYLE.contains("</style") && !STYLE.contains("</style"));
    }
}
