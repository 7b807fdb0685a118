import assert from "node:assert/strict";
import { test } from "node:test";
import { choicesFor } from "../../qa_service/fronts/web/static/choices.js";

test("the right number is among four that differ by equal factors", () => {
  for (const value of [4.0656e17, 0.0233, 28, 150, 1, 7.9e-31, -3.5, 2.1296e26]) {
    const { choices, right } = choicesFor(value, "never");
    assert.ok(choices.includes(right), String(value));
    assert.ok(choices.length >= 3 && choices.length <= 4, String(value));
    assert.equal(new Set(choices).size, choices.length);
  }
  assert.equal(choicesFor(4.0656e17, "never").right, "4.1×10¹⁷");
  assert.equal(choicesFor(28, "never").right, "28");
});

test("the right number does not always stand in the same place", () => {
  const places = new Set([1.5, 2.5, 3.7, 0.11, 0.12, 62.5].map((value) => { const { choices, right } = choicesFor(value, ""); return choices.indexOf(right); }));
  assert.ok(places.size > 1);
});

test("inf, nan, zero and what never happened can be chosen", () => {
  assert.equal(choicesFor("Infinity", "never").right, "inf");
  assert.equal(choicesFor("NaN", "never").right, "nan");
  assert.equal(choicesFor(0, "never").right, "0");
  assert.equal(choicesFor(null, "never").right, "never");
  for (const value of ["Infinity", "NaN", 0, null]) assert.ok(choicesFor(value, "never").choices.includes(choicesFor(value, "never").right));
});
