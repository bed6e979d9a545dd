"use strict";
// The script of the page: it filters and sorts runs (`rows`), and draws the plots, the table and the diagrams. All texts
// of the store are inserted as text, never as markup. The data has each text once, and else its index (`data.py`).
const data = JSON.parse(document.getElementById("data").textContent);
const text = (index) => data.texts[index];
const rows = data.runs.key.map((key, index) => ({
  ...Object.fromEntries(data.filters.map(([field]) => [field, text(data.runs[field][index])])),
  frontier: data.runs.frontier[index] === 1,
  get title() { return data.runs.title[index].map(text).join(" "); },
  get command() { return data.runs.command[index].map(text).join(" "); },
  get hover() { return data.runs.hover[index].map(text).join("<br>"); },
  get cells() { return data.columns.map((column) => text(column.words[index])); },
}));
const $ = (id) => document.getElementById(id);
// Only these buttons: plotly has one that would upload the plot to its makers.
const BUTTONS = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
const SETTINGS = { responsive: true, displaylogo: false, plotlyServerURL: "", modeBarButtons: BUTTONS };
const ROWS_AT_FIRST = 300;
let visible = rows.map((_, index) => index);

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function options(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => make("option", { value, textContent: text })));
}

// -- light and dark ---------------------------------------------------------------------------------------------------

const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => document.documentElement.dataset.theme === "dark";
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").setAttribute("aria-pressed", String(dark));
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    Plotly.update(plot, inkOfTraces(plot.data), themed());
  }
  showDiagram();
}

function themed() {
  const axis = (name) => ({ [`${name}.gridcolor`]: colour("grid"), [`${name}.linecolor`]: colour("line"), [`${name}.tickcolor`]: colour("line") });
  return {
    "font.color": colour("ink"), "hoverlabel.bgcolor": colour("card"), "hoverlabel.bordercolor": colour("soft"),
    "hoverlabel.font.color": colour("ink"), "modebar.color": colour("soft"), "modebar.activecolor": colour("accent"),
    ...axis("xaxis"), ...axis("yaxis"),
  };
}

// The line of the frontier has the colour of text; each other trace has its own.
function inkOfTraces(traces) {
  const ink = (trace, own) => (trace.meta?.kind === "frontier" ? colour("ink") : own);
  return {
    "line.color": traces.map((trace) => ink(trace, trace.line && trace.line.color)),
    "marker.color": traces.map((trace) => ink(trace, trace.marker && trace.marker.color)),
  };
}

// -- copying ----------------------------------------------------------------------------------------------------------

let toastEnds;
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("on");
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => $("toast").classList.remove("on"), 6000);
}

async function copyCommand(row) {
  const copied = await toClipboard(row.command);
  toast(copied ? `Copied: ${row.command}` : `Could not copy. The command is: ${row.command}`);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = make("textarea", { value: text }); // for browsers that deny pages on disk the clipboard
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

// -- filters ----------------------------------------------------------------------------------------------------------

function makeFilters() {
  for (const [field, title] of data.filters) {
    const choices = [...new Set(rows.map((row) => row[field]))].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
    if (choices.length < 2) continue;
    const select = make("select", { id: `by-${field}` });
    options(select, [["", "all"], ...choices.map((value) => [value, value || "–"])]);
    select.addEventListener("change", applyFilters);
    $("selects").append(make("label", {}, make("span", { textContent: title }), select));
  }
  let typed;
  $("search").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(applyFilters, 150); // not for each key: drawing thousands of runs is slow
  });
  $("frontier-only").addEventListener("change", applyFilters);
  $("reset").addEventListener("click", () => {
    $("search").value = "";
    $("frontier-only").checked = false;
    for (const select of $("selects").querySelectorAll("select")) select.selectedIndex = 0;
    applyFilters();
  });
}

// The text of each run that the search box searches, made for the first search.
let searchTexts;
function searched() {
  searchTexts ??= rows.map((row, index) => [...row.cells, data.runs.key[index]].join(" ").toLowerCase());
  return searchTexts;
}

function applyFilters() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = data.filters.map(([field]) => [field, $(`by-${field}`)]).filter(([, select]) => select && select.selectedIndex > 0);
  visible = rows.map((_, index) => index).filter((index) => {
    const row = rows[index];
    return (!$("frontier-only").checked || row.frontier)
      && chosen.every(([field, select]) => String(row[field]) === select.value)
      && words.every((word) => searched()[index].includes(word));
  });
  $("matches").textContent = `${visible.length} of ${rows.length} runs`;
  drawTable();
  drawClouds();
}

// -- plots of runs ---------------------------------------------------------------------------------------------------

// What latency is plotted against: first the metric of the frontier.
let along = data.axes[0];

function makeAxes() {
  $("axes").replaceChildren(...data.axes.map((axis, index) => {
    const input = make("input", { type: "radio", name: "axis", value: axis.key, checked: index === 0 });
    input.addEventListener("change", () => {
      along = axis;
      drawClouds();
    });
    return make("label", {}, input, make("span", { textContent: axis.word }));
  }));
}

