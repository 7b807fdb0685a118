// Rows as files and charts take them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { plottableRow, toCsv } from "../../qa_service/fronts/web/static/rows.js";

test("CSV has every column that any row has, in the order in which they come", () => {
  assert.equal(toCsv([{ step: 1, loss: 0.5 }, { step: 2, note: "x" }]), "step,loss,note\r\n1,0.5,\r\n2,,x");
});

test("CSV quotes commas, quotes and line ends (RFC 4180), names of columns too", () => {
  assert.equal(toCsv([{ "a,b": 'say "hi"', c: "two\nlines", d: "plain" }]), '"a,b",c,d\r\n"say ""hi""","two\nlines",plain');
});

test("CSV keeps inf and nan as words; what is not there stays empty; zero and false do not", () => {
  assert.equal(toCsv([{ a: "Infinity", b: "NaN", c: null, d: 0, e: false }]), "a,b,c,d,e\r\nInfinity,NaN,,0,false");
});

test("no rows make an empty file", () => assert.equal(toCsv([]), ""));

test("inf and nan have no place on an axis; everything else stays", () => {
  const row = { a: "Infinity", b: "-Infinity", c: "NaN", d: 0, e: "word", f: null, g: true };
  assert.deepEqual(plottableRow(row), { a: null, b: null, c: null, d: 0, e: "word", f: null, g: true });
});
