//! The machine drawn as an SVG picture of nested boxes.
//!
//! Self-contained: no script, no font file, nothing fetched. Colours follow the reader's light
//! or dark theme. Every box has a tooltip. The layout is computed here, inside out: PUs side by side in a core,
//! children of a group in about as many columns as rows.
#![forbid(unsafe_code)]

use super::tree::{self, Tree};
use super::{Core, Topology};
use crate::placement::Plan;

const PU_WIDTH: u32 = 44;
const PU_HEIGHT: u32 = 34;
const GAP: u32 = 8;
/// Height of the line of text at the top of a group.
const TITLE: u32 = 22;
/// About how wide a letter is at 12 pixels; only makes room, nothing is cut.
const LETTER: u32 = 7;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1b1f24}\
.m{text-anchor:middle}.s{font-size:10px}\
.bg{fill:#fff}.g{fill:#f2f5f9;stroke:#8b98a8}.h{fill:#e3e9f1;stroke:#8b98a8}\
.c{fill:#fff;stroke:#5b6878}.p{fill:#d5e6d3;stroke:#4a7a45}\
.x{fill:#e4e4e4;stroke:#a5a5a5}.w{fill:#f5c26b;stroke:#a86f10}\
@media(prefers-color-scheme:dark){text{fill:#e6e9ee}.bg{fill:#14171b}\
.g{fill:#1e242c;stroke:#5d6978}.h{fill:#28303b;stroke:#5d6978}.c{fill:#14171b;stroke:#8492a4}\
.p{fill:#2d4a2b;stroke:#6fa568}.x{fill:#33363a;stroke:#5a5d61}.w{fill:#8a5a08;stroke:#e0a848}}";

impl Topology {
    /// The machine as an SVG document, and where the plan puts workers, if there is one.
    #[must_use]
    pub fn svg(&self, plan: Option<&Plan>) -> String {
        let boxes: Vec<Drawn> =
            tree::build(self).iter().map(|tree| drawn(self, plan, tree, 0)).collect();
        let body = packed(boxes);
        let heading = [tree::summary(self), tree::ours(self)];
        let text = heading.iter().map(String::len).max().unwrap_or(0);
        let width = body.width.max(u32::try_from(text).unwrap_or(0) * LETTER) + 2 * GAP;
        let top = GAP + 2 * TITLE;
        let height = top + body.height + GAP;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n<rect class=\"bg\" width=\"{width}\" height=\"{height}\"/>\n",
            escaped(&heading[0]),
        );
        for (line, text) in (1..).zip(&heading) {
            out +=
                &format!("<text x=\"{GAP}\" y=\"{}\">{}</text>\n", line * TITLE - 4, escaped(text));
        }
        out += &format!("<g transform=\"translate({GAP},{top})\">\n{}</g>\n</svg>\n", body.svg);
        out
    }
}

/// A drawn box: its size, and its SVG with the origin at its top left corner.
struct Drawn {
    width: u32,
    height: u32,
    svg: String,
}

fn drawn(topology: &Topology, plan: Option<&Plan>, tree: &Tree<'_>, depth: u32) -> Drawn {
    match tree {
        Tree::Core(core) => drawn_core(topology, plan, core),
        Tree::Group { labels, children } => {
            let inner: Vec<Drawn> =
                children.iter().map(|child| drawn(topology, plan, child, depth + 1)).collect();
            let inner = packed(inner);
            let label = labels.join(", ");
            let text = u32::try_from(label.len()).unwrap_or(0) * LETTER;
            let width = inner.width.max(text) + 2 * GAP;
            let height = inner.height + TITLE + GAP;
            let class = if depth.is_multiple_of(2) { "g" } else { "h" };
            let label = escaped(&label);
            let svg = format!(
                "<rect class=\"{class}\" width=\"{width}\" height=\"{height}\" rx=\"5\"><title>{label}</title></rect>\n<text x=\"{GAP}\" y=\"{}\">{label}</text>\n<g transform=\"translate({GAP},{TITLE})\">\n{}</g>\n",
                TITLE - 7,
                inner.svg
            );
            Drawn { width, height, svg }
        }
    }
}

fn drawn_core(topology: &Topology, plan: Option<&Plan>, core: &Core) -> Drawn {
    let kind = core.kind.map_or(String::new(), |kind| format!(", {kind}-core"));
    let mut svg = String::new();
    let mut x = 4;
    for id in &core.pus {
        let allowed = topology.pu(*id).is_some_and(|pu| pu.allowed);
        let workers = tree::workers_of(plan, *id);
        let (class, tip) = match (&workers, allowed) {
            (Some(workers), _) => ("w", format!("worker {workers}")),
            (None, true) => ("p", "allowed".to_string()),
            (None, false) => ("x", "not allowed".to_string()),
        };
        svg += &format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"4\" width=\"{PU_WIDTH}\" height=\"{PU_HEIGHT}\" rx=\"3\"><title>PU {id}, core {}{kind}: {tip}</title></rect>\n",
            core.id
        );
        let middle = x + PU_WIDTH / 2;
        let y = if workers.is_some() { 18 } else { 25 };
        svg += &format!("<text class=\"m\" x=\"{middle}\" y=\"{y}\">{id}</text>\n");
        if let Some(workers) = workers {
            svg += &format!("<text class=\"m s\" x=\"{middle}\" y=\"32\">w{workers}</text>\n");
        }
        x += PU_WIDTH + 4;
    }
    let (width, height) = (x, PU_HEIGHT + 8);
    let frame = format!("<rect class=\"c\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>\n");
    Drawn { width, height, svg: frame + &svg }
}

/// Puts boxes into rows, so that the whole is about twice as wide as high.
fn packed(boxes: Vec<Drawn>) -> Drawn {
    let area: f64 =
        boxes.iter().map(|b| f64::from(b.width + GAP) * f64::from(b.height + GAP)).sum();
    let widest = boxes.iter().map(|b| b.width).max().unwrap_or(0);
    let target = f64::from(widest).max((2.0 * area).sqrt());
    let (mut x, mut y, mut row, mut width) = (0, 0, 0, 0);
    let mut svg = String::new();
    for b in boxes {
        if x > 0 && f64::from(x + b.width) > target {
            (x, y, row) = (0, y + row + GAP, 0);
        }
        svg += &format!("<g transform=\"translate({x},{y})\">\n{}</g>\n", b.svg);
        width = width.max(x + b.width);
        x += b.width + GAP;
        row = row.max(b.height);
    }
    Drawn { width, height: y + row, svg }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
