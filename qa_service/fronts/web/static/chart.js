// Draws Vega-Lite charts. Vega itself is fetched when the first chart arrives.
import { words } from "./words.js";

const drawn = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
const RAISED = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"].reduce(
  (text, digit, at) => `replace(${text}, /${at}/g, '${digit}')`,
  "replace(format(round(log(datum.value) / LN10), 'd'), '−', '⁻')",
);
const POWER = `!datum.label || abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) > 1e-9 || abs(log(datum.value)) < 8 ? datum.label : '10' + ${RAISED}`;
let vega;

/** Draws `spec` into `place`, in the page's colours; says so where that fails. */
export async function draw(place, spec) {
  place.textContent = words.drawing;
  try {
    await (vega ??= import("/static/vega.js"));
    if (!place.isConnected) return;
    drawn.get(place)?.view.finalize();
    const canvas = document.createElement("div");
    place.replaceChildren(canvas);
    const options = { renderer: "svg", actions: false, logLevel: 1, ast: true, tooltip: false, defaultStyle: false, config: config(place) };
    const { view } = await window.vegaEmbed(canvas, sized(spec), options);
    drawn.set(place, { view, spec });
  } catch {
    place.textContent = words.no_chart;
  }
}

/** The address of a chart's picture, "svg" or "png". */
export function image(place, as) {
  return drawn.get(place).view.toImageURL(as, 2);
}

/** Forgets the charts that are no longer on the page. */
export function forget() {
  for (const [place, { view }] of drawn) {
    if (place.isConnected) continue;
    view.finalize();
    drawn.delete(place);
  }
}

dark.addEventListener("change", () => {
  forget();
  for (const [place, { spec }] of drawn) draw(place, spec);
});

/** As wide as its place, unless it stands in columns; a row of words gets the height to read it. */
function sized(spec) {
  const { column, y } = spec.encoding ?? {};
  if (column) return spec;
  const lines = new Set(spec.data?.values.map((row) => row[y?.field])).size;
  const height = y?.type === "nominal" ? 18 * lines : spec.height;
  const autosize = { type: "fit-x", contains: "padding" };
  const layer = spec.layer?.map(decades);
  return { ...decades(spec), width: "container", height, autosize, ...(layer && { layer }) };
}

/** Powers of ten on logarithmic axes, as the text writes them: 10⁻³⁰. */
function decades(unit) {
  if (!unit.encoding) return unit;
  const encoding = { ...unit.encoding };
  for (const name of ["x", "y"]) {
    const channel = encoding[name];
    if (channel?.scale?.type === "log") encoding[name] = { ...channel, axis: { ...channel.axis, labelExpr: POWER } };
  }
  return { ...unit, encoding };
}

function config(place) {
  const style = getComputedStyle(place);
  const colour = (name) => style.getPropertyValue(name).trim();
  const font = style.fontFamily;
  const quiet = { labelColor: colour("--muted"), titleColor: colour("--muted"), labelFont: font, titleFont: font };
  const narrow = place.clientWidth < 480;
  return {
    background: "transparent",
    font,
    axis: { ...quiet, gridColor: colour("--line"), domainColor: colour("--muted"), tickColor: colour("--line"), titleFontWeight: "normal" },
    legend: { ...quiet, orient: "top", labelLimit: narrow ? 260 : 320, columns: narrow ? 1 : 3 },
    header: quiet,
    view: { stroke: null },
    mark: { color: colour("--series").split(" ")[0] },
    line: { strokeWidth: 2 },
    text: { font, fill: colour("--ink"), color: colour("--ink") },
    range: { category: colour("--series").split(" ") },
  };
}
