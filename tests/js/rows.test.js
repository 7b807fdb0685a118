// Rows of an experiment as CSV and as data of a chart.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plottableRow, toCsv } from "../../qa_service/fronts/web/static/rows.js";

test("CSV has the columns of all rows, in order of first appearance", () => {
  assert.equal(toCsv([{ step: 1, loss: 0.5 }, { step: 2, note: "x" }]), "step,loss,note\r\n1,0.5,\r\n2,,x");
});

test("CSV quotes commas, quotes and line ends (RFC 4180), in column names too", () => {
  assert.equal(toCsv([{ "a,b": 'say "hi"', c: "two\nlines", d: "plain" }]), '"a,b",c,d\r\n"say ""hi""","two\nlines",plain');
});

test("CSV writes inf and nan as words, null as an empty field, zero and false as values", () => {
  assert.equal(toCsv([{ a: "Infinity", b: "NaN", c: null, d: 0, e: false }]), "a,b,c,d,e\r\nInfinity,NaN,,0,false");
});

test("no rows give an empty file", () => assert.equal(toCsv([]), ""));

test("inf and nan become null for a chart; other values are unchanged", () => {
  const row = { a: "Infinity", b: "-Infinity", c: "NaN", d: 0, e: "word", f: null, g: true };
  assert.deepEqual(plottableRow(row), { a: null, b: null, c: null, d: 0, e: "word", f: null, g: true });
});
