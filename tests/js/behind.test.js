import assert from "node:assert/strict";
import { test } from "node:test";
import { hasSameData, withBehind } from "../../qa_service/fronts/web/static/behind.js";

const curve = (values, extra = {}) => ({
  width: 480,
  data: { values },
  mark: { type: "line", point: true },
  encoding: { x: { field: "n", type: "quantitative" }, y: { field: "v", type: "quantitative" }, color: { field: "name", type: "nominal" } },
  ...extra,
});
const now = curve([{ n: 1, v: 2, name: "a" }]);
const before = curve([{ n: 1, v: 9, name: "a" }]);

test("the curve before is the first layer, pale, with its own data and the axes of the new one", () => {
  const { layer, width, mark } = withBehind(now, before);
  assert.equal(width, 480);
  assert.equal(mark, undefined);
  assert.deepEqual(layer[0].data, before.data);
  assert.ok(layer[0].mark.opacity < 0.5);
  assert.equal(layer[0].encoding.color, undefined);
  assert.deepEqual(layer[0].encoding.detail, { field: "name", type: "nominal" });
  assert.deepEqual(layer[1].data, now.data);
  assert.equal(layer[1].encoding.color.field, "name");
});

test("layers of the new chart stay in front of it", () => {
  const marks = { data: { values: [] }, mark: "point", encoding: {} };
  const { data, mark, encoding, ...rest } = now;
  const layered = { ...rest, layer: [{ data, mark, encoding }, marks] };
  assert.equal(withBehind(layered, before).layer.length, 3);
  assert.deepEqual(withBehind(layered, before).layer[2], marks);
});

test("charts without common axes, maps and the same numbers stay alone", () => {
  const other = curve([], { encoding: { x: { field: "m", type: "quantitative" }, y: { field: "v", type: "quantitative" } } });
  const map = { ...now, mark: "rect" };
  const faceted = curve(before.data.values, { encoding: { ...before.encoding, column: { field: "name" } } });
  for (const previous of [other, map, faceted, now]) assert.equal(withBehind(now, previous), now);
});

test("two charts of equal numbers are the same run, whatever their layers", () => {
  const layered = { layer: [{ mark: now.mark, encoding: now.encoding, data: now.data }] };
  assert.ok(hasSameData(now, layered));
  assert.ok(!hasSameData(now, before));
});
