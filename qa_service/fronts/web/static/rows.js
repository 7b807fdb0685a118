// Rows of measurements as charts and files take them.
/** @import { Row, Value } from "./types.js" */

/** A row for a chart: inf and nan, which come as words, have no place on an axis. @param {Row} row @returns {Row} */
export function plottableRow(row) {
  const isUnplottable = (/** @type {Value} */ value) => ["Infinity", "-Infinity", "NaN"].includes(/** @type {string} */ (value));
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, isUnplottable(value) ? null : value]));
}

/** Rows as comma-separated values (RFC 4180); inf and nan stay words, what is not there stays empty. @param {Row[]} rows */
export function toCsv(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  const cell = (/** @type {Value | undefined} */ value) => {
    const text = String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((line) => line.map(cell).join(",")).join("\r\n");
}
