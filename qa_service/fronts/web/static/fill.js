// Numbers put into the text where they were waiting, so that nothing that is on the screen moves.
const BLOCK = "p, li, td, h3";

/** Writes each number of `numbers` ("block.metric": words) where `article` speaks of it. */
export function fill(article, numbers) {
  const spans = [...article.querySelectorAll("[data-of]")].filter((span) => span.dataset.of in numbers);
  write(spans.map((span) => [span, numbers[span.dataset.of]]));
}

/** Takes the numbers of `html`, the same text once everything is measured, into `prose`. */
export function complete(prose, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const [old, now] = [prose, fresh.content].map((root) => [...root.querySelectorAll("[data-of]")]);
  if (old.length !== now.length || old.some((span, at) => span.dataset.of !== now[at].dataset.of)) {
    prose.innerHTML = html;
    return;
  }
  write(old.map((span, at) => [span, now[at].textContent]));
}

/** Where a paragraph on the screen would break into other lines, its numbers keep the width that was kept for them. */
function write(pairs) {
  const changed = pairs.filter(([span, words]) => words !== "…" && span.textContent !== words);
  const seen = changed.map(([span]) => [span, span.getBoundingClientRect()]).filter(([, { top }]) => top < innerHeight);
  const blocks = new Map(seen.map(([span]) => [span.closest(BLOCK), null]));
  blocks.delete(null);
  for (const block of blocks.keys()) blocks.set(block, [lines(block), block.offsetHeight]);
  for (const [span, words] of changed) {
    span.textContent = words;
    span.classList.remove("waiting");
    span.style.paddingInline = "";
  }
  for (const [block, [before]] of blocks) if (lines(block) === before) blocks.delete(block);
  const missing = seen.map(([span, { width }]) => [span, width - span.getBoundingClientRect().width]);
  for (const [span, width] of missing) if (width > 0 && blocks.has(span.closest(BLOCK))) span.style.paddingInline = `${width / 2}px`;
  for (const [block, [, height]] of blocks) block.style.minHeight = `${height}px`;
}

/** At which height each piece of a paragraph's text stands, its numbers apart. */
function lines(block) {
  const plain = (node) => (node.parentElement.closest("[data-of]") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
  const texts = document.createTreeWalker(block, NodeFilter.SHOW_TEXT, plain);
  const range = document.createRange();
  const { top } = block.getBoundingClientRect();
  const heights = [];
  while (texts.nextNode()) {
    range.selectNode(texts.currentNode);
    for (const place of range.getClientRects()) heights.push(Math.round(place.top - top));
  }
  return heights.join();
}

/** Gives back what was kept free: when the page gets another width, and for answers that have scrolled away. */
export function release(root = document) {
  for (const each of root.querySelectorAll(".prose [style]")) each.removeAttribute("style");
}

addEventListener("resize", () => release());
