// Positions of sliders and their values, on linear and logarithmic scales.
import assert from "node:assert/strict";
import { test } from "node:test";
import { positionOf, valueAt } from "../../qa_service/fronts/web/static/scale.js";

const LINEAR = { low: -2, high: 6, log: false };
const DECADES = { low: 1, high: 10_000, log: true };

test("the ends are the bounds, and the middle is their arithmetic or geometric mean", () => {
  for (const scale of [LINEAR, DECADES]) {
    assert.equal(valueAt(0, scale, "float"), scale.low);
    assert.equal(valueAt(1, scale, "float"), scale.high);
    assert.equal(positionOf(scale.low, scale), 0);
    assert.equal(positionOf(scale.high, scale), 1);
  }
  assert.equal(valueAt(0.5, LINEAR, "float"), 2);
  assert.equal(valueAt(0.5, DECADES, "float"), 100);
});

test("the position of a value is the inverse of the value at a position, to three digits", () => {
  for (const scale of [LINEAR, DECADES, { low: 1e-6, high: 1, log: true }]) {
    for (let position = 0; position <= 1; position += 1 / 64) {
      const value = valueAt(position, scale, "float");
      assert.ok(Math.abs(positionOf(value, scale) - position) < 0.002, `${position} of ${JSON.stringify(scale)}`);
      assert.equal(value, Number(value.toPrecision(3)));
    }
  }
});

test("integers stay integers, increase with the position and are not rounded to three digits", () => {
  let before = 0;
  for (let step = 0; step <= 1000; step += 1) {
    const value = valueAt(step / 1000, DECADES, "int");
    assert.ok(Number.isInteger(value) && value >= before);
    before = value;
  }
  assert.equal(valueAt(1, { low: 1, high: 12_345, log: true }, "int"), 12_345);
});

test("a value out of bounds has a position outside 0 to 1, and a value without a logarithm no finite one", () => {
  assert.ok(positionOf(7, LINEAR) > 1);
  assert.ok(positionOf(-3, LINEAR) < 0);
  assert.ok(!Number.isFinite(positionOf(0, DECADES)));
  assert.ok(!Number.isFinite(positionOf(-1, DECADES)));
});
