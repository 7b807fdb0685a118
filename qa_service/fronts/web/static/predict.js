// Predict before you run: what was measured stays covered until the user has guessed, or gives up.
import { part } from "./parts.js";
import { words } from "./words.js";
/** @import { EvidenceData } from "./types.js" */

/** Whether the user has chosen to guess first. */
export function isPredicting() {
  return "predict" in document.documentElement.dataset;
}

/** Folds a text away that would give the results away. @param {HTMLElement} text */
export function coverText(text) {
  const fold = document.createElement("details");
  const summary = document.createElement("summary");
  fold.className = "told";
  fold.dataset.part = "covered-text";
  summary.textContent = words.told;
  fold.append(summary);
  text.before(fold);
  fold.append(text);
}

/**
 * Covers the results in a card and asks for one metric; resolves once they may be seen.
 * @param {HTMLElement} card it then gets the event `uncovered`
 * @param {EvidenceData} data
 */
export async function askForGuess(card, data) {
  const metric = data.metrics[data.claims[0]?.metric ?? Object.keys(data.metrics)[0]];
  if (!metric) return;
  const form = guessForm(metric.title);
  const input = /** @type {HTMLInputElement} */ (form.querySelector("input"));
  card.dataset.covered = "";
  part(card, "controls").after(form);
  if (card.contains(document.activeElement)) input.focus({ preventScroll: true }); // else the user is elsewhere
  const guess = await new Promise((resolve) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      event.stopPropagation(); // it is not the card's own form
      resolve(input.value);
    });
    part(form, "give-up").addEventListener("click", () => resolve(""));
  });
  delete card.dataset.covered;
  if (guess) form.replaceWith(guessedParagraph(guess, metric.shown));
  else form.remove();
  card.dispatchEvent(new CustomEvent("uncovered", { bubbles: true }));
}

/** @param {string} title of the metric */
function guessForm(title) {
  const form = document.createElement("form");
  form.className = "guess";
  form.dataset.part = "guess";
  form.innerHTML =
    '<label><span></span> <input type="text" inputmode="decimal" autocomplete="off" required maxlength="40"></label> <button class="primary"></button> <button type="button" data-part="give-up"></button>';
  const [label, show] = [...form.querySelectorAll("span, button")];
  label.textContent = words.guess.replace("{}", title);
  show.textContent = words.guess_show;
  part(form, "give-up").textContent = words.guess_give_up;
  return form;
}

/** @param {string} guess @param {string} measured */
function guessedParagraph(guess, measured) {
  const paragraph = document.createElement("p");
  paragraph.className = "guessed";
  paragraph.dataset.part = "guessed";
  paragraph.textContent = words.guessed.replace("{}", guess).replace("{}", measured);
  return paragraph;
}
