// Puts a card's new state into its place without taking from the reader what is in use: form, focus, open folds.

/** Fills `element` with `html`; the form that is there stays, with what was typed into it since. */
export function put(element, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const focused = element.contains(document.activeElement) ? selector(document.activeElement) : "";
  for (const { dataset } of element.querySelectorAll("details[open]")) {
    fresh.content.querySelector(`details[data-fold="${dataset.fold}"]`)?.setAttribute("open", "");
  }
  const form = element.querySelector("form.controls");
  const next = fresh.content.querySelector("form.controls");
  if (!form) {
    element.replaceChildren(fresh.content);
    return;
  }
  form.querySelector(".run").textContent = next.querySelector(".run").textContent;
  for (const child of [...element.children]) if (child !== form) child.remove();
  let above = true;
  for (const child of [...fresh.content.children]) {
    if (child === next) above = false;
    else if (above) form.before(child);
    else element.append(child);
  }
  if (focused && !element.contains(document.activeElement)) {
    (element.querySelector(focused) ?? form.querySelector(".run")).focus({ preventScroll: true });
  }
}

/** Where the focus was, as it can be found again in the new state; the run button where nothing fits. */
function selector(focused) {
  const fold = focused.closest("details")?.dataset.fold;
  if (focused.dataset.save) return `[data-save=${focused.dataset.save}]`;
  if (fold) return `details[data-fold=${fold}] ${focused.matches("summary") ? "summary" : focused.localName}`;
  return focused.closest(".take-away") ? ".take-away a" : ".run";
}
