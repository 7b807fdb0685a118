// Whether everything that the page needs has arrived. A server that restarts, or a network that breaks, may cut any file off.
import { findPart } from "./parts.js";

/**
 * Called at the end of a page's script: takes away the notice that part of the page is missing, or shows it where the
 * preferences or a stylesheet did not arrive. Where a script is missing nobody calls it: prefs.js then shows the notice,
 * and page.css does after some seconds.
 */
export function reportArrival() {
  const { dataset } = document.documentElement;
  /** @type {NodeListOf<HTMLLinkElement>} */
  const styles = document.querySelectorAll("link[rel=stylesheet]");
  if ("prefs" in dataset && [...styles].every(hasRules)) findPart(document, "incomplete")?.remove();
  else dataset.incomplete = "";
}

/** @param {HTMLLinkElement} link */
function hasRules({ sheet }) {
  try {
    return sheet !== null && sheet.cssRules.length > 0;
  } catch {
    return false; // a sheet that never came has rules that may not be read
  }
}
