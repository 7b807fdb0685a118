// One figure on the whole screen, for a lecture hall: thick strokes, large type; arrow keys step through the claims.
import { drawChart } from "./chart.js";
import { part } from "./parts.js";
import { words } from "./words.js";
/** @import { EvidenceData } from "./types.js" */

/** Shows a run's figure and its claims until Esc is pressed. @param {EvidenceData} data */
export function present(data) {
  const opener = /** @type {HTMLElement | null} */ (document.activeElement);
  const stage = document.createElement("dialog");
  stage.className = "stage";
  stage.dataset.part = "stage";
  stage.setAttribute("aria-label", data.title);
  stage.innerHTML =
    '<header><h2 data-part="stage-title"></h2><button type="button" data-part="stage-leave"></button></header><div class="chart" data-part="stage-chart" role="img"></div><p class="says" data-part="stage-claim" aria-live="polite"></p><p class="keys" data-part="stage-keys"></p>';
  part(stage, "stage-title").textContent = data.title;
  part(stage, "stage-leave").textContent = words.leave;
  part(stage, "stage-keys").textContent = words.present_steps;
  const chart = part(stage, "stage-chart");
  chart.setAttribute("aria-label", data.title);
  let at = 0;
  const showClaim = () => {
    const claim = data.claims[at];
    const place = part(stage, "stage-claim");
    place.className = `says ${claim?.verdict ?? ""}`;
    place.textContent = claim ? `${claim.says} · ${words.measured} ${data.metrics[claim.metric]?.shown ?? ""}` : "";
    part(stage, "stage-keys").hidden = data.claims.length < 2;
  };
  const step = (/** @type {number} */ by) => {
    at = (at + by + data.claims.length) % (data.claims.length || 1);
    showClaim();
  };
  stage.addEventListener("keydown", (event) => {
    const onButton = event.target instanceof HTMLButtonElement; // there, Space and Enter press it
    if (["ArrowRight", "ArrowDown", "PageDown"].includes(event.key) || (event.key === " " && !onButton)) step(1);
    else if (["ArrowLeft", "ArrowUp", "PageUp"].includes(event.key)) step(-1); // a presenter sends PageUp and PageDown
    else if (event.key === "Home") step(-at);
    else if (event.key === "End") step(data.claims.length - 1 - at);
    else return;
    event.preventDefault();
  });
  const leave = () => {
    stage.remove();
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    opener?.focus({ preventScroll: true });
  };
  stage.addEventListener("close", leave);
  part(stage, "stage-leave").addEventListener("click", () => stage.close());
  document.body.append(stage);
  stage.tabIndex = -1;
  stage.showModal();
  stage.focus(); // on the button, Space would leave
  document.documentElement.requestFullscreen?.().catch(() => {}); // the whole window does where the whole screen is refused
  document.addEventListener("fullscreenchange", () => document.fullscreenElement || stage.close(), { once: false, signal: closedSignal(stage) });
  showClaim();
  drawChart(chart, data.chart);
}

/** Aborts once the stage is closed. @param {HTMLDialogElement} stage */
function closedSignal(stage) {
  const closed = new AbortController();
  stage.addEventListener("close", () => closed.abort());
  return closed.signal;
}
