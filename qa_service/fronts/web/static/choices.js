// Numbers to choose from, one of which is the one that was measured.
import { numberInWords } from "./float_formats.js";
/** @import { Value } from "./types.js" */

const COUNT = 4;
const DIGITS = 2;

/**
 * The number and three that are wrong by equal factors, ascending, as words; where it stands among them is fixed by its digits.
 * @param {Value} value as JSON has it: inf and nan are words, null means that it never happened
 * @param {string} never what to call null
 * @returns {{ choices: string[], right: string }}
 */
export function choicesFor(value, never) {
  const number = typeof value === "string" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isFinite(number)) {
    const right = number === null ? never : numberInWords(Number(number));
    return { choices: [...new Set(["0", "1000", right, "inf", "nan"])].slice(0, COUNT + 1), right };
  }
  if (number === 0) return { choices: ["0", "1", "10", "100"], right: "0" };
  const size = Math.abs(Math.log10(Math.abs(number)));
  const factor = Number.isInteger(number) && size < 3 ? 2 : size < 4 ? 10 : 10 ** Math.ceil(size / 3);
  const place = [...String(number)].reduce((sum, sign) => sum + (sign.codePointAt(0) ?? 0), 0) % COUNT;
  const others = Array.from({ length: COUNT }, (_, at) => number * factor ** (at - place));
  const wordsOf = (/** @type {number} */ each) => (factor === 2 ? String(Math.max(0, Math.round(each))) : rounded(each));
  return { choices: [...new Set(others.map(wordsOf))], right: wordsOf(number) };
}

/** @param {number} value */
function rounded(value) {
  const [mantissa, exponent] = value.toExponential(DIGITS - 1).split("e");
  if (Math.abs(Number(exponent)) < 4) return String(Number(value.toPrecision(DIGITS)));
  const power = [...String(Number(exponent))].map((sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(sign)]).join("");
  return `${Number(mantissa)}×10${power}`;
}
