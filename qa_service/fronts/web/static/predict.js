// Predict before you run: what was measured stays covered until the user has chosen, or gives up.
import { choicesFor } from "./choices.js";
import { part } from "./parts.js";
import { words } from "./words.js";
/** @import { EvidenceData } from "./types.js" */

/** Whether the user has chosen to guess first. */
export function isPredicting() {
  return "predict" in document.documentElement.dataset;
}

/** Hides a text that would give the results away. @param {HTMLElement} reply */
export function coverText(reply) {
  const note = document.createElement("p");
  note.className = "told";
  note.dataset.part = "covered-text";
  note.textContent = words.told;
  reply.dataset.untold = "";
  reply.prepend(note);
}

/** Shows it again. @param {HTMLElement} reply */
export function uncoverText(reply) {
  delete reply.dataset.untold;
  reply.querySelector("[data-part=covered-text]")?.remove();
}

/**
 * Covers the results in a card and asks for one metric; resolves once they may be seen.
 * @param {HTMLElement} card it then gets the event `uncovered`
 * @param {EvidenceData} data
 */
export async function askForGuess(card, data) {
  const metric = data.metrics[data.claims[0]?.metric ?? Object.keys(data.metrics)[0]];
  if (metric) {
    const { choices, right } = choicesFor(metric.value, words.never);
    const form = guessForm(metric.title, choices);
    card.dataset.covered = "";
    part(card, "controls").before(form);
    if (card.contains(document.activeElement)) form.querySelector("button")?.focus({ preventScroll: true }); // else the user is elsewhere
    /** @type {string} */
    const guess = await new Promise((resolve) => {
      form.addEventListener("click", ({ target }) => {
        const button = /** @type {Element} */ (target).closest("button");
        if (button) resolve(button.value);
      });
    });
    delete card.dataset.covered;
    if (guess) form.replaceWith(guessedParagraph(guess, metric.shown, guess === right));
    else form.remove();
  }
  card.dispatchEvent(new CustomEvent("uncovered", { bubbles: true }));
}

/** @param {string} title of the metric @param {string[]} choices */
function guessForm(title, choices) {
  const form = document.createElement("div");
  form.className = "guess";
  form.dataset.part = "guess";
  form.setAttribute("role", "group");
  const question = document.createElement("p");
  question.textContent = words.guess.replace("{}", title.replaceAll("'", "’"));
  form.setAttribute("aria-label", question.textContent);
  form.append(question, ...choices.map((choice) => button(choice, choice, "choice")), button(words.guess_give_up, "", "give-up"));
  return form;
}

/** @param {string} text @param {string} value @param {"choice" | "give-up"} name */
function button(text, value, name) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.value = value;
  if (name === "choice") made.dataset.part = "choice";
  else made.dataset.part = "give-up";
  return made;
}

/** @param {string} guess @param {string} measured @param {boolean} isRight */
function guessedParagraph(guess, measured, isRight) {
  const paragraph = document.createElement("p");
  paragraph.className = isRight ? "guessed right" : "guessed";
  paragraph.dataset.part = "guessed";
  paragraph.textContent = words.guessed.replace("{}", guess).replace("{}", measured);
  return paragraph;
}
