// The page's data, and what all drawings have in common. Whatever goes wrong is kept in
// `report.errors`, where the test of the page looks.
const report = { errors: [], plots: [] };
window.report = report;
window.addEventListener("error", (event) => report.errors.push(String(event.message)));
window.addEventListener("securitypolicyviolation", (event) =>
  report.errors.push(`${event.violatedDirective}: ${event.blockedURI}`));

const tools = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { points } = data;
  const SVG = "http://www.w3.org/2000/svg";

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const digits = (value, n) => (Number.isFinite(value) ? value.toFixed(n) : "–");
  const grouped = (n) => String(n).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  const percent = (part, n = 1) => `${digits(part * 100, n)} %`;
  /** A scale for times: the unit that suits the longest of them. */
  const timeUnit = (longest) =>
    longest >= 1 ? { unit: "s", by: 1 } : longest >= 1e-3 ? { unit: "ms", by: 1e3 } : { unit: "µs", by: 1e6 };

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function shape(name, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function section(id, title, ...children) {
    const made = element("section", { id }, element("h2", {}, title), ...children);
    document.getElementById("plots").append(made);
    return made;
  }
  const note = (text) => element("p", { class: "note" }, text);

  /** A table: `columns` are [title, text?]; a row may have the class "best". */
  function table(columns, rows, caption) {
    const kind = (at) => ({ class: columns[at][1] || "number" });
    const head = columns.map(([title], at) => element("th", { scope: "col", ...kind(at) }, title));
    const body = rows.map((row) => {
      const cells = row.cells.map((cell, at) => element("td", kind(at), String(cell)));
      return element("tr", row.best ? { class: "best" } : {}, ...cells);
    });
    const made = element("table", { class: "data" },
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
    const opened = element("details", { open: "" }, element("summary", {}, caption),
      element("div", { class: "scroll" }, made));
    return opened;
  }

  const manyPages = new Set(points.map((point) => point.pages)).size > 1;
  const counts = [...new Set(points.map((point) => point.workers))].sort((a, b) => a - b);
  const bestPoint = () =>
    points.reduce((best, point, at) => (point.seconds < points[best].seconds ? at : best), 0);

  /** What is drawn anew for another theme, width or medium: {id, build}. */
  const drawn = [];

  return {
    drawn, data, points, counts, manyPages, bestPoint,
    variable, digits, grouped, percent, timeUnit, element, shape, section, note, table,
  };
})();