// The traces of a figure with the visible runs alone; `xs` and `errors`: the place of each run along x, and its error.
function filtered(figure, xs, errors) {
  const left = new Set(visible);
  const { middle, low, high } = data.times;
  const traces = figure.data.map((trace) => {
    const { kind } = trace.meta;
    if (kind === "key") return trace;
    if (kind === "lines") return { ...trace, visible: left.size === rows.length };
    const indices = trace.customdata.filter((index) => left.has(index) && xs[index] !== null);
    if (kind === "intervals") return { ...trace, ...segments(indices, xs, errors) };
    const result = {
      ...trace, customdata: indices, x: indices.map((index) => xs[index]), y: indices.map((index) => middle[index]),
    };
    if (kind === "frontier") {
      // A line along another axis than the frontier's would zigzag: its rings stay.
      if (figure === data.figures.frontier && along !== data.axes[0]) result.mode = "markers";
      result.line = { ...trace.line, color: colour("ink") };
      result.marker = { ...trace.marker, color: colour("ink") };
      return result;
    }
    result.text = indices.map((index) => rows[index].hover);
    if (trace.error_y) {
      const upward = indices.map((index) => high[index] - middle[index]);
      result.error_y = { ...trace.error_y, array: upward, arrayminus: indices.map((index) => middle[index] - low[index]) };
    }
    if (trace.error_x) result.error_x = { ...trace.error_x, visible: !!errors, array: indices.map((index) => errors?.[index] ?? 0) };
    return result;
  });
  return traces;
}

// The dotted intervals of predicted runs; null ends a line.
function segments(indices, xs, errors) {
  const { middle, low, high } = data.times;
  const x = [], y = [];
  for (const index of indices) {
    x.push(xs[index], xs[index], null);
    y.push(low[index], high[index], null);
    if (errors?.[index]) {
      x.push(xs[index] - errors[index], xs[index] + errors[index], null);
      y.push(middle[index], middle[index], null);
    }
  }
  return { x, y, customdata: undefined };
}

function layoutOf(figure) {
  const layout = structuredClone(figure.layout);
  for (const [path, value] of Object.entries(themed())) {
    const names = path.split(".");
    const last = names.pop();
    names.reduce((inner, name) => (inner[name] ??= {}), layout)[last] = value;
  }
  return layout;
}

// As many ticks that a logarithmic axis has them at 1, 2 and 5: nine in each power of ten would overlap (style.py).
function ticks() {
  const values = visible.map((index) => along.values[index]).filter((value) => value !== null);
  const decades = values.length ? Math.log10(Math.max(...values) / Math.min(...values)) : 0;
  return Math.min(10, Math.max(4, Math.floor(decades / 0.31)));
}

function drawClouds() {
  if (!data.figures) return;
  const layout = layoutOf(data.figures.frontier);
  layout.xaxis.title.text = along.title;
  const scale = along.logarithmic
    ? { type: "log", nticks: ticks(), tickformat: along.key === "memory_bytes" ? ",~g" : "~s" }
    : { type: "linear", nticks: 0, tickformat: "" };
  Object.assign(layout.xaxis, scale);
  Plotly.react("plot-frontier", filtered(data.figures.frontier, along.values, along.errors), layout, SETTINGS);
  if (sizesSeen) drawSizes();
}

// The plot by size is drawn when it comes into view: of thousands of runs, plots take most of the time to load the page.
let sizesSeen = false;

function drawSizes() {
  Plotly.react("plot-sizes", filtered(data.figures.sizes, data.places), layoutOf(data.figures.sizes), SETTINGS);
}

function showSizes() {
  if (sizesSeen) return;
  sizesSeen = true;
  drawSizes();
  copyOnClick("plot-sizes");
}

function copyOnClick(id) {
  $(id).on("plotly_click", (event) => copyCommand(rows[event.points[0].customdata]));
}

function startClouds() {
  if (!data.figures) return;
  copyOnClick("plot-frontier");
  makeAxes();
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting)) showSizes();
  }).observe($("plot-sizes"));
  addEventListener("beforeprint", showSizes);
}

// -- where the time goes ----------------------------------------------------------------------------------------------

const MOST_BARS = 40;

function startParts() {
  const known = Object.keys(data.profiles);
  if (!known.length || !data.figures) return;
  $("parts").hidden = false;
  options($("parts-run"), known.map((index) => [index, rows[index].title]));
  const first = known.find((index) => rows[index].frontier);
  if (first) $("parts-run").value = first;
  $("parts-run").addEventListener("change", drawParts);
  for (const input of document.querySelectorAll("input[name=detail]")) input.addEventListener("change", drawParts);
  drawParts();
}

