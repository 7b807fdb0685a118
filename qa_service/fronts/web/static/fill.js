// Numbers put into the text where they were waiting, so that nothing that is on the screen moves.
import { allParts } from "./parts.js";

const BLOCK = "p, li, td, h3";
/** A place in the text, and the number for it in words. @typedef {[span: HTMLElement, words: string]} Filling */

/** Writes numbers ("block.metric": words) where the text speaks of them. @param {HTMLElement} article @param {Record<string, string>} numbers */
export function fillNumbers(article, numbers) {
  write(numberSpans(article).filter((span) => nameOf(span) in numbers).map((span) => [span, numbers[nameOf(span)]]));
}

/** Takes the numbers of `html`, the same text once everything is measured, into the text on the page. @param {HTMLElement} prose @param {string} html */
export function completeText(prose, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const [old, now] = [numberSpans(prose), numberSpans(fresh.content)];
  if (old.length !== now.length || old.some((span, at) => nameOf(span) !== nameOf(now[at]))) {
    prose.innerHTML = html;
    return;
  }
  write(old.map((span, at) => [span, now[at].textContent ?? ""]));
}

/** @param {ParentNode} root @returns {HTMLElement[]} */
function numberSpans(root) {
  return [...root.querySelectorAll("[data-of]")].map((span) => /** @type {HTMLElement} */ (span));
}

/** @param {HTMLElement} span */
function nameOf(span) {
  return span.dataset.of ?? "";
}

/** Where a paragraph on the screen would break into other lines, its numbers keep the width that was kept for them. @param {Filling[]} fillings */
function write(fillings) {
  const changed = fillings.filter(([span, words]) => words !== "…" && span.textContent !== words);
  const onScreen = changed.map(([span]) => ({ span, before: span.getBoundingClientRect() })).filter(({ before }) => before.top < innerHeight);
  const blocks = blocksOf(onScreen.map(({ span }) => span)).map((block) => ({ block, lines: linePositions(block), height: block.offsetHeight }));
  for (const [span, words] of changed) {
    span.textContent = words;
    span.classList.remove("waiting");
    span.style.paddingInline = "";
  }
  const rebroken = blocks.filter(({ block, lines }) => linePositions(block) !== lines);
  const missing = onScreen.map(({ span, before }) => ({ span, width: before.width - span.getBoundingClientRect().width }));
  for (const { span, width } of missing) {
    if (width > 0 && rebroken.some(({ block }) => block === span.closest(BLOCK))) span.style.paddingInline = `${width / 2}px`;
  }
  for (const { block, height } of rebroken) block.style.minHeight = `${height}px`;
}

/** The paragraphs that hold any of these spans, each once. @param {HTMLElement[]} spans */
function blocksOf(spans) {
  const blocks = new Set(spans.map((span) => /** @type {HTMLElement | null} */ (span.closest(BLOCK))));
  return [...blocks].filter((block) => block !== null);
}

/** At which height each piece of a paragraph's text stands, its numbers apart. @param {HTMLElement} block */
function linePositions(block) {
  const isText = (/** @type {Node} */ node) => (node.parentElement?.closest("[data-of]") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT, isText);
  const range = document.createRange();
  const { top } = block.getBoundingClientRect();
  const heights = [];
  while (texts.nextNode()) {
    range.selectNode(texts.currentNode);
    for (const rectangle of range.getClientRects()) heights.push(Math.round(rectangle.top - top));
  }
  return heights.join();
}

/** Gives up the room that was kept: when the page gets another width, and for answers that have scrolled away. @param {ParentNode} root */
export function releaseReservedSpace(root) {
  for (const prose of allParts(root, "prose")) {
    for (const each of prose.querySelectorAll("[style]")) each.removeAttribute("style");
  }
}

addEventListener("resize", () => releaseReservedSpace(document));
