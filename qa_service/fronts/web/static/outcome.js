// How the claims of several cards fared, in one line.
import { verdictsOf } from "./card.js";
import { words } from "./words.js";
/** @import { Card } from "./card.js" */

/** Counts the verdicts of these cards. @param {HTMLElement} place @param {Card[]} cards */
export function showOutcomes(place, cards) {
  const verdicts = cards.flatMap(verdictsOf);
  const chips = ["holds", "fails", "unknown", "elsewhere"].flatMap((verdict) => {
    const count = verdicts.filter((each) => each === verdict).length;
    if (!count) return [];
    const chip = document.createElement("span");
    chip.className = `outcome-${verdict}`;
    chip.textContent = `${count} ${words[`${verdict}_many`]}`;
    return [chip, " "];
  });
  if (chips.length) place.replaceChildren(...chips);
}
