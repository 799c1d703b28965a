// What uPlot does not draw, as SVG: heat maps of chunk length and workers, timelines.
const pictures = (() => {
  const { drawn, data, points, counts, manyPages, bestPoint } = tools;
  const { digits, grouped, percent, timeUnit, element, shape, section, note, table } = tools;

  /** Cividis at five places: rises in lightness, the same to all eyes. */
  const CIVIDIS = [[0, 34, 78], [67, 78, 108], [124, 123, 120], [188, 174, 108], [254, 232, 56]];
  function cividis(part) {
    const at = Math.min(3.9999, Math.max(0, part * 4));
    const [low, high] = [CIVIDIS[Math.floor(at)], CIVIDIS[Math.floor(at) + 1]];
    return low.map((value, i) => Math.round(value + (high[i] - value) * (at % 1)));
  }
  function heatMaps() {
    const chunks = [...new Set(points.map((point) => point.chunk))].sort((a, b) => a - b);
    const times = points.map((point) => point.seconds);
    const [least, most] = [Math.min(...times), Math.max(...times)];
    const { unit, by } = timeUnit(most);
    const groups = new Map();
    points.forEach((point, at) => {
      const name = point.bind + (manyPages ? `, ${point.pages}` : "");
      groups.set(name, [...(groups.get(name) || []), at]);
    });
    const made = section("heat", "Chunk length × workers", note(
      `${data.simulated ? "Expected time" : "Median time"} in ${unit}; brighter is faster, on a logarithmic scale from ${digits(least * by, 3)} to ${digits(most * by, 3)} ${unit}. ` +
      (data.simulated ? "The frame marks the fastest." : "The frame marks the fastest; ≈ what cannot be told from it, since the intervals overlap; ? what too few runs are known of.") +
      (chunks.length === 1 ? " Only one chunk length was swept: --chunks takes several." : "")));
    for (const [name, group] of groups) {
      const [left, top, wide, high] = [104, 26, 92, 38];
      const size = [left + counts.length * wide + 4, top + chunks.length * high + 44];
      const map = shape("svg", { viewBox: `0 0 ${size[0]} ${size[1]}`, width: size[0], role: "img",
        "aria-label": `time by chunk length and workers, bind ${name}`, "data-plot": "heat" });
      map.append(shape("text", { x: 0, y: 16, class: "soft" }, "chunk length"));
      chunks.forEach((chunk, row) => map.append(shape("text",
        { x: left - 10, y: top + row * high + high / 2 + 5, "text-anchor": "end" }, grouped(chunk))));
      counts.forEach((count, column) => map.append(shape("text",
        { x: left + column * wide + wide / 2, y: top + chunks.length * high + 18, "text-anchor": "middle" }, String(count))));
      map.append(shape("text", { x: left + counts.length * wide / 2, y: size[1] - 6, "text-anchor": "middle", class: "soft" }, "workers"));
      for (const at of group) {
        const point = points[at];
        const [x, y] = [left + counts.indexOf(point.workers) * wide, top + chunks.indexOf(point.chunk) * high];
        const part = most > least ? 1 - Math.log(point.seconds / least) / Math.log(most / least) : 1;
        const colour = cividis(part);
        // Relative luminance: above 0.18 black has more contrast than white.
        const linear = colour.map((value) => (value / 255) ** 2.2);
        const light = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18;
        const same = !data.simulated && at !== bestPoint() && data.as_fast_as_the_best.includes(at);
        const unsure = !data.simulated && data.too_few_runs.includes(at);
        const text = `${same ? "≈ " : unsure ? "? " : ""}${digits(point.seconds * by, 3)}`;
        map.append(shape("rect", { x, y, width: wide - 2, height: high - 2, rx: 2, class: "cell", fill: `rgb(${colour})` },
          shape("title", {}, `${name}, ${point.workers} workers, chunks of ${point.chunk}: ${digits(point.seconds * by, 4)} ${unit}` +
            (data.simulated ? " simulated" : ` (${digits(point.low * by, 4)} to ${digits(point.high * by, 4)})`))));
        map.append(shape("text", { x: x + wide / 2 - 1, y: y + high / 2 + 4, "text-anchor": "middle", style: `fill:${light ? "#111" : "#fff"}` }, text));
        if (at === bestPoint()) map.append(shape("rect", { x: x + 1, y: y + 1, width: wide - 4, height: high - 4, rx: 2, class: "best" }));
      }
      const title = groups.size > 1 ? [element("h3", {}, `bind ${name}`)] : [];
      made.append(...title, element("figure", {}, element("div", { class: "scroll" }, map)));
      report.plots.push({ id: "heat", points: group.length });
    }
    made.append(all());
  }
  /** All settings as a table. */
  function all() {
    const { unit, by } = timeUnit(Math.max(...points.map((point) => point.seconds)));
    const order = points.map((_, at) => at).sort((a, b) => points[a].seconds - points[b].seconds);
    const lost = data.simulated;
    const columns = [["bind", "text"], ...(manyPages ? [["pages", "text"]] : []), ["workers"], ["chunk"],
      [lost ? `expected ${unit}` : `median ${unit}`], ...(lost ? [["lost to sharing"], ["lost to memory"]]
        : [["from"], ["to"], ["sure"]]), ["ns/element"], ...(lost ? [] : [["runs"], ["outliers"], ["", "text"]])];
    const rows = order.map((at) => {
      const point = points[at];
      const same = at === bestPoint() ? "the fastest" : data.as_fast_as_the_best.includes(at) ? "below the noise"
        : data.too_few_runs.includes(at) ? "too few runs to tell" : "";
      return { best: at === bestPoint(), cells: [ point.bind, ...(manyPages ? [point.pages] : []), point.workers, grouped(point.chunk), digits(point.seconds * by, 4),
        ...(lost ? point.lost.map((part) => percent(part)) : [digits(point.low * by, 4), digits(point.high * by, 4), percent(point.confidence, 0)]),
        digits(point.seconds * 1e9 / data.elements, 3), ...(lost ? [] : [point.runs, point.outliers, same]) ] };
    });
    return table(columns, rows, `All ${points.length} settings as a table`);
  }

  // ---- timelines

  const KINDS = ["chunk", "stolen chunk", "steal: looking for one", "journal: undo copy", "wait"];
  function timelines() {
    const made = section("timelines", "Timelines");
    if (data.timelines.length === 0) {
      made.append(note(data.simulated ? "Nothing was run there, so there is no timeline." : "No run was traced."));
      return;
    }
    made.append(note("What each worker did in one run with a trace, from the call to its end."));
    made.append(element("ul", { class: "legend" }, ...KINDS.map((kind, at) => element("li", {},
      element("span", { class: "swatch", style: `background:var(--k${at})` }), kind))));
    for (const timeline of data.timelines) {
      const { unit, by } = timeUnit(timeline.seconds);
      const host = element("div");
      const binned = timeline.lines.some((line) => line.binned)
        ? " Events are too many to draw: each short time shows what fills most of it." : "";
      const dropped = timeline.dropped > 0 ? ` The trace had no room for the ${timeline.dropped} oldest events.` : "";
      const rows = timeline.lines.map((line) => {
        const asked = line.asked.length > 0 ? line.asked.join(" ") : "any";
        const right = line.asked.length === 0 || line.asked.includes(line.pu);
        return { cells: [line.worker, asked, `${line.pu}${right ? "" : " (not as asked)"}`, line.chunks, line.stolen,
          ...line.sums.map((sum) => digits(sum * by, 3))] };
      });
      made.append(element("h3", {}, timeline.label),
        element("figure", {}, host, element("figcaption", {},
          `${digits(timeline.seconds * by, 3)} ${unit} in all.${binned}${dropped}`)),
        table([["worker"], ["bound to PU"], ["ran on PU"], ["chunks"], ["of them stolen"], [`chunk ${unit}`], [`stolen ${unit}`], [`steal ${unit}`], [`journal ${unit}`], [`wait ${unit}`]],
          rows, "Where the time of each worker went, as a table"));
      drawn.push({ id: "timeline", build: () => drawTimeline(timeline, host) });
    }
  }

  /** As wide as its place, so that its words keep their size. */
  function drawTimeline(timeline, host) {
    const { unit, by } = timeUnit(timeline.seconds);
    const long = timeline.seconds * 1e6;
    const many = timeline.lines.length > 16;
    const [left, high, gap, top] = [128, many ? 14 : 26, many ? 3 : 8, 6];
    const wide = Math.max(160, host.clientWidth - left - 20);
    const bottom = top + timeline.lines.length * (high + gap);
    const map = shape("svg", { viewBox: `0 0 ${left + wide + 20} ${bottom + 44}`, width: left + wide + 20, role: "img",
      "aria-label": `timeline of ${timeline.label}`, "data-plot": "timeline" });
    let spans = 0;
    timeline.lines.forEach((line, row) => {
      const y = top + row * (high + gap);
      map.append(shape("text", { x: left - 8, y: y + high / 2 + 4, "text-anchor": "end" }, `worker ${line.worker}, PU ${line.pu}`));
      map.append(shape("rect", { x: left, y, width: wide, height: high, style: "fill:var(--k4)" }));
      for (const [kind, from, to] of line.spans) {
        spans += 1;
        if (kind === 4) continue;
        const [x, width] = [left + from / long * wide, (to - from) / long * wide];
        // A hair's breadth between neighbours shows where one ends, where there is room for it.
        const seam = width > 3 ? 0.6 : 0;
        map.append(shape("rect", { x: x.toFixed(2), y, width: Math.max(0.3, width - seam).toFixed(2), height: high, style: `fill:var(--k${kind})` },
          shape("title", {}, `${KINDS[kind]}, ${digits(from, 1)} to ${digits(to, 1)} µs`)));
      }
    });
    for (let tick = 0; tick <= 5; tick += 1) {
      const x = left + wide * tick / 5;
      map.append(shape("line", { x1: x, x2: x, y1: bottom - gap / 2, y2: bottom + 4, style: "stroke:var(--soft)" }));
      map.append(shape("text", { x, y: bottom + 18, "text-anchor": tick === 5 ? "end" : tick === 0 ? "start" : "middle" },
        digits(timeline.seconds * by * tick / 5, 2)));
    }
    map.append(shape("text", { x: left + wide / 2, y: bottom + 38, "text-anchor": "middle", class: "soft" }, `time in ${unit}`));
    host.replaceChildren(map);
    report.plots.push({ id: "timeline", points: spans });
  }

  return { heatMaps, timelines };
})();
