// Runs of an experiment with a fake server: the requests, the reported events, and replaced runs.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

const WORDS = { unreachable: "unreachable", broken: "broken", restarting: "restarting", not_understood: "not understood" };
globalThis.document = { querySelector: () => ({ textContent: JSON.stringify(WORDS) }) };
const { ExperimentRunner } = await import("../../qa_service/fronts/web/static/runner.js");

const SETTINGS = { params: { n: 3 }, seed: 7, compare: [] };
const message = ([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const realFetch = globalThis.fetch;
let requests;
let reported;
let observer;

/** Answers every request with these events, after which the stream stays open if `open`; or with a problem. */
function serve(events, { open = false, status = 200 } = {}) {
  globalThis.fetch = async (url, { body, signal }) => {
    requests.push([url, JSON.parse(body)]);
    if (status !== 200) return new Response(JSON.stringify(events), { status });
    const stream = new ReadableStream({
      start(controller) {
        for (const event of events) controller.enqueue(new TextEncoder().encode(message(event)));
        if (!open) controller.close();
        signal.addEventListener("abort", () => open && controller.error(signal.reason));
      },
    });
    return new Response(stream);
  };
}

beforeEach(() => {
  requests = [];
  reported = [];
  const names = ["requested", "started", "queued", "row", "evidence", "complete", "failed", "ended"];
  observer = Object.fromEntries(names.map((name) => [name, (value) => reported.push(name === "failed" ? [name, value.message] : [name, value])]));
});
afterEach(() => {
  globalThis.fetch = realFetch;
});

test("a run of an entry requests its block only, and reports the events of the first run only", async () => {
  serve([["started", { id: "b" }], ["queued", { id: "b", before: 2 }], ["row", { id: "b~1" }], ["row", { id: "b" }], ["evidence", { id: "b" }], ["evidence", { id: "b~1" }], ["done", { comparison_html: "<table>" }]]);
  const runner = new ExperimentRunner({ entry: "e", lang: "en" }, "b~1", observer);
  await runner.run({ ...SETTINGS, compare: ["dtype"] }, { seeds: 20 });
  assert.deepEqual(requests, [["/page/ask", { entry: "e", lang: "en", params: { n: 3 }, seed: 7, question: "", compare: ["dtype"], blocks: ["b"], seeds: 20 }]]);
  assert.deepEqual(reported.map(([name]) => name), ["requested", "started", "queued", "row", "evidence", "complete", "ended"]);
  assert.deepEqual(reported.find(([name]) => name === "complete")[1], "<table>");
  assert.deepEqual(runner.extras, { compare: ["dtype"], seeds: 20 });
  assert.equal(runner.isRunning, false);
});

test("a run of an experiment without an entry is complete with its evidence", async () => {
  serve([["started", { id: "x" }], ["evidence", { id: "x" }]]);
  const runner = new ExperimentRunner({ experiment: "x", lang: "zh" }, "x", observer);
  await runner.run(SETTINGS);
  assert.deepEqual(requests, [["/page/run", { experiment: "x", lang: "zh", params: { n: 3 }, seed: 7 }]]);
  assert.equal(reported.at(-2)[0], "complete");
});

test("a stream that ends early is reported as broken, one without events as unreachable", async () => {
  const runner = new ExperimentRunner({ experiment: "x", lang: "zh" }, "x", observer);
  serve([["started", { id: "x" }]]);
  await runner.run(SETTINGS);
  assert.deepEqual(reported.at(-2), ["failed", "broken"]);
  serve([]);
  await runner.run(SETTINGS);
  assert.deepEqual(reported.at(-2), ["failed", "unreachable"]);
});

test("a rejected request is reported with the server's message, or with ours where it has none", async () => {
  const runner = new ExperimentRunner({ experiment: "x", lang: "zh" }, "x", observer);
  serve({ detail: "n is too large", field: "params.n" }, { status: 422 });
  await runner.run(SETTINGS);
  assert.deepEqual(reported.at(-2), ["failed", "n is too large"]);
  serve({}, { status: 503 });
  await runner.run(SETTINGS);
  assert.deepEqual(reported.at(-2), ["failed", "restarting"]);
});

test("a run that is replaced or aborted reports no further events", async () => {
  const runner = new ExperimentRunner({ experiment: "x", lang: "zh" }, "x", observer);
  serve([["started", { id: "x" }]], { open: true });
  const first = runner.run(SETTINGS);
  assert.equal(runner.isRunning, true);
  serve([["evidence", { id: "x" }]]);
  await runner.run(SETTINGS);
  await first;
  assert.deepEqual(reported.map(([name]) => name), ["requested", "requested", "evidence", "complete", "ended"]);

  reported = [];
  serve([], { open: true });
  const third = runner.run(SETTINGS);
  await new Promise(setImmediate);
  runner.abort();
  await third;
  assert.deepEqual(reported.map(([name]) => name), ["requested", "ended"]);
  assert.equal(runner.isRunning, false);
});
