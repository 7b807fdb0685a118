// Numbers put into the text where they were waiting.
import { allParts } from "./parts.js";
import { words } from "./words.js";

const WAITING = "…";

/** Writes numbers ("block.metric": words) where the text speaks of them. @param {HTMLElement} article @param {Record<string, string>} numbers */
export function fillNumbers(article, numbers) {
  for (const span of numberSpans(article)) {
    const number = numbers[nameOf(span)];
    if (number !== undefined) write(span, number);
  }
}

/** Takes the parts once everything is measured; where only numbers differ, these alone change. @param {HTMLElement} article @param {Record<string, string>} parts by name, as HTML */
export function completeTexts(article, parts) {
  for (const place of allParts(article, "prose")) {
    const html = parts[place.dataset.name ?? ""];
    if (html === undefined) continue;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const [old, now] = [numberSpans(place), numberSpans(fresh.content)];
    const isAlike = old.length === now.length && old.every((span, at) => nameOf(span) === nameOf(now[at])) && !fresh.content.querySelector("math mtext");
    const isLonger = fresh.content.childElementCount !== [...place.children].filter(({ localName }) => localName !== "details").length;
    if (isAlike && !isLonger) old.forEach((span, at) => write(span, now[at].textContent ?? ""));
    else replaceText(place, fresh.content, old);
  }
}

/** @param {HTMLElement} place @param {DocumentFragment} fresh @param {HTMLElement[]} old the numbers that were there, which may be buttons by now */
function replaceText(place, fresh, old) {
  const isButton = old.some((span) => span.role === "button");
  place.replaceChildren(fresh);
  if (!isButton) return;
  for (const span of numberSpans(place)) {
    span.role = "button";
    span.tabIndex = 0;
  }
}

/** The numbers of the short answer by name, in words. @param {HTMLElement} article @returns {Record<string, string>} */
export function numbersIn(article) {
  const short = allParts(article, "prose").find((place) => place.dataset.name === "short");
  return Object.fromEntries((short ? numberSpans(short) : []).map((span) => [nameOf(span), span.textContent ?? ""]));
}

/** Marks the numbers of the short answer that differ from these, each with what it was. @param {HTMLElement} article @param {Record<string, string>} previous */
export function markPrevious(article, previous) {
  const short = allParts(article, "prose").find((place) => place.dataset.name === "short");
  for (const span of short ? numberSpans(short) : []) {
    const before = previous[nameOf(span)];
    const next = /** @type {HTMLElement | null} */ (span.nextElementSibling);
    const shown = next?.dataset.part === "was" ? next : null;
    if (before === undefined || before === WAITING || before === span.textContent || span.textContent === WAITING) shown?.remove();
    else if (!shown) {
      const was = document.createElement("small");
      was.className = "was";
      was.dataset.part = "was";
      was.textContent = `${words.previously} ${before}`;
      span.after(was);
    }
  }
}

/** @param {ParentNode} root @returns {HTMLElement[]} */
function numberSpans(root) {
  return [...root.querySelectorAll("[data-of]")].map((span) => /** @type {HTMLElement} */ (span));
}

/** @param {HTMLElement} span */
function nameOf(span) {
  return span.dataset.of ?? "";
}

/** @param {HTMLElement} span @param {string} number */
function write(span, number) {
  if (number === WAITING || span.textContent === number) return;
  span.textContent = number;
  span.classList.remove("waiting");
}
