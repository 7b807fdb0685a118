// IEEE 754 binary formats: numbers as bits and bits as numbers (IEEE 754-2019, 3.4).

/** A format: `exponent` and `fraction` count bits. @typedef {{ exponent: number, fraction: number }} FloatFormat */

/** @type {Record<string, FloatFormat>} */
export const FORMATS = {
  float32: { exponent: 8, fraction: 23 },
  bfloat16: { exponent: 8, fraction: 7 },
  float16: { exponent: 5, fraction: 10 },
};

const bias = (/** @type {FloatFormat} */ format) => 2 ** (format.exponent - 1) - 1;

/** The exponent of the smallest normal number. @param {FloatFormat} format */
export function lowestExponent(format) {
  return 1 - bias(format);
}

/**
 * The bits of the nearest number of a format (ties to even), sign first.
 * @param {number} value
 * @param {FloatFormat} format
 * @returns {number[]}
 */
export function encode(value, format) {
  const sign = value < 0 || Object.is(value, -0) ? 1 : 0;
  const allOnes = 2 ** format.exponent - 1;
  const one = 2 ** format.fraction;
  if (Number.isNaN(value)) return pack(0, allOnes, one / 2, format);
  const size = Math.abs(value);
  if (size === Infinity) return pack(sign, allOnes, 0, format);
  let exponent = exponentOf(size, lowestExponent(format));
  let units = roundToEven((size / 2 ** exponent) * one);
  if (units === 2 * one) [units, exponent] = [one, exponent + 1];
  if (exponent > bias(format)) return pack(sign, allOnes, 0, format);
  return units < one ? pack(sign, 0, units, format) : pack(sign, exponent + bias(format), units - one, format);
}

/**
 * The number that bits make.
 * @param {number[]} bits
 * @param {FloatFormat} format
 */
export function decode(bits, format) {
  const field = (/** @type {number} */ from, /** @type {number} */ to) => bits.slice(from, to).reduce((sum, bit) => 2 * sum + bit, 0);
  const sign = bits[0] ? -1 : 1;
  const exponent = field(1, 1 + format.exponent);
  const fraction = field(1 + format.exponent, 1 + format.exponent + format.fraction) / 2 ** format.fraction;
  if (exponent === 2 ** format.exponent - 1) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * (1 + fraction) * 2 ** (exponent - bias(format)) : sign * fraction * 2 ** lowestExponent(format);
}

/** A number as one types it: nan, inf, -inf. @param {number} value */
export function numberInWords(value) {
  if (Number.isNaN(value)) return "nan";
  return Number.isFinite(value) ? (Object.is(value, -0) ? "-0" : String(value)) : value > 0 ? "inf" : "-inf";
}

/** A finite number as its fraction times a power of two, as its bits say it; empty for others and for zero.
 * @param {number} value @param {FloatFormat} format */
export function asPowerOfTwo(value, format) {
  if (!value || !Number.isFinite(value)) return "";
  const exponent = exponentOf(Math.abs(value), lowestExponent(format));
  const raised = [...String(exponent)].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]).join("");
  return `= ${value / 2 ** exponent} × 2${raised}`;
}

/** The exponent of a finite number of no sign, at least `lowest`. @param {number} size @param {number} lowest */
function exponentOf(size, lowest) {
  const exponent = Math.max(lowest, Math.floor(Math.log2(size))); // of zero, log2 is -Infinity
  return size / 2 ** exponent >= 2 ? exponent + 1 : exponent; // log2 may round down
}

/** @param {number} x */
function roundToEven(x) {
  const low = Math.floor(x);
  const over = x - low;
  return over > 0.5 || (over === 0.5 && low % 2) ? low + 1 : low;
}

/** @param {number} sign @param {number} exponent @param {number} fraction @param {FloatFormat} format */
function pack(sign, exponent, fraction, format) {
  const digits = (/** @type {number} */ value, /** @type {number} */ count) => [...value.toString(2).padStart(count, "0")].map(Number);
  return [sign, ...digits(exponent, format.exponent), ...digits(fraction, format.fraction)];
}
