// The page of a diagnosis: without leaving the page the log is sent and the report shown, so that nothing typed is lost.
// Without this script the form does the same by itself.
import { reportArrival } from "./arrival.js";
import { discardRemovedCharts, drawChart } from "./chart.js";
import { addCopyButtons } from "./copy.js";
import { allParts, enclosingPart, findPart, part } from "./parts.js";
import { words } from "./words.js";

const MEBIBYTE = 1 << 20;
/** @type {AbortController | null} */
let sending = null;

/** Says a sentence below the form. @param {string} sentence @param {boolean} [isFailure] */
function say(sentence, isFailure = false) {
  const status = part(document, "log-status");
  status.textContent = sentence;
  status.classList.toggle("failed", isFailure);
}

/** Draws the charts of the experiment, whose specifications stand behind their places. @param {ParentNode} root */
function drawCharts(root) {
  for (const place of allParts(root, "chart")) {
    const spec = place.nextElementSibling?.textContent;
    if (spec) drawChart(place, JSON.parse(spec));
  }
}

/** Sends the form, and shows the report in its place. @param {HTMLFormElement} form */
async function send(form) {
  const body = new FormData(form);
  const file = body.get("file");
  const limit = Number(form.dataset.limit);
  const size = file instanceof File && file.size ? file.size : new Blob([String(body.get("text"))]).size;
  if (size > limit) return say(words.diagnosis_too_large.replace("{}", String(limit / MEBIBYTE)), true);
  sending?.abort();
  const own = (sending = new AbortController());
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  say(words.diagnosis_reading);
  button.setAttribute("aria-busy", "true");
  try {
    const response = await fetch(form.action, { method: "POST", body, signal: own.signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const answer = findPart(page, "diagnosed");
    if (own.signal.aborted) return;
    if (!answer) say(response.status === 429 ? words.too_often : words.restarting, true);
    else if (findPart(answer, "report")) show(answer, page.title, form);
    else say(findPart(answer, "problem")?.textContent?.trim() ?? "", true);
  } catch {
    if (!own.signal.aborted) say(navigator.onLine ? words.diagnosis_kept : words.offline, true);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Shows a report; the form, with what is in it, moves below it. @param {HTMLElement} answer @param {string} title @param {HTMLFormElement} form */
function show(answer, title, form) {
  part(answer, "log-form").replaceWith(form);
  part(document, "diagnosed").replaceWith(document.adoptNode(answer));
  document.title = title;
  discardRemovedCharts();
  addCopyButtons(answer);
  drawCharts(answer);
  say("");
  part(answer, "report-heading").focus({ preventScroll: true });
  scrollTo({ top: 0, behavior: "instant" });
}

document.addEventListener("submit", (event) => {
  const form = enclosingPart(event.target, "log-form");
  if (!form) return;
  event.preventDefault();
  send(form);
});

for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    const form = enclosingPart(event.target, "log-form");
    const files = /** @type {DragEvent} */ (event).dataTransfer;
    if (!form || !files?.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("over", type === "dragover");
    if (type !== "drop" || !files.files.length) return;
    /** @type {HTMLInputElement} */ (form.elements.namedItem("file")).files = files.files;
    send(form);
  });
}

drawCharts(document);
reportArrival();
