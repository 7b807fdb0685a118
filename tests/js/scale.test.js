// Sliders: positions and numbers, on linear and logarithmic scales.
import assert from "node:assert/strict";
import { test } from "node:test";
import { positionOf, valueAt } from "../../qa_service/fronts/web/static/scale.js";

const LINEAR = { low: -2, high: 6, log: false };
const DECADES = { low: 1, high: 10_000, log: true };

test("the ends are the bounds, and the middle is halfway: by difference, or by factor", () => {
  for (const scale of [LINEAR, DECADES]) {
    assert.equal(valueAt(0, scale, "float"), scale.low);
    assert.equal(valueAt(1, scale, "float"), scale.high);
    assert.equal(positionOf(scale.low, scale), 0);
    assert.equal(positionOf(scale.high, scale), 1);
  }
  assert.equal(valueAt(0.5, LINEAR, "float"), 2);
  assert.equal(valueAt(0.5, DECADES, "float"), 100);
});

test("a number is found again where it was, to its three digits", () => {
  for (const scale of [LINEAR, DECADES, { low: 1e-6, high: 1, log: true }]) {
    for (let at = 0; at <= 1; at += 1 / 64) {
      const value = valueAt(at, scale, "float");
      assert.ok(Math.abs(positionOf(value, scale) - at) < 0.002, `${at} of ${JSON.stringify(scale)}`);
      assert.equal(value, Number(value.toPrecision(3)));
    }
  }
});

test("whole numbers are whole, grow with the position and are never rounded to three digits", () => {
  let before = 0;
  for (let at = 0; at <= 1000; at += 1) {
    const value = valueAt(at / 1000, DECADES, "int");
    assert.ok(Number.isInteger(value) && value >= before);
    before = value;
  }
  assert.equal(valueAt(1, { low: 1, high: 12_345, log: true }, "int"), 12_345);
});

test("what lies beyond the ends is told apart, and what no logarithm has is not finite", () => {
  assert.ok(positionOf(7, LINEAR) > 1);
  assert.ok(positionOf(-3, LINEAR) < 0);
  assert.ok(!Number.isFinite(positionOf(0, DECADES)));
  assert.ok(!Number.isFinite(positionOf(-1, DECADES)));
});
