// Numbers put into the text where they were waiting, so that nothing that is on the screen moves.

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

/** On the screen a number keeps the width that was kept for it, and its paragraph the height. */
function write(pairs) {
  const changed = pairs.filter(([span, words]) => words !== "…" && span.textContent !== words);
  const seen = changed.map(([span]) => [span, span.getBoundingClientRect()]).filter(([, { top }]) => top < innerHeight);
  const blocks = new Set(seen.map(([span]) => span.closest("p, li, td, h3")));
  blocks.delete(null);
  const heights = [...blocks].map((block) => [block, block.offsetHeight]);
  for (const [span, words] of changed) {
    span.textContent = words;
    span.classList.remove("waiting");
    span.style.paddingInline = "";
  }
  const missing = seen.map(([span, { width }]) => [span, width - span.getBoundingClientRect().width]);
  for (const [span, width] of missing) if (width > 0) span.style.paddingInline = `${width / 2}px`;
  for (const [block, height] of heights) block.style.minHeight = `${height}px`;
}

addEventListener("resize", () => {
  for (const each of document.querySelectorAll(".prose [style]")) each.removeAttribute("style");
});
