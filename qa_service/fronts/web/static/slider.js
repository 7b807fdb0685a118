// A slider under a number: linear, or logarithmic where the bounds lie decades apart.
import { positionOf, valueAt } from "./scale.js";

const STEPS = 1000; // from one end of a slider to the other
/** @type {Record<string, number>} */
const DIRECTIONS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };

/** Puts every slider of a form where its number is. @param {HTMLFormElement} form */
export function placeSliders(form) {
  /** @type {NodeListOf<HTMLInputElement>} */
  const sliders = form.querySelectorAll("input[type=range]");
  for (const slider of sliders) {
    const number = numberInput(slider);
    const position = positionOf(Number(number.value), scaleOf(slider));
    slider.value = String(Number.isFinite(position) ? Math.round(STEPS * Math.min(1, Math.max(0, position))) : 0);
    slider.setAttribute("aria-valuetext", number.value);
  }
}

/** Writes the number that a slider was moved to. @param {HTMLInputElement} slider */
export function writeNumber(slider) {
  const number = numberInput(slider);
  number.value = String(valueAt(Number(slider.value) / STEPS, scaleOf(slider), number.dataset.kind ?? ""));
  slider.setAttribute("aria-valuetext", number.value);
}

/** An arrow key moves by a hundredth of the way, and a whole number by one at least. @param {KeyboardEvent} event */
export function moveByKey(event) {
  const slider = /** @type {HTMLInputElement} */ (event.target);
  const direction = DIRECTIONS[event.key];
  if (!direction) return;
  event.preventDefault();
  const number = numberInput(slider);
  const before = Number(number.value);
  slider.value = String(Number(slider.value) + (direction * STEPS) / 100);
  writeNumber(slider);
  if (Number(number.value) === before && number.dataset.kind === "int") {
    const { low, high } = scaleOf(slider);
    const next = before + direction;
    if (next >= low && next <= high) number.value = String(next);
    placeSliders(/** @type {HTMLFormElement} */ (slider.form));
  }
  slider.dispatchEvent(new CustomEvent("slidermoved", { bubbles: true }));
}

/** @param {HTMLInputElement} slider */
function scaleOf({ dataset }) {
  return { low: Number(dataset.low), high: Number(dataset.high), log: dataset.scale === "log" };
}

/** @param {HTMLInputElement} slider @returns {HTMLInputElement} */
function numberInput(slider) {
  return /** @type {any} */ (slider.form).elements[slider.dataset.for ?? ""];
}
