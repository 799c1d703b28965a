//! What a sweep found: a row a combination, and which is the fastest.

#![forbid(unsafe_code)]

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::SweepArgs;
use super::points::Point;
use super::record::Measurement;
use crate::cli::page::Left;
use crate::cli::statistics::{Difference, Interval, statistics};

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// The fastest first.
    points: Vec<Row>,
    /// Measurements that the time did not suffice for,
    not_measured: usize,
    /// and settings that have none at all: nothing is said of them.
    settings_not_measured: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The index of what was swept.
    #[serde(skip)]
    pub(super) point: usize,
    #[serde(skip)]
    pub(super) elements: usize,
    pub(super) workers: usize,
    pub(super) bind: String,
    pub(super) pages: String,
    pub(super) chunk: usize,
    pub(super) repeats: usize,
    pub(super) median_seconds: f64,
    pub(super) low_seconds: f64,
    pub(super) high_seconds: f64,
    /// The probability with which low and high enclose the true median.
    pub(super) confidence: f64,
    pub(super) outliers: usize,
    ns_per_element: f64,
    /// Whether it cannot be told from the fastest: their intervals overlap. None where they do not,
    /// but of either there are too few runs to say.
    as_fast_as_the_best: Option<bool>,
    seconds: Vec<f64>,
}

impl Summary {
    pub(super) fn of(points: &[Point], measurements: &[Measurement], left: usize) -> Summary {
        let rows = points.iter().enumerate();
        let mut rows: Vec<Row> =
            rows.filter_map(|(at, point)| Row::of(at, point, measurements)).collect();
        rows.sort_by(|a, b| a.median_seconds.total_cmp(&b.median_seconds));
        if let Some(best) = rows.first().map(Row::interval) {
            rows.iter_mut().for_each(|row| {
                row.as_fast_as_the_best = match row.interval().difference(best) {
                    Difference::Real => Some(false),
                    Difference::BelowTheNoise => Some(true),
                    Difference::Unsure => None,
                };
            });
        }
        let settings_not_measured = points.len() - rows.len();
        Summary { points: rows, not_measured: left, settings_not_measured }
    }

    /// The fastest first.
    pub(super) fn rows(&self) -> &[Row] {
        &self.points
    }

    /// What the time did not suffice for.
    pub(super) fn left(&self, args: &SweepArgs) -> Left {
        Left {
            measurements: self.not_measured,
            settings: self.settings_not_measured,
            kept: args.csv.is_some(),
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("a summary is plain data")
    }

    pub(super) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            "BIND",
            "PAGES",
            "WORKERS",
            "CHUNK",
            "MEDIAN s",
            "FROM s",
            "TO s",
            "SURE",
            "ns/ELEMENT",
            "RUNS",
            "OUTLIERS",
            "",
        ]);
        for (at, row) in self.points.iter().enumerate() {
            table.add_row([
                row.bind.clone(),
                row.pages.clone(),
                row.workers.to_string(),
                row.chunk.to_string(),
                format!("{:.6}", row.median_seconds),
                format!("{:.6}", row.low_seconds),
                format!("{:.6}", row.high_seconds),
                format!("{:.0} %", row.confidence * 100.0),
                format!("{:.3}", row.ns_per_element),
                row.repeats.to_string(),
                row.outliers.to_string(),
                match (at, row.as_fast_as_the_best) {
                    (0, _) => "best",
                    (_, Some(true)) => "below the noise",
                    (_, Some(false)) => "",
                    (_, None) => "too few runs to tell",
                }
                .to_owned(),
            ]);
        }
        for column in table.column_iter_mut().skip(2).take(9) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

impl Row {
    fn interval(&self) -> Interval {
        Interval { low: self.low_seconds, high: self.high_seconds, confidence: self.confidence }
    }

    fn of(at: usize, point: &Point, measurements: &[Measurement]) -> Option<Row> {
        let own: Vec<&Measurement> = measurements.iter().filter(|m| m.is_of(point)).collect();
        let seconds: Vec<f64> = own.iter().map(|m| m.seconds).collect();
        let found = statistics(&seconds)?;
        Some(Row {
            point: at,
            elements: own.first()?.elements,
            workers: point.workers,
            bind: point.bind.clone(),
            pages: point.pages.to_string(),
            chunk: own.first()?.chunk,
            repeats: seconds.len(),
            median_seconds: found.median,
            low_seconds: found.low,
            high_seconds: found.high,
            confidence: found.confidence,
            outliers: found.outliers,
            ns_per_element: found.median * 1e9 / own.first()?.elements as f64,
            as_fast_as_the_best: None,
            seconds,
        })
    }
}
