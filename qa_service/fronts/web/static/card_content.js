// Replaces what a card shows without taking away what the user is using: the form, the focus, open folds.
import { enclosingPart, findPart, part } from "./parts.js";

/**
 * Fills a card with `html`; the form that is there stays, with what was typed into it since.
 * @param {HTMLElement} card
 * @param {string} html
 */
export function replaceContent(card, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const focused = document.activeElement instanceof HTMLElement && card.contains(document.activeElement) ? selectorOf(document.activeElement) : "";
  openSameFolds(card, fresh.content);
  const form = findPart(card, "controls");
  if (!form) return card.replaceChildren(fresh.content);
  replaceAround(card, form, fresh.content);
  if (focused && !card.contains(document.activeElement)) {
    const next = /** @type {HTMLElement | null} */ (card.querySelector(focused)) ?? part(form, "run");
    next.focus({ preventScroll: true });
  }
}

/** @param {HTMLElement} card @param {DocumentFragment} fresh */
function openSameFolds(card, fresh) {
  /** @type {NodeListOf<HTMLDetailsElement>} */
  const open = card.querySelectorAll("details[open]");
  for (const { dataset } of open) fresh.querySelector(`details[data-fold="${dataset.fold}"]`)?.setAttribute("open", "");
}

/** Replaces everything in the card but its form. @param {HTMLElement} card @param {HTMLFormElement} form @param {DocumentFragment} fresh */
function replaceAround(card, form, fresh) {
  const freshForm = part(fresh, "controls");
  part(form, "run").textContent = part(freshForm, "run").textContent;
  for (const child of [...card.children]) if (child !== form) child.remove();
  let beforeForm = true;
  for (const child of [...fresh.children]) {
    if (child === freshForm) beforeForm = false;
    else if (beforeForm) form.before(child);
    else card.append(child);
  }
}

/** Where the focus is, as a selector that finds it in the new content; the run button where nothing fits. @param {HTMLElement} focused */
function selectorOf(focused) {
  const fold = focused.closest("details")?.dataset.fold;
  if (focused.dataset.format) return `[data-part=save][data-format=${focused.dataset.format}]`;
  if (fold) return `details[data-fold=${fold}] ${focused.localName}`;
  return `[data-part=${enclosingPart(focused, "permalink") ? "permalink" : "run"}]`;
}
