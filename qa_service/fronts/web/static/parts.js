// The contract between templates and scripts: elements are found by `data-part`; classes are for styling only, ids for labels,
// ARIA and addresses.

/** Every part, by the template that has it. `make js` compares this list with the templates. */
export const PARTS = /** @type {const} */ ([
  // base.html
  "language-switch", "main", "incomplete", "labels",
  // chat.html: the question box, the conversation, the list of earlier questions, and a turn
  "turns", "composer", "question", "ask", "stop", "status", "examples", "past", "past-list", "past-export", "past-clear",
  "turn-template", "turn", "asked", "edit", "whole", "whole-text", "reply", "trouble", "trouble-message", "retry",
  // answer.html
  "parsed", "chip", "strike", "unsure", "alternatives", "notice", "candidates", "compared-runs", "more-evidence", "more-outcome", "cards", "related", "feedback",
  "feedback-reason",
  // parts.html, tell.html, outcome.html
  "prose", "hero", "tell", "ask-entry", "outcome", "proof", "restore-own", "change",
  // card.html
  "head", "difference", "present", "more", "readout", "compared", "state", "row-count", "ticker", "controls", "compare", "roll-seed", "many-seeds", "run", "refusal",
  "comparisons", "claims", "claim", "verdict", "against", "invisible", "restore", "chart", "panel", "folds", "metrics", "data", "bits",
  "bit-row", "bit-product", "save", "permalink", "receipt",
  // comparison.html
  "comparison", "beside",
  // entry.html and experiment.html
  "entry", "run-all", "card", "source", "phrasings",
  // embed.html
  "remembered",
  // entries.html and experiments.html
  "search-box", "found", "nothing", "theme", "index", "further",
  // diagnosis.html, and of answer.html what leads there
  "diagnosed", "log-form", "log", "log-status", "report", "report-heading", "excerpt", "curve", "compared-metrics", "tried", "json", "diagnosis", "diagnosed-log",
  // problem.html
  "problem",
  // made by scripts
  "copy", "show-all", "covered-text", "guess", "choice", "give-up", "guessed", "was",
  "sheet", "sheet-value", "sheet-from", "sheet-show", "sheet-close",
  "stage", "stage-title", "stage-chart", "stage-claim", "stage-keys", "stage-leave",
]);

/** @typedef {typeof PARTS[number]} PartName */

/** @import { SpecialParts } from "./types.js" */

/** @template {PartName} N @typedef {N extends keyof SpecialParts ? SpecialParts[N] : HTMLElement} PartElement */

/** The first part of this name inside `root`, or null. @template {PartName} N @param {ParentNode} root @param {N} name */
export function findPart(root, name) {
  return /** @type {PartElement<N> | null} */ (root.querySelector(`[data-part="${name}"]`));
}

/** The first part of this name inside `root`, which must have one. @template {PartName} N @param {ParentNode} root @param {N} name */
export function part(root, name) {
  const found = findPart(root, name);
  if (!found) throw new Error(`no part "${name}" here`);
  return found;
}

/** Every part of this name inside `root`. @template {PartName} N @param {ParentNode} root @param {N} name */
export function allParts(root, name) {
  return /** @type {PartElement<N>[]} */ ([...root.querySelectorAll(`[data-part="${name}"]`)]);
}

/** The part of this name that an event's target is or lies in, or null. @template {PartName} N @param {EventTarget | null} target @param {N} name */
export function enclosingPart(target, name) {
  return /** @type {PartElement<N> | null} */ (/** @type {Element} */ (target).closest(`[data-part="${name}"]`));
}
