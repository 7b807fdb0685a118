// A slider under a number: linear, or logarithmic where the bounds lie decades apart.
const STEPS = 1000;
const KEYS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };

function scale(slider) {
  const low = Number(slider.dataset.low);
  const high = Number(slider.dataset.high);
  if (slider.dataset.scale === "log") {
    const ratio = Math.log(high / low);
    return { at: (value) => Math.log(value / low) / ratio, value: (at) => low * Math.exp(at * ratio) };
  }
  return { at: (value) => (value - low) / (high - low), value: (at) => low + at * (high - low) };
}

function number(slider) {
  return slider.form.elements[slider.dataset.for];
}

/** Puts every slider of a form where its number is. */
export function follow(form) {
  for (const slider of form.querySelectorAll("input[type=range]")) {
    const at = scale(slider).at(Number(number(slider).value));
    slider.value = Number.isFinite(at) ? Math.round(STEPS * Math.min(1, Math.max(0, at))) : 0;
    slider.setAttribute("aria-valuetext", number(slider).value);
  }
}

/** An arrow key moves by a hundredth of the way, and a whole number by one at least. */
export function pressed(event) {
  const slider = event.target;
  const way = KEYS[event.key];
  if (!way) return;
  event.preventDefault();
  const before = Number(number(slider).value);
  slider.value = Number(slider.value) + (way * STEPS) / 100;
  moved(slider);
  if (Number(number(slider).value) === before && number(slider).dataset.kind === "int") {
    const next = before + way;
    if (next >= Number(slider.dataset.low) && next <= Number(slider.dataset.high)) number(slider).value = next;
    follow(slider.form);
  }
  slider.dispatchEvent(new CustomEvent("moved", { bubbles: true }));
}

/** Writes the number that a slider was moved to: whole where it must be, else with three digits. */
export function moved(slider) {
  const input = number(slider);
  const value = scale(slider).value(slider.value / STEPS);
  input.value = input.dataset.kind === "int" ? Math.round(value) : Number(value.toPrecision(3));
  slider.setAttribute("aria-valuetext", input.value);
}
