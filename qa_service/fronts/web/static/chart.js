// Draws Vega-Lite charts. Vega itself is fetched when the first chart arrives.
import { chartLibrary } from "./load.js";
import { allParts, enclosingPart } from "./parts.js";
import { words } from "./words.js";
/** @import { ChartSpec } from "./types.js" */

/** The charts on the page, by the element that each is in. @type {Map<HTMLElement, { view: any, spec: ChartSpec }>} */
const drawn = new Map();
/** The latest specification for each element. @type {WeakMap<HTMLElement, ChartSpec>} */
const wanted = new WeakMap();
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
/** A power of ten as a Vega expression: its exponent in raised digits. @param {string} exponent an expression */
function powerOfTen(exponent) {
  const raised = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"].reduce((text, digit, at) => `replace(${text}, /${at}/g, '${digit}')`, `replace(format(${exponent}, 'd'), '−', '⁻')`);
  return `'10' + ${raised}`;
}
const LOG10 = "(log(abs(datum.value)) / LN10)";
const IS_POWER_OF_TEN = "abs(log(abs(datum.value)) / LN10 - round(log(abs(datum.value)) / LN10)) < 1e-9";
const GRID_OPACITY = { condition: { test: `!(${IS_POWER_OF_TEN})`, value: 0.35 }, value: 1 };
const LINEAR_LABEL = "datum.value && (abs(datum.value) >= 1e6 || abs(datum.value) < 1e-3) ? replace(datum.label, /e[+]?(.*)/, '×10^$1') : format(datum.value, ',.6~g')";
const LOG_LABEL = [
  "!datum.label ? ''",
  `abs(${LOG10}) < 4 ? format(datum.value, ',.4~g')`,
  `${IS_POWER_OF_TEN} ? ${powerOfTen(`round(${LOG10})`)}`,
  `format(datum.value / pow(10, floor(${LOG10})), '.2~g') + '×' + ${powerOfTen(`floor(${LOG10})`)}`,
].join(" : ");
const RESIZE_DELAY = 200; // milliseconds of rest after which a chart gets its new width
let chartCount = 0;

/**
 * Draws a chart in the page's colours; says so where that fails, and draws it once the library is there.
 * @param {HTMLElement} place
 * @param {ChartSpec} spec
 */
export async function drawChart(place, spec) {
  wanted.set(place, spec);
  if (isFolded(place)) return;
  if (!drawn.has(place)) place.textContent = words.drawing;
  try {
    await chartLibrary.request();
  } catch {
    place.textContent = words.chart_later;
    await chartLibrary.loaded;
  }
  if (!place.isConnected || wanted.get(place) !== spec) return;
  if (isFolded(place)) return; // it is drawn once its fold is opened
  try {
    drawn.get(place)?.view.finalize();
    place.classList.toggle("on-dark", darkScheme.matches);
    const canvas = document.createElement("div");
    place.replaceChildren(canvas);
    const options = { renderer: "svg", actions: false, logLevel: 1, ast: true, tooltip: false, defaultStyle: false, config: config(place) };
    const { view } = await /** @type {any} */ (window).vegaEmbed(canvas, fitted(spec, place), options);
    makeReferencesUnique(canvas);
    canvas.querySelector("svg")?.setAttribute("aria-hidden", "true"); // its place has the text alternative
    drawn.set(place, { view, spec });
  } catch {
    place.textContent = words.no_chart;
  }
}

/** Gradients and clips are referred to by the page's address, which changes, and by names that charts share: each chart gets its own.
 * @param {HTMLElement} canvas */
