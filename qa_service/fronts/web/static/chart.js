// Draws Vega-Lite charts. Vega itself is fetched when the first chart arrives.
import { words } from "./words.js";

const drawn = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
let vega;

/** Draws `spec` into `place`, in the page's colours; says so where that fails. */
export async function draw(place, spec) {
  try {
    await (vega ??= import("/static/vega.js"));
    if (!place.isConnected) return;
    drawn.get(place)?.view.finalize();
    const canvas = document.createElement("div");
    place.replaceChildren(canvas);
    const whole = spec.encoding?.column ? spec : { ...spec, width: "container", autosize: { type: "fit-x", contains: "padding" } };
    const options = { renderer: "svg", actions: false, config: config(place) };
    const { view } = await window.vegaEmbed(canvas, whole, options);
    drawn.set(place, { view, spec });
  } catch {
    place.textContent = words.no_chart;
  }
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
    legend: { ...quiet, labelLimit: narrow ? 260 : 320, columns: narrow ? 1 : 3 },
    header: quiet,
    view: { stroke: null },
    line: { strokeWidth: 2 },
    text: { font, fill: colour("--ink"), color: colour("--ink") },
    range: { category: colour("--series").split(" ") },
  };
}
