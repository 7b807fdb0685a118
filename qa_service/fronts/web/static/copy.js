// A button beside every block of code that copies it, and below a long one, which a telephone shows in short, one that shows all.
import { allParts, enclosingPart } from "./parts.js";
import { words } from "./words.js";

const SAID_FOR = 2000; // milliseconds for which a button says that it has copied
const LONG = 6; // lines; page.css shows the first of a longer block

/** Adds a button to the blocks of code inside `root` that have none yet. @param {ParentNode} root */
export function addCopyButtons(root) {
  for (const text of [...allParts(root, "prose"), ...allParts(root, "source")]) {
    for (const block of text.querySelectorAll("pre")) {
      if (/** @type {HTMLElement | null} */ (block.nextElementSibling)?.dataset.part === "copy") continue;
      const frame = document.createElement("div");
      const button = document.createElement("button");
      frame.className = "code";
      button.type = "button";
      button.className = "copy";
      button.dataset.part = "copy";
      button.textContent = words.copy;
      block.replaceWith(frame);
      frame.append(block, button);
      if ((block.textContent ?? "").trim().split("\n").length > LONG) frame.append(wholeButton());
    }
  }
}

function wholeButton() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "show-all link";
  button.dataset.part = "show-all";
  button.textContent = words.show_all;
  return button;
}

document.addEventListener("click", ({ target }) => {
  const button = enclosingPart(target, "show-all");
  if (!button) return;
  const block = button.parentElement?.querySelector("pre");
  button.remove(); // page.css shows a block without it whole
  block?.focus();
});

document.addEventListener("click", async ({ target }) => {
  const button = enclosingPart(target, "copy");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.previousElementSibling?.textContent ?? "");
    button.textContent = words.copied;
  } catch {
    button.textContent = words.not_copied;
  }
  setTimeout(() => (button.textContent = words.copy), SAID_FOR);
});

addCopyButtons(document);
