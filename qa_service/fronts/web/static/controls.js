// The form of an experiment's parameters.
import { findPart, part } from "./parts.js";
/** @import { Value } from "./types.js" */

/** The parameters and the seed as typed, and what to compare; words such as inf and nan stay words. @param {HTMLFormElement} form */
export function readControls(form) {
  /** @type {Record<string, Value>} */
  const params = {};
  for (const input of parameterInputs(form)) params[input.name] = readValue(input);
  const compared = findPart(form, "compare")?.value;
  return { params, seed: Number(seedInput(form).value), compare: compared ? [compared] : [] };
}

/** Puts back the parameters of the entry itself. @param {HTMLFormElement} form */
export function restoreDefaults(form) {
  for (const input of [...parameterInputs(form), seedInput(form)]) input.value = input.dataset.own ?? "";
}

/** Another seed, small enough to be read aloud. @param {HTMLFormElement} form */
export function rollSeed(form) {
  seedInput(form).value = String(1 + Math.floor(Math.random() * 9999));
}

/**
 * Marks the input that the service refused and says why; null clears it.
 * @param {HTMLFormElement} form
 * @param {(Error & { field?: string }) | null} problem
 */
export function showRefusal(form, problem) {
  const message = part(form, "refusal");
  message.hidden = !problem;
  message.textContent = problem?.message ?? "";
  for (const input of parameterInputs(form)) {
    const isRefused = problem?.field === `params.${input.name}`;
    if (!isRefused) input.removeAttribute("aria-invalid");
    else input.setAttribute("aria-invalid", "true");
    if (isRefused) input.focus();
  }
}

/** @param {HTMLFormElement} form @returns {HTMLInputElement} */
function seedInput(form) {
  return /** @type {any} */ (form.elements).seed;
}

/** @param {HTMLFormElement} form */
function parameterInputs(form) {
  const inputs = [...form.elements].map((element) => /** @type {HTMLInputElement} */ (element));
  return inputs.filter((input) => input.name && input.name !== "seed");
}

/** @param {HTMLInputElement} input @returns {Value} */
function readValue(input) {
  const text = input.value.trim();
  if (input.dataset.kind === "bool") return text === "true";
  if (input.dataset.kind === "choice") return text;
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text;
}
