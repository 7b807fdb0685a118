// Draws Vega-Lite charts. Vega itself is fetched when the first chart arrives.
import { chartLibrary } from "./load.js";
import { words } from "./words.js";

const drawn = new Map();
const wanted = new WeakMap(); // the latest specification for each place
const dark = matchMedia("(prefers-color-scheme: dark)");
const RAISED = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"].reduce(
  (text, digit, at) => `replace(${text}, /${at}/g, '${digit}')`,
  "replace(format(round(log(datum.value) / LN10), 'd'), '−', '⁻')",
);
const WHOLE = "abs(log(abs(datum.value)) / LN10 - round(log(abs(datum.value)) / LN10)) < 1e-9";
const FAINT = { condition: { test: `!(${WHOLE})`, value: 0.35 }, value: 1 };
const PLAIN = "datum.value && (abs(datum.value) >= 1e6 || abs(datum.value) < 1e-3) ? replace(datum.label, /e[+]?(.*)/, '×10^$1') : format(datum.value, ',.6~g')";
const POWER = `!datum.label ? '' : ${WHOLE} && abs(log(datum.value)) > 8 ? '10' + ${RAISED} : format(datum.value, '.4~g')`;
const RESIZED = 200; // milliseconds of rest after which a chart gets its new width
let charts = 0;

/** Draws `spec` into `place`, in the page's colours; says so where that fails, and draws it once the library is there. */
export async function draw(place, spec) {
  wanted.set(place, spec);
  if (!drawn.has(place)) place.textContent = words.drawing;
  try {
    await chartLibrary.request();
  } catch {
    place.textContent = words.chart_later;
    await chartLibrary.loaded;
  }
  if (!place.isConnected || wanted.get(place) !== spec) return;
  try {
    drawn.get(place)?.view.finalize();
    place.classList.toggle("on-dark", dark.matches);
    const canvas = document.createElement("div");
    place.replaceChildren(canvas);
    const options = { renderer: "svg", actions: false, logLevel: 1, ast: true, tooltip: false, defaultStyle: false, config: config(place) };
    const { view } = await window.vegaEmbed(canvas, sized(spec, place), options);
    anchor(canvas);
    drawn.set(place, { view, spec });
  } catch {
    place.textContent = words.no_chart;
  }
}

/** Gradients and clips by names of this chart's own: they name the page's address, which changes, and each other's. */
function anchor(canvas) {
  const own = `chart${(charts += 1)}-`;
  for (const each of canvas.querySelectorAll("defs [id]")) each.id = own + each.id;
  for (const name of ["fill", "stroke", "clip-path"]) {
    for (const each of canvas.querySelectorAll(`[${name}^="url("]`)) {
      each.setAttribute(name, each.getAttribute(name).replace(/url\(.*#(.*)\)/, `url(#${own}$1)`));
    }
  }
}

/** The address of a chart's picture, "svg" or "png"; null where the chart is not drawn. */
export async function image(place, as) {
  return (await drawn.get(place)?.view.toImageURL(as, 2)) ?? null;
}

/** Forgets the charts that are no longer on the page. */
export function forget() {
  for (const [place, { view }] of drawn) {
    if (place.isConnected) continue;
    view.finalize();
    drawn.delete(place);
  }
}

function redraw() {
  forget();
  for (const [place, { spec }] of drawn) draw(place, spec);
}

let width = innerWidth;
let resizing;
addEventListener("resize", () => {
  if (innerWidth === width) return; // a telephone hides its address bar
  width = innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(redraw, RESIZED);
});
dark.addEventListener("change", redraw);
new MutationObserver(redraw).observe(document.documentElement, { attributes: true, attributeFilter: ["data-large"] });

/** As wide as its place and as high as evidence.css keeps free; a row of words gets the height to read it. */
function sized(spec, place) {
  const { column, y } = spec.encoding ?? {};
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const room = place.clientWidth - 2 * parseFloat(getComputedStyle(place).paddingLeft);
  if (column) return squares(spec, room, rem);
  const lines = new Set(spec.data?.values.map((row) => row[y?.field])).size;
  const plot = Math.min(23 * rem, Math.max(15 * rem, 0.36 * place.clientWidth));
  const height = y?.type === "nominal" ? Math.max(18, 1.6 * type()) * lines : plot;
  const autosize = { type: "fit-x", contains: "padding" };
  const ticks = Math.round(room / (7 * type()));
  const layer = spec.layer?.map((unit) => decades(unit, ticks));
  return { ...decades(spec, ticks), width: "container", height, autosize, ...(layer && { layer }) };
}

/** Columns as squares side by side, or under each other where these would be small. */
function squares(spec, room, rem) {
  const { column, ...encoding } = spec.encoding;
  const count = new Set(spec.data.values.map((row) => row[column.field])).size || 1;
  const inside = room - 6.1 * rem; // beside an axis with its labels
  const side = Math.min(26 * rem, inside / count - 1.5 * rem);
  if (side >= 11 * rem) return { ...spec, width: side, height: side };
  return { ...spec, width: inside, height: inside, encoding: { ...encoding, row: { ...column, header: { ...column.header, title: null, labelOrient: "top", labelAngle: 0 } } } };
}

/** Powers of ten on logarithmic axes, as the text writes them: 10⁻³⁰; as many ticks as have room. */
function decades(unit, ticks) {
  if (!unit.encoding) return unit;
  const encoding = { ...unit.encoding };
  for (const name of ["x", "y"]) {
    const channel = encoding[name];
    if (channel?.scale?.type === "log") encoding[name] = { ...channel, axis: { ...channel.axis, labelExpr: POWER, gridOpacity: FAINT } };
    else if (channel?.type === "quantitative" && !channel.axis?.labelExpr) encoding[name] = { ...channel, axis: { ...(name === "x" && { tickCount: ticks }), ...channel.axis, labelExpr: PLAIN } };
  }
  return { ...unit, encoding };
}

/** The size of labels: it grows with large type. */
function type() {
  return Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * 0.69);
}

function config(place) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(name).trim();
  const font = style.fontFamily;
  const size = type();
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
    line: { strokeWidth: 2 },
    text: { font, fontSize: size, fill: colour("--ink"), color: colour("--ink") },
    range: { category: colour("--series").split(" ") },
  };
}
