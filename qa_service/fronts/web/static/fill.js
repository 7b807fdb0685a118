// Numbers put into the text where they were waiting, so that nothing around them moves.

/** Writes each number of `numbers` ("block.metric": words) where `article` speaks of it. */
export function fill(article, numbers) {
  const spans = [...article.querySelectorAll("[data-of]")].filter((span) => span.dataset.of in numbers);
  hold(spans);
  for (const span of spans) write(span, numbers[span.dataset.of]);
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
  hold(old);
  old.forEach((span, at) => write(span, now[at].textContent));
}

function write(span, words) {
  if (span.textContent === words) return;
  span.textContent = words;
  span.className = words === "…" ? "measured waiting" : span.className.split(" ")[0];
}

/** A paragraph that loses a line stays as high as it was, until the page gets another width. */
function hold(spans) {
  const blocks = new Set(spans.map((span) => span.closest("p, li, td, h3")));
  blocks.delete(null);
  const heights = [...blocks].map((block) => [block, block.offsetHeight]);
  for (const [block, height] of heights) block.style.minHeight = `${height}px`;
}

addEventListener("resize", () => {
  for (const block of document.querySelectorAll(".prose [style*=min-height]")) block.style.minHeight = "";
});
