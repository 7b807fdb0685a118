// A button beside every block of code that copies it.
import { words } from "./words.js";

/** Dresses the code blocks inside `root` that have no button yet. */
export function dress(root) {
  for (const block of root.querySelectorAll(":is(.prose, .source) pre:not(.dressed)")) {
    block.classList.add("dressed");
    const frame = document.createElement("div");
    const button = document.createElement("button");
    frame.className = "code";
    button.type = "button";
    button.className = "copy";
    button.textContent = words.copy;
    block.replaceWith(frame);
    frame.append(block, button);
  }
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("button.copy");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.textContent = words.copied;
  } catch {
    button.textContent = words.not_copied;
  }
  setTimeout(() => (button.textContent = words.copy), 2000);
});

dress(document);