function drawParts() {
  const profile = data.profiles[$("parts-run").value];
  const detail = document.querySelector("input[name=detail]:checked").value;
  const total = profile.parts.reduce((sum, [, , seconds]) => sum + seconds, 0);
  const all = profile[detail].filter(([, , seconds]) => seconds > 0);
  const bars = detail === "layers" && all.length > MOST_BARS
    ? [...all].sort((one, other) => other[2] - one[2]).slice(0, MOST_BARS) : all;
  const share = (seconds) => `${(100 * seconds / total).toPrecision(2)} %`;
  const names = bars.map(([name]) => data.texts[name]);
  const figure = data.figures.parts;
  const trace = {
    ...figure.data[0], y: names, x: bars.map(([, , seconds]) => 1000 * seconds),
    text: bars.map(([, , seconds]) => share(seconds)),
    hovertext: bars.map(([name, , seconds]) => `${data.texts[name]}<br>${milliseconds(seconds)}, ${share(seconds)}`),
    marker: { color: bars.map(([, part]) => data.partColours[data.texts[part].split(/[ .]/)[0]] ?? "#818b98") },
  };
  const layout = layoutOf(figure);
  const room = 55 / Math.max(100, $("plot-parts").clientWidth - 200); // right of the longest bar, for its label
  layout.xaxis.range = [0, (1 + room) * Math.max(...trace.x)];
  $("plot-parts").style.height = `${90 + 22 * Math.max(4, bars.length)}px`;
  Plotly.react("plot-parts", [trace], layout, SETTINGS);
  Plotly.Plots.resize("plot-parts");
  const cut = bars.length < all.length ? ` The plot has the ${MOST_BARS} slowest of ${all.length} layers.` : "";
  $("parts-note").textContent = `The layers, each timed alone, add up to ${milliseconds(total)}; a whole pass takes `
    + `${milliseconds(profile.measured)}.${cut}${profile.advice ? ` ${profile.advice}` : ""}`;
}

const milliseconds = (seconds) => `${(1000 * seconds).toPrecision(4)} ms`;

// -- diagrams ---------------------------------------------------------------------------------------------------------

function startDiagrams() {
  if (!data.diagrams.length) return;
  $("diagrams").hidden = false;
  options($("diagrams-run"), data.diagrams.map(({ name }, index) => [index, name]));
  $("diagrams-run").addEventListener("change", showDiagram);
}

// As an image the diagram has styles of its own; its colours follow the page, not the system.
function showDiagram() {
  const diagram = data.diagrams[$("diagrams-run").selectedIndex];
  if (!diagram) return;
  const svg = diagram.svg.map(text).join("\n").replace("@media(prefers-color-scheme:dark)", isDark() ? "@media all" : "@media not all");
  $("diagram").src = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  $("diagram").alt = diagram.title;
}

// -- the table --------------------------------------------------------------------------------------------------------

let sorted = { column: data.sortBy, down: false };
let limit = ROWS_AT_FIRST;

function makeTable() {
  if (!rows.length) return;
  for (const id of ["runs", "filters"]) $(id).hidden = false;
  for (const id of ["frontier", "sizes"]) $(id).hidden = !data.figures;
  const head = make("tr");
  data.columns.forEach((column, index) => {
    const button = make("button", { type: "button", textContent: column.title });
    button.addEventListener("click", () => {
      sorted = { column: index, down: sorted.column === index && !sorted.down };
      drawTable();
    });
    head.append(make("th", { scope: "col", className: column.number ? "number" : "" }, button));
  });
  head.append(make("td")); // above the copy buttons
  $("table").tHead.replaceChildren(head);
  $("more").addEventListener("click", () => { limit = Infinity; drawTable(); });
  applyFilters();
}

function compare(one, other) {
  const { values, words } = data.columns[sorted.column];
  const [a, b] = [one, other].map((index) => (values ? values[index] : text(words[index]) || null));
  if (a === null || b === null) return (a === null) - (b === null) || one - other; // empty cells come last, in either order
  const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  return (sorted.down ? -order : order) || one - other;
}

function drawTable() {
  [...$("table").tHead.rows[0].cells].forEach((cell, index) => {
    if (index === data.columns.length) return;
    cell.setAttribute("aria-sort", index === sorted.column ? (sorted.down ? "descending" : "ascending") : "none");
  });
  const listed = [...visible].sort(compare).slice(0, limit);
  $("table").tBodies[0].replaceChildren(...listed.map(tableRow));
  $("more").hidden = listed.length === visible.length;
  $("more").textContent = `Show all ${visible.length} runs`;
}

function tableRow(index) {
  const row = rows[index];
  const cells = data.columns.map((column) => make("td", { className: column.kind, textContent: text(column.words[index]) }));
  const copy = make("button", { type: "button", textContent: "Copy", title: row.command, ariaLabel: `Copy the command of ${row.title}` });
  copy.addEventListener("click", () => copyCommand(row));
  const kind = row.status === "failed" ? "failed" : row.frontier ? "frontier" : "";
  return make("tr", { className: kind }, ...cells, make("td", {}, copy));
}

// -- start --------------------------------------------------------------------------------------------------------

setTheme(system.matches);
system.addEventListener("change", (event) => setTheme(event.matches));
$("theme").addEventListener("click", () => setTheme(!isDark()));
makeFilters();
makeTable();
startClouds();
startParts();
startDiagrams();
showDiagram();
