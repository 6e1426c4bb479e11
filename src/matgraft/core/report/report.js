"use strict";
// Draws the figures in the colours of the page, and follows its theme, its width and its paper.
const figures = JSON.parse(document.getElementById("figures").textContent);
const places = Object.keys(figures).map((name) => document.getElementById("plot-" + name)).filter(Boolean);
const figureOf = (place) => figures[place.id.slice("plot-".length)];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
// No button bar: some of its buttons send the data to a server. Dragging zooms, a double click goes back; where there is
// a finger instead of a mouse, dragging must scroll the page.
const config = { responsive: true, displayModeBar: false, showTips: false };
const dragmode = matchMedia("(hover: none)").matches ? false : "zoom";

function themed(figure) {
  const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line"), paper = colour("--paper");
  const layout = structuredClone(figure.layout);
  layout.font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: soft };
  layout.hoverlabel = { bgcolor: paper, bordercolor: line, font: { color: ink } };
  layout.dragmode = dragmode;
  for (const name of ["xaxis", "yaxis"]) {
    Object.assign(layout[name], { gridcolor: line, linecolor: soft, tickcolor: soft, showline: true });
    layout[name].title.font = { size: 12.5, color: ink };
  }
  const data = figure.data.map((trace) => ({ ...trace, ...(trace.meta === "ink" ? inked(trace, ink) : {}) }));
  return [data, layout];
}

function inked(trace, ink) {
  if (trace.mode === "lines") return { line: { ...trace.line, color: ink } };
  return { marker: { ...trace.marker, line: { ...trace.marker.line, color: ink } } };
}

function draw() {
  for (const place of places) Plotly.react(place, ...themed(figureOf(place)), config);
}

// Learning curves carry minutes beside steps.
function useAxis(unit) {
  for (const place of places.filter((place) => place.id.startsWith("plot-curve-"))) {
    const figure = figureOf(place);
    for (const trace of figure.data) {
      trace.step ??= trace.x;
      trace.x = unit === "minutes" ? trace.customdata : trace.step;
    }
    figure.layout.xaxis.title.text = unit === "minutes" ? "minutes" : "step";
  }
  draw();
}

// Paper is light and narrow, and shows what is folded away.
function forPaper() {
  document.documentElement.dataset.paper = "";
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    details.dataset.folded = "";
  }
  draw();
  for (const place of places) Plotly.relayout(place, { width: place.clientWidth, height: place.clientHeight });
}

function forScreen() {
  delete document.documentElement.dataset.paper;
  for (const details of document.querySelectorAll("details[data-folded]")) {
    details.open = false;
    delete details.dataset.folded;
  }
  draw();
}

// The library lies in the page as text, packed: the browser unpacks and runs it, by the hash that the page's policy states.
async function loadPlotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (byte) => byte.charCodeAt(0));
  const script = document.createElement("script");
  script.textContent = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
}

function start() {
  draw();
  for (const choice of document.querySelectorAll("input[name=axis]")) {
    choice.addEventListener("change", () => useAxis(choice.value));
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("beforeprint", forPaper);
  addEventListener("afterprint", forScreen);
}

function without() {
  for (const place of places) place.textContent = "This browser cannot draw the plot. Its figures stand in the tables.";
}

if (places.length) loadPlotly().then(start, without);
