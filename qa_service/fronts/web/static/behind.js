// A chart with the chart of the run before it behind it, pale.
/** @import { ChartSpec } from "./types.js" */

/** The chart that has data of its own: the first layer, or the chart itself. @param {ChartSpec} spec @returns {ChartSpec} */
function base(spec) {
  return spec.layer ? base(spec.layer[0]) : spec;
}

/** Whether it is a chart of curves over a numeric axis, in which another can be drawn behind. @param {ChartSpec} spec */
function isCurve(spec) {
  const { mark, encoding = {} } = base(spec);
  const { x, y, column, row } = { ...spec.encoding, ...encoding };
  const type = typeof mark === "string" ? mark : mark?.type;
  return ["line", "point", "area"].includes(type) && x?.type === "quantitative" && y?.type === "quantitative" && !column && !row;
}

/** Whether two charts show the same numbers. @param {ChartSpec} one @param {ChartSpec} other */
export function hasSameData(one, other) {
  return JSON.stringify(base(one).data ?? one.data) === JSON.stringify(base(other).data ?? other.data);
}

/**
 * The chart `now` with the curves of `before` behind it; `now` alone where they have no common axes.
 * @param {ChartSpec} now
 * @param {ChartSpec} before
 * @returns {ChartSpec}
 */
export function withBehind(now, before) {
  if (!isCurve(now) || !isCurve(before)) return now;
  const [front, back] = [base(now), base(before)];
  const { color, x, y } = back.encoding;
  const fields = [x.field, y.field, color?.field].join();
  if (fields !== [front.encoding.x.field, front.encoding.y.field, front.encoding.color?.field].join()) return now;
  const data = back.data ?? before.data;
  if (!data?.values?.length || hasSameData(now, before)) return now;
  const type = typeof back.mark === "string" ? back.mark : back.mark.type;
  const detail = color?.field ? { detail: { field: color.field, type: "nominal" } } : {};
  const pale = {
    data,
    ...(back.transform && { transform: back.transform }),
    mark: { type, point: false, opacity: 0.3, strokeWidth: 2, strokeDash: [5, 4], color: "gray" },
    encoding: { x: front.encoding.x, y: front.encoding.y, ...detail },
  };
  const { layer, mark, encoding, transform, data: own, ...rest } = now;
  const inFront = layer ?? [{ ...(own && { data: own }), ...(transform && { transform }), mark, encoding }];
  return { ...rest, ...(layer && { ...(encoding && { encoding }), ...(own && { data: own }), ...(transform && { transform }) }), layer: [pale, ...inFront] };
}
