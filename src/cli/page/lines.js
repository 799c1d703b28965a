// Plots over numbers of workers, drawn by uPlot: speed-up, efficiency, bandwidth. Marks and intervals
// are drawn over them here, since uPlot has none.
const lines = (() => {
  const { drawn, data, points, counts, manyPages, bestPoint } = tools;
  const { variable, digits, grouped, percent, element, section, note, table } = tools;
  const { scaling } = data;
  const MOST_LINES = 6;
  const MARKS = ["circle", "square", "triangle", "diamond", "wedge", "bar"];
  /** Pixels between the marks of neighbouring lines with the same number of workers. */
  const DODGE = 7;

  const manyChunks = new Set(points.map((point) => point.chunk)).size > 1;
  function label(line) {
    let text = line.bind;
    if (manyPages) text += `, ${line.pages}`;
    if (manyChunks) text += `, chunks of ${grouped(line.chunk)}`;
    return text;
  }
  // All lines where there are few, else those with the best one's chunk length.
  let shown = scaling;
  if (shown.length > MOST_LINES) shown = scaling.filter((line) => line.chunk === scaling[0].chunk);
  if (shown.length > MOST_LINES) shown = shown.slice(0, MOST_LINES);
  const hidden = scaling.length - shown.length;

  function mark(context, kind, x, y, size) {
    context.beginPath();
    if (kind === "circle" || kind === "ring") context.arc(x, y, size, 0, 2 * Math.PI);
    if (kind === "square") context.rect(x - size, y - size, 2 * size, 2 * size);
    if (kind === "triangle") { context.moveTo(x, y - size * 1.2); context.lineTo(x + size * 1.1, y + size); context.lineTo(x - size * 1.1, y + size); context.closePath(); }
    if (kind === "diamond") { context.moveTo(x, y - size * 1.3); context.lineTo(x + size * 1.3, y); context.lineTo(x, y + size * 1.3); context.lineTo(x - size * 1.3, y); context.closePath(); }
    if (kind === "wedge") { context.moveTo(x, y + size * 1.2); context.lineTo(x + size * 1.1, y - size); context.lineTo(x - size * 1.1, y - size); context.closePath(); }
    if (kind === "bar") context.rect(x - size * 1.1, y - size / 2, 2.2 * size, size);
    if (kind === "ring") context.stroke(); else context.fill();
  }

  /** Draws marks and intervals of the measured lines over what uPlot has drawn; lines stand side by
   *  side, so that none hides another's. */
  function intervals(lines) {
    return (plot) => {
      const context = plot.ctx;
      const ratio = devicePixelRatio;
      const dodged = lines.filter((line) => line.marks && line.mark !== "ring");
      context.save();
      lines.forEach((line, at) => {
        if (!line.marks || !plot.series[at + 1].show) return;
        context.strokeStyle = context.fillStyle = variable(line.colour);
        context.lineWidth = 1.5 * ratio;
        const place = dodged.indexOf(line);
        const aside = place < 0 ? 0 : (place - (dodged.length - 1) / 2) * DODGE * ratio;
        for (const [x, y, low, high] of line.marks) {
          const [cx, cy] = [plot.valToPos(x, "x", true) + aside, plot.valToPos(y, "y", true)];
          const [top, bottom] = [plot.valToPos(high, "y", true), plot.valToPos(low, "y", true)];
          context.beginPath();
          context.moveTo(cx, top); context.lineTo(cx, bottom);
          for (const end of [top, bottom]) { context.moveTo(cx - 5 * ratio, end); context.lineTo(cx + 5 * ratio, end); }
          context.stroke();
          mark(context, line.mark, cx, cy, 4 * ratio);
        }
      });
      context.restore();
    };
  }

  /** A plot over numbers of workers; `lines` are {label, colour, points: [[x, y]…], marks?, dash?}. */
  function workersPlot(id, host, lines, axis) {
    const joined = lines.map((line) => [line.points.map((p) => p[0]), line.points.map((p) => p[1])]);
    const values = uPlot.join(joined);
    const named = (value) => (value === null || value === undefined ? "–" : `${digits(value, axis.places)}${axis.suffix}`);
    const build = () => {
      host.replaceChildren();
      const [ink, soft, grid] = ["--ink", "--soft", "--grid"].map(variable);
      const width = Math.max(280, Math.floor(host.clientWidth));
      const font = "13px system-ui, sans-serif";
      const least = Math.min(...values[0]), most = Math.max(...values[0]);
      const highest = Math.max(0, ...lines.flatMap((line) => (line.marks || []).map((mark) => mark[3])));
      const margin = Math.max(0.15, (most - least) * 0.04);
      const plot = new uPlot({
        width, height: Math.round(Math.min(400, Math.max(260, width * 0.42))),
        scales: {
          x: { time: false, range: () => [least - margin, most + margin] },
          y: { range: (_, low, high) => [0, Math.max(axis.least || 0, highest, high) * 1.05] },
        },
        cursor: { drag: { setScale: false } },
        legend: { live: true },
        axes: [
          { stroke: ink, font, labelFont: font, label: "workers", labelSize: 24, grid: { stroke: grid, width: 1 }, ticks: { stroke: soft, width: 1 },
            splits: (plot) => apart(plot, counts), values: (_, at) => at.map(String) },
          { stroke: ink, font, labelFont: font, label: axis.label, labelSize: 26, size: axis.suffix ? 70 : 56, grid: { stroke: grid, width: 1 }, ticks: { stroke: soft, width: 1 },
            values: (_, at) => at.map((value) => `${Math.round(value * 100) / 100}${axis.suffix}`) },
        ],
        series: [
          { label: "workers", value: (_, value) => (value === null ? "–" : digits(value, Number.isInteger(value) ? 0 : 1)) },
          ...lines.map((line) => ({
            label: line.label, stroke: variable(line.colour), width: line.width || 2, dash: line.dash, spanGaps: true,
            points: { show: false }, value: (_, value) => named(value),
          })),
        ],
        hooks: { draw: [intervals(lines)], ready: [(plot) => plot.setLegend({ idx: values[0].length - 1 })] },
      }, values, host);
      report.plots.push({ id, points: lines.reduce((sum, line) => sum + (line.marks || []).length, 0), series: plot.series.length - 1 });
    };
    drawn.push({ id, build });
  }
  /** As many of the counts as have room for their figures, the last one always. */
  function apart(plot, all) {
    const kept = [];
    for (const count of [...all].reverse())
      if (kept.length === 0 || plot.valToPos(kept[0], "x") - plot.valToPos(count, "x") >= 28) kept.unshift(count);
    return kept;
  }

  const measured = (value) => shown.map((line, at) => ({
    label: label(line), colour: `--s${at}`, mark: MARKS[at],
    points: line.steps.map((step) => [step.workers, value(step)[0]]),
    marks: line.steps.map((step) => [step.workers, ...value(step)]),
  }));
  const span = () => [...new Set([counts[0], counts[counts.length - 1]])];
  const others = hidden > 0
    ? ` ${hidden} more ${hidden > 1 ? "lines are" : "line is"} in the table of all settings only.` : "";

  function speedup() {
    const best = scaling[0];
    const lines = measured((step) => [step.speedup, step.low, step.high]);
    lines.unshift({ label: "ideal", colour: "--soft", dash: [4, 6], points: span().map((n) => [n, n]) });
    for (const [name, law, dash, colour] of [["Amdahl", best.amdahl, [12, 6], "--fit"], ["universal law", best.universal, [3, 3], "--ink"]])
      if (law.fit) lines.push({ label: `${name}, ${label(best)}`, colour, dash, width: 1.25, points: law.fit.curve });
    const figure = element("figure");
    const host = element("div", { class: "plot", "data-plot": "speedup" });
    const against = best.base_workers > 1 ? `${best.base_workers} workers, taken as ${best.base_workers}` : "one worker";
    figure.append(host, element("figcaption", {},
      `${data.simulated ? "Simulated speed-up" : "Speed-up"} against ${against} with the same policy and chunk length.` +
      (data.simulated ? "" : " Bars are the confidence intervals of the medians.") + others));
    workersPlot("speedup", host, lines, { label: "speed-up", places: 2, suffix: "", least: 1 });
    const rows = shown.flatMap((line) => line.steps.map((step) => ({ best: step.point === bestPoint(), cells: [
      line.bind, ...(manyPages ? [line.pages] : []), grouped(line.chunk), step.workers, digits(step.speedup, 3),
      ...(data.simulated ? [] : [digits(step.low, 3), digits(step.high, 3)]), percent(step.speedup / step.workers) ] })));
    const columns = [["bind", "text"], ...(manyPages ? [["pages", "text"]] : []), ["chunk"], ["workers"],
      ["speed-up"], ...(data.simulated ? [] : [["from"], ["to"]]), ["efficiency"]];
    section("scaling", "Speed-up", figure, table(columns, rows, "Speed-up and efficiency as a table"), ...laws());
  }
  function laws() {
    const row = (line, name, { fit }) => (fit ? [{ cells: [label(line), name, percent(fit.serial, 2),
      percent(fit.coherency, 4), digits(fit.most, 1), digits(fit.most_at, 0), percent(fit.worst)] }] : []);
    const rows = shown.flatMap((line) => [...row(line, "Amdahl", line.amdahl), ...row(line, "universal", line.universal)]);
    const missing = ["amdahl", "universal"].filter((name) => scaling[0][name].missing);
    const text = missing.map((name) =>
      `${name === "amdahl" ? "Amdahl's law" : "The universal scalability law"} is not fitted to the best line: it ${scaling[0][name].missing}.`);
    const columns = [["line", "text"], ["law", "text"], ["serial, contention"], ["coherency"], ["most speed-up"], ["at workers"], ["furthest time"]];
    return [...text.map(note), ...(rows.length > 0 ? [table(columns, rows, "The fitted laws as a table")] : [])];
  }
  function efficiency() {
    const lines = measured((step) => [step.speedup, step.low, step.high].map((value) => value / step.workers * 100));
    lines.unshift({ label: "ideal", colour: "--soft", dash: [4, 6], points: span().map((n) => [n, 100]) });
    const host = element("div", { class: "plot", "data-plot": "efficiency" });
    workersPlot("efficiency", host, lines, { label: "efficiency", places: 1, suffix: " %", least: 105 });
    section("efficiency", "Efficiency", element("figure", {}, host, element("figcaption", {},
      `${data.simulated ? "Simulated speed-up" : "Speed-up"} for each worker. The figures stand in the table of the speed-up.`)));
  }

  // ---- bandwidth

  function bandwidth() {
    if (!data.traffic) {
      const why = data.simulated ? "Nothing was run there, so there is no bandwidth to show."
        : "The kernel goes through no array, so it has no bandwidth to compare.";
      section("bandwidth", "Bandwidth", note(why));
      return;
    }
    const { read_bytes, written_bytes, slot_bytes } = data.traffic;
    const rate = (point) => {
      const bytes = (read_bytes + written_bytes) * data.elements + slot_bytes * Math.ceil(data.elements / point.chunk);
      return [bytes / point.seconds, bytes / point.high, bytes / point.low].map((value) => value / 1e9);
    };
    const lines = measured((step) => rate(points[step.point]));
    const [best] = scaling;
    const roofs = data.roofs.filter((roof) => roof.bind === best.bind && roof.pages === best.pages).sort((a, b) => a.workers - b.workers);
    const name = manyPages ? `${best.bind}, ${best.pages}` : best.bind;
    if (roofs.length > 0) for (const [what, key, colour, dash] of [["roof, read", "read", "--ink", [12, 3]], ["roof, copy", "copy", "--soft", [6, 3]]])
      lines.push({ label: `${what} (${name})`, colour, dash, mark: "ring",
        points: roofs.map((roof) => [roof.workers, roof[key] / 1e9]),
        marks: roofs.map((roof) => [roof.workers, roof[key] / 1e9, roof[key] / 1e9, roof[key] / 1e9]) });
    const host = element("div", { class: "plot", "data-plot": "bandwidth" });
    workersPlot("bandwidth", host, lines, { label: "GB/s", places: 2, suffix: "" });
    const caches = data.traffic.working_bytes > data.traffic.cache_bytes ? ""
      : " Array and results fit the last level caches, so their bytes need not come from memory: the roof does not bind.";
    const caption = `${roofs.length > 0 ? "" : "The roof could not be measured. "}The kernel reads ${read_bytes} and writes ${written_bytes} bytes an element${slot_bytes > 0 ? `, and writes ${slot_bytes} a chunk` : ""}. The roof is the best of ` +
      `what the same workers reach when they only read, or only copy, an array of such pages on the same nodes that no cache holds.${caches}${others}`;
    const rows = shown.flatMap((line) => line.steps.map((step) => {
      const roof = data.roofs.find((roof) => roof.bind === line.bind && roof.pages === line.pages && roof.workers === step.workers) || {};
      const of = written_bytes > 0 ? roof.copy : roof.read;
      const [own, low, high] = rate(points[step.point]);
      return { best: step.point === bestPoint(), cells: [ line.bind, ...(manyPages ? [line.pages] : []), grouped(line.chunk), step.workers,
        digits(own, 2), digits(low, 2), digits(high, 2), digits(roof.read / 1e9, 2), digits(roof.copy / 1e9, 2), percent(own * 1e9 / of, 0) ] };
    }));
    const columns = [["bind", "text"], ...(manyPages ? [["pages", "text"]] : []), ["chunk"], ["workers"], ["GB/s"], ["from"], ["to"], ["roof, read"], ["roof, copy"], ["of the roof"]];
    section("bandwidth", "Bandwidth against the measured roof",
      element("figure", {}, host, element("figcaption", {}, caption)), table(columns, rows, "Bandwidth as a table"));
  }

  return { speedup, efficiency, bandwidth };
})();
