// A number in the text is tied to its place in the evidence: pointing at either marks both; all digits are shown beside it.
import { allParts, enclosingPart, findPart, part } from "./parts.js";
import { words } from "./words.js";
/** @import { EvidenceData } from "./types.js" */

/** The latest evidence of each card. @type {WeakMap<Element, EvidenceData>} */
const evidenceOf = new WeakMap();
/** Where there is no room beside the text. */
const narrow = matchMedia("(max-width: 60rem)");

/** Makes the numbers of a run known to the texts beside its card. @param {HTMLElement} card @param {EvidenceData} data */
export function rememberEvidence(card, data) {
  evidenceOf.set(card, data);
  const article = enclosingPart(card, "turn") ?? enclosingPart(card, "entry");
  const block = card.dataset.block ?? "";
  if (!article || block.includes("~")) return;
  for (const number of article.querySelectorAll(`[data-of^="${block}."]`)) {
    number.setAttribute("role", "button");
    number.setAttribute("tabindex", "0");
  }
}

/** The name without its form: block.metric. @param {Element} element @returns {string} */
function nameOf(element) {
  const { of, metric } = /** @type {HTMLElement} */ (element).dataset;
  return (of ?? metric ?? "").split("|")[0];
}

/** @param {EventTarget | null} target @returns {HTMLElement | null} a number in the text, or a row of the evidence */
function pointed(target) {
  return target instanceof Element ? target.closest("[data-of][role], [data-metric]") : null;
}

/** @param {Element} element */
function articleOf(element) {
  return enclosingPart(element, "turn") ?? enclosingPart(element, "entry");
}

/** The card that a number comes from, with its evidence. @param {Element} element */
function source(element) {
  const article = articleOf(element);
  const [block, name] = nameOf(element).split(".");
  const card = article && allParts(article, "card").find((each) => each.dataset.block === block);
  const data = card && evidenceOf.get(card);
  if (!card || !data) return null;
  const metric = data.metrics[name];
  const value = metric ? metric.value : data.params[name];
  return { card, data, title: metric?.title ?? name, value: String(value ?? "–"), unit: metric?.unit ?? "1" };
}

/** Marks everything of this name, or nothing. @param {Element | null} element */
function mark(element) {
  for (const each of document.querySelectorAll("[data-marked]")) each.removeAttribute("data-marked");
  for (const line of allParts(document, "readout")) line.textContent = line.dataset.hint ?? line.textContent;
  const from = element && source(element);
  const article = element && articleOf(element);
  if (!from || !article) return;
  const name = nameOf(element);
  for (const each of article.querySelectorAll("[data-of], [data-metric]")) {
    if (nameOf(each) === name) each.setAttribute("data-marked", "");
  }
  const line = findPart(from.card, "readout");
  if (!line) return;
  line.dataset.hint ??= line.textContent ?? "";
  line.textContent = inWords(from);
}

/** @param {{ title: string, value: string, unit: string }} from */
function inWords({ title, value, unit }) {
  return `${title} = ${value.replace("Infinity", "inf").replace("NaN", "nan")}${unit === "1" ? "" : ` ${unit}`}`;
}

/** Leads to the place of a number in the evidence, beside the text or in a sheet. @param {HTMLElement} number */
function show(number) {
  const from = source(number);
  if (!from) return;
  if (narrow.matches) return openSheet(number, from);
  reveal(number, from.card);
}

/** @param {HTMLElement} number @param {HTMLElement} card */
function reveal(number, card) {
  const fold = /** @type {HTMLDetailsElement | null} */ (card.closest("details"));
  if (fold) {
    fold.open = true;
    card.dataset.open = "";
    card.scrollIntoView({ block: "nearest" });
  }
  mark(number);
}

/** @param {HTMLElement} number @param {{ card: HTMLElement, data: EvidenceData, title: string, value: string, unit: string }} from */
function openSheet(number, from) {
  findPart(document, "sheet")?.remove();
  const sheet = document.createElement("div");
  sheet.className = "sheet";
  sheet.dataset.part = "sheet";
  sheet.setAttribute("role", "dialog");
  sheet.setAttribute("aria-label", words.number_about);
  sheet.innerHTML =
    '<p data-part="sheet-value"></p><p data-part="sheet-from"></p><p><button type="button" data-part="sheet-show" class="primary"></button> <button type="button" data-part="sheet-close"></button></p>';
  part(sheet, "sheet-value").textContent = inWords(from);
  part(sheet, "sheet-from").textContent = from.data.title;
  part(sheet, "sheet-show").textContent = words.show_evidence;
  part(sheet, "sheet-close").textContent = words.close;
  const close = () => {
    sheet.remove();
    mark(null);
    number.focus({ preventScroll: true });
  };
  part(sheet, "sheet-close").addEventListener("click", close);
  part(sheet, "sheet-show").addEventListener("click", () => {
    close();
    reveal(number, from.card);
    from.card.scrollIntoView({ block: "start" });
  });
  sheet.addEventListener("keydown", ({ key }) => key === "Escape" && close());
  document.body.append(sheet);
  mark(number);
  part(sheet, "sheet-show").focus({ preventScroll: true });
}

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, ({ target }) => {
    if (!findPart(document, "sheet")) mark(pointed(target) ?? pointed(document.activeElement));
  });
}
document.addEventListener("click", ({ target }) => {
  const number = pointed(target);
  if (number?.dataset.of) show(number);
});
document.addEventListener("keydown", (event) => {
  const number = pointed(event.target);
  if (event.key === "Escape") mark(null);
  if (!number?.dataset.of || (event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  show(number);
});
