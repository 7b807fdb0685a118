// Parsing of server-sent events whose bytes arrive in chunks.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser } from "../../qa_service/fronts/web/static/sse.js";

const EVENTS = [
  ["answer", { text: "梯度 𝒙 é" }],
  ["row", { row: { step: 1, loss: "NaN" } }],
  ["done", null],
];
const LINES = [": still there", "", "event: answer", 'data: {"text": "梯度 𝒙 é"}', "", 'event: row', 'data: {"row":', 'data: {"step": 1, "loss": "NaN"}}', "", "event:done", "data:null", "", ""];

/** The events of a stream whose bytes arrive in these chunks. */
function parse(...chunks) {
  const parser = new EventStreamParser();
  return chunks.flatMap((chunk) => parser.push(chunk));
}

for (const [name, lineEnd] of [["LF", "\n"], ["CRLF", "\r\n"]]) {
  const bytes = new TextEncoder().encode(LINES.join(lineEnd));

  test(`with ${name}, cut in two at every byte, even within a character`, () => {
    for (let at = 0; at <= bytes.length; at += 1) assert.deepEqual(parse(bytes.subarray(0, at), bytes.subarray(at)), EVENTS, `cut at ${at}`);
  });

  test(`with ${name}, byte by byte`, () => {
    assert.deepEqual(parse(...Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))), EVENTS);
  });
}

test("an event is emitted with its last byte, and not before", () => {
  const parser = new EventStreamParser();
  const push = (text) => parser.push(new TextEncoder().encode(text));
  assert.deepEqual(push("event: row\ndata: 1\n"), []);
  assert.deepEqual(push("\nevent: row\nda"), [["row", 1]]);
  assert.deepEqual(push("ta: 2\n\n"), [["row", 2]]);
});

test("comments are not events", () => {
  assert.deepEqual(parse(new TextEncoder().encode(": one\n\n: two\n\n")), []);
});
