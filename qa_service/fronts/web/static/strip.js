// The row above an answer's text: how far each experiment is and how its claims fared; a click leads to its card.
import { verdictsOf } from "./card.js";
import { part } from "./parts.js";
import { words } from "./words.js";
/** @import { Card } from "./card.js" */

/**
 * Adds a card's button to the strip; it shows the card's progress and outcome from now on.
 * @param {HTMLElement} strip
 * @param {Card} card
 * @param {string} title
 */
export function addToStrip(strip, card, title) {
  const item = document.createElement("li");
  item.innerHTML = '<button type="button"><span class="what" data-part="strip-title"></span> <span class="how" data-part="strip-outcome"></span></button>';
  const button = /** @type {HTMLButtonElement} */ (item.firstChild);
  const show = (/** @type {string} */ className, /** @type {(Node | string)[]} */ ...content) => {
    item.className = className;
    part(item, "strip-outcome").replaceChildren(...content);
  };
  part(item, "strip-title").textContent = title;
  button.title = title;
  strip.append(item);
  card.element.tabIndex = -1;
  button.addEventListener("click", () => {
    card.element.scrollIntoView({ block: "start" });
    card.element.focus({ preventScroll: true });
  });
  card.element.addEventListener("progress", (event) => show("going", detailOf(event)));
  card.element.addEventListener("stopped", (event) => show("", detailOf(event)));
  card.element.addEventListener("measured", () => show("", ...outcome(card)));
}

/** @param {Event} event @returns {string} */
function detailOf(event) {
  return /** @type {CustomEvent} */ (event).detail;
}

/** The card's verdicts counted, each as the card shows it; without claims, how the run ended. @param {Card} card */
function outcome(card) {
  const verdicts = verdictsOf(card);
  const chips = ["holds", "fails", "unknown"].flatMap((verdict) => {
    const alike = verdicts.filter((each) => each.verdict === verdict);
    if (!alike.length) return [];
    const chip = document.createElement("span");
    chip.className = verdict;
    chip.textContent = `${alike.length} ${alike.length > 1 ? words[`${verdict}_many`] : alike[0].word}`;
    return [chip];
  });
  return chips.length ? chips : [part(card.element, "state").firstChild?.textContent ?? ""];
}