function makeReferencesUnique(canvas) {
  const prefix = `chart${(chartCount += 1)}-`;
  for (const each of canvas.querySelectorAll("defs [id]")) each.id = prefix + each.id;
  for (const name of ["fill", "stroke", "clip-path"]) {
    for (const each of canvas.querySelectorAll(`[${name}^="url("]`)) {
      each.setAttribute(name, (each.getAttribute(name) ?? "").replace(/url\(.*#(.*)\)/, `url(#${prefix}$1)`));
    }
  }
}

/**
 * The URL of a chart's picture; null where the chart is not drawn.
 * @param {HTMLElement} place
 * @param {string} format "svg" or "png"
 * @returns {Promise<string | null>}
 */
export async function chartPicture(place, format) {
  return (await drawn.get(place)?.view.toImageURL(format, 2)) ?? null;
}

/** Frees the charts that are no longer on the page. */
export function discardRemovedCharts() {
  for (const [place, { view }] of drawn) {
    if (place.isConnected) continue;
    view.finalize();
    drawn.delete(place);
  }
}

function redrawAll() {
  discardRemovedCharts();
  for (const [place, { spec }] of drawn) drawChart(place, spec);
}

/** @param {HTMLElement} place */
function isFolded(place) {
  return place.closest("details:not([open])") !== null;
}

document.addEventListener("toggle", ({ target }) => {
  if (!(target instanceof HTMLDetailsElement) || !target.open) return;
  for (const place of allParts(target, "chart")) {
    const spec = wanted.get(place);
    if (spec && drawn.get(place)?.spec !== spec) drawChart(place, spec);
  }
}, true);

let pageWidth = innerWidth;
/** @type {number | undefined} */
let resizeTimer;
addEventListener("resize", () => {
  if (innerWidth === pageWidth) return; // a telephone hides its address bar
  pageWidth = innerWidth;
  clearTimeout(resizeTimer);
  resizeTimer = setTimeout(redrawAll, RESIZE_DELAY);
});
darkScheme.addEventListener("change", redrawAll);
new MutationObserver(redrawAll).observe(document.documentElement, { attributes: true, attributeFilter: ["data-large"] });

function rootFontSize() {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** The size of labels in pixels: it grows with large type, and is that of a projector where a figure is presented. @param {HTMLElement} place */
function labelSize(place) {
  return Math.round(rootFontSize() * (enclosingPart(place, "stage") ? 1.6 : 0.75));
}

/** As wide as its place and as high as evidence.css keeps free; a row of words gets the height to read it.
 * @param {ChartSpec} spec @param {HTMLElement} place @returns {ChartSpec} */
function fitted(spec, place) {
  const { column, y } = spec.encoding ?? {};
  const rem = rootFontSize();
  const room = place.clientWidth - 2 * parseFloat(getComputedStyle(place).paddingLeft);
  if (column) return fittedSquares(spec, room, rem);
  const lines = new Set(spec.data?.values.map((/** @type {any} */ row) => row[y?.field])).size;
  const isStage = enclosingPart(place, "stage") !== null;
  const plotHeight = isStage ? place.clientHeight : plotHeightOf(place, rem);
  const height = y?.type === "nominal" ? Math.max(18, 1.6 * labelSize(place)) * lines : plotHeight;
  const autosize = { type: isStage ? "fit" : "fit-x", contains: "padding" };
  const ticks = Math.round(room / (7 * labelSize(place)));
  const layer = spec.layer?.map((/** @type {ChartSpec} */ unit) => withAxisLabels(unit, ticks));
  return { ...withAxisLabels(spec, ticks), width: "container", height, autosize, ...(layer && { layer }) };
}

/** As evidence.css keeps free. @param {HTMLElement} place @param {number} rem */
function plotHeightOf(place, rem) {
  const [least, most] = enclosingPart(place, "hero") ? [8, 17] : [13, 20];
  return Math.min(most * rem, Math.max(least * rem, 0.36 * place.clientWidth));
}

/** Columns as squares side by side, or under each other where these would be small.
 * @param {ChartSpec} spec @param {number} room pixels @param {number} rem pixels @returns {ChartSpec} */
function fittedSquares(spec, room, rem) {
  const { column, ...encoding } = spec.encoding;
  const count = new Set(spec.data.values.map((/** @type {any} */ row) => row[column.field])).size || 1;
  const inside = room - 6.1 * rem; // beside an axis with its labels
  const side = Math.min(27 * rem, inside / count - 1.5 * rem);
  if (side >= 11 * rem) return { ...spec, width: side, height: side };
  return { ...spec, width: inside, height: inside, encoding: { ...encoding, row: { ...column, header: { ...column.header, title: null, labelOrient: "top", labelAngle: 0 } } } };
}

/** Powers of ten on logarithmic axes, as the text writes them: 10⁻³⁰; as many ticks as have room.
 * @param {ChartSpec} unit @param {number} ticks @returns {ChartSpec} */
function withAxisLabels(unit, ticks) {
  if (!unit.encoding) return unit;
  const encoding = { ...unit.encoding };
  for (const name of ["x", "y"]) {
    const channel = encoding[name];
    if (channel?.scale?.type === "log") encoding[name] = { ...channel, axis: { ...channel.axis, labelExpr: LOG_LABEL, gridOpacity: GRID_OPACITY } };
    else if (channel?.type === "quantitative" && !channel.axis?.labelExpr) encoding[name] = { ...channel, axis: { ...(name === "x" && { tickCount: ticks }), ...channel.axis, labelExpr: LINEAR_LABEL } };
  }
  return { ...unit, encoding };
}

/** Vega-Lite's configuration: colours and fonts of the page. @param {HTMLElement} place */
function config(place) {
  const style = getComputedStyle(place);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const font = style.fontFamily;
  const isStage = enclosingPart(place, "stage") !== null;
  const size = labelSize(place);
  const quiet = { labelColor: colour("--muted"), titleColor: colour("--muted"), labelFont: font, titleFont: font, labelFontSize: size, titleFontSize: size };
  const narrow = place.clientWidth < 480;
  return {
    background: "transparent",
    font,
    axis: { ...quiet, gridColor: colour("--line"), domainColor: colour("--muted"), tickColor: colour("--line"), titleFontWeight: "normal", labelOverlap: "greedy", labelSeparation: narrow ? 6 : 3 },
    legend: { ...quiet, orient: "top", labelLimit: 30 * size, columns: narrow ? 1 : 3 },
    header: quiet,
    view: { stroke: null },
    mark: { color: colour("--series").split(" ")[0] },
    line: { strokeWidth: isStage ? 6 : 2.5 },
    rule: { color: colour("--muted") },
    text: { font, fontSize: size, fill: colour("--ink"), color: colour("--ink") },
    range: { category: colour("--series").split(" ") },
  };
}
