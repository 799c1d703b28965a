// Draws the whole page, and again when its theme, its width or its medium changes.
(() => {
  const { drawn, data, points, element, section, note } = tools;

  function made() {
    const parts = [];
    if (data.simulated) parts.push(element("h3", {}, "Assumed"),
      element("ul", {}, ...data.simulated.assumptions.map((text) => element("li", {}, text))));
    else parts.push(note("All measurements were made in one random order, each in a pool of its own after a run to warm up. " +
      "A median's interval lies between order statistics, so it presumes nothing of the distribution. An outlier is further than 3.5 " +
      "standard deviations from the median, estimated by the median distance. Two settings differ where their intervals do not overlap and cover their medians with 95 % or more each, which takes six runs."));
    parts.push(element("pre", { class: "wide" }, element("code", {}, data.machine)));
    section("how", data.simulated ? "What it stands on" : "How it was measured", ...parts);
  }

  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const theme = (name) => document.documentElement.setAttribute("data-theme", name);
  const wanted = () => chosen || (dark.matches ? "dark" : "light");
  function redraw() {
    report.plots = report.plots.filter((plot) => !drawn.some((line) => line.id === plot.id));
    for (const line of drawn) line.build();
  }
  function show(name) { theme(name); redraw(); }
  document.getElementById("theme").addEventListener("click", () => {
    chosen = wanted() === "dark" ? "light" : "dark";
    show(chosen);
  });
  dark.addEventListener("change", () => { chosen = null; show(wanted()); });
  // Paper is white, whatever the screen is.
  const paper = matchMedia("print");
  const printing = () => show(paper.matches ? "light" : wanted());
  paper.addEventListener("change", printing);
  window.addEventListener("beforeprint", () => show("light"));
  window.addEventListener("afterprint", () => show(wanted()));
  let width = 0;
  window.addEventListener("resize", () => {
    if (document.body.clientWidth !== width) { width = document.body.clientWidth; redraw(); }
  });

  theme(wanted());
  if (points.length > 0) {
    lines.speedup();
    lines.efficiency();
    pictures.heatMaps();
    pictures.timelines();
    lines.bandwidth();
  }
  made();
  width = document.body.clientWidth;
  redraw();
  report.done = true;
})();
