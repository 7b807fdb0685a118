// The scale of a slider: from its position, 0 to 1, to a number and back.

/**
 * @typedef {object} Scale
 * @property {number} low
 * @property {number} high
 * @property {boolean} log whether equal steps are equal factors
 */

/**
 * Where a number lies, as a fraction of the way; outside of 0 to 1 where it lies beyond the ends.
 * @param {number} value
 * @param {Scale} scale
 */
export function positionOf(value, { low, high, log }) {
  return log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low);
}

/**
 * The number at a position, as one would type it.
 * @param {number} position 0 to 1
 * @param {Scale} scale
 * @param {string} kind "int" for a whole number; any other is rounded to three digits
 */
export function valueAt(position, { low, high, log }, kind) {
  const value = log ? low * Math.exp(position * Math.log(high / low)) : low + position * (high - low);
  return kind === "int" ? Math.round(value) : Number(value.toPrecision(3));
}
