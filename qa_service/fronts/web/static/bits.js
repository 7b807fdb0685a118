// A number as the bits of float32, bfloat16 and float16; touch a bit and see what number that makes.
import { asPowerOfTwo, decode, encode, FORMATS, numberInWords } from "./float_formats.js";
import { allParts, part } from "./parts.js";

/** Shows the bits of the number in each `bits` part inside `root`. @param {ParentNode} root */
export function showBits(root) {
  for (const place of allParts(root, "bits")) {
    if (part(place, "bit-row").hasChildNodes()) continue;
    const input = /** @type {HTMLInputElement} */ (place.querySelector("input"));
    const update = () => writeBits(place, Number(input.value.replace("inf", "Infinity")));
    for (const group of formatGroups(place)) {
      addButtons(place, group);
      group.addEventListener("click", ({ target }) => {
        const bits = flippedBits(group, /** @type {Element} */ (target).closest("button"));
        if (!bits) return;
        input.value = numberInWords(decode(bits, formatOf(group)));
        update();
      });
    }
    input.addEventListener("input", update);
    update();
  }
}

/** @param {HTMLElement} place @param {number} value */
function writeBits(place, value) {
  for (const group of formatGroups(place)) {
    const format = formatOf(group);
    const bits = encode(value, format);
    group.querySelectorAll("button").forEach((button, at) => {
      button.textContent = String(bits[at]);
      button.setAttribute("aria-pressed", String(bits[at] === 1));
    });
    const stored = decode(bits, format);
    /** @type {HTMLOutputElement} */ (group.querySelector("output")).textContent = numberInWords(stored);
    part(group, "bit-product").textContent = asPowerOfTwo(stored, format);
  }
}

/** The bits of a format with one of them, that of `button`, the other way; null where it is no bit.
 * @param {HTMLElement} group @param {Element | null} button */
function flippedBits(group, button) {
  const buttons = [...group.querySelectorAll("button")];
  const at = buttons.findIndex((each) => each === button);
  return at < 0 ? null : buttons.map((each, index) => Number(each.textContent) ^ Number(index === at));
}

/** @param {HTMLElement} place labels its bits in the page's language @param {HTMLElement} group */
function addButtons(place, group) {
  const { exponent, fraction } = formatOf(group);
  for (let at = 0; at <= exponent + fraction; at += 1) {
    const field = at === 0 ? "sign" : at <= exponent ? "exponent" : "fraction";
    const position = at === 0 ? "" : at <= exponent ? at : at - exponent;
    const button = document.createElement("button");
    button.type = "button";
    button.className = field;
    button.setAttribute("aria-label", `${place.dataset[field]} ${position}`.trim());
    part(group, "bit-row").append(button);
  }
}

/** @param {HTMLElement} place @returns {HTMLElement[]} */
function formatGroups(place) {
  return [...place.querySelectorAll("[data-dtype]")].map((group) => /** @type {HTMLElement} */ (group));
}

/** @param {HTMLElement} group */
function formatOf(group) {
  return FORMATS[group.dataset.dtype ?? ""];
}
