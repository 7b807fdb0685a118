// Files that are loaded on demand, with mocked timers.
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

const online = new EventTarget();
globalThis.addEventListener = online.addEventListener.bind(online);
const { LazyFile } = await import("../../qa_service/fronts/web/static/load.js");

mock.timers.enable({ apis: ["setTimeout"] });
const settle = () => new Promise(setImmediate);
let urls = [];
let failures = 0;

/** A file whose first `count` attempts fail. */
function failing(count) {
  failures = count;
  return new LazyFile("/file", async (url) => {
    urls.push(url);
    if (urls.length <= failures) throw new Error("cut off");
  });
}

beforeEach(() => {
  urls = [];
});

test("concurrent and later requests fetch the file once", async () => {
  const file = failing(0);
  await Promise.all([file.request(), file.request()]);
  await file.request();
  await file.loaded;
  assert.deepEqual(urls, ["/file"]);
});

test("after a failed attempt the next request fetches the file again, from another URL", async () => {
  const file = failing(2);
  await assert.rejects(Promise.all([file.request(), file.request()]), /cut off/);
  await assert.rejects(file.request(), /cut off/);
  await file.request();
  await file.loaded;
  assert.deepEqual(urls, ["/file", "/file?retry=1", "/file?retry=2"]);
});

test("a failed file is retried after 1, 2, 4 … seconds, at most a minute, until it has loaded", async () => {
  const file = failing(9);
  await assert.rejects(file.request());
  for (const [index, seconds] of [1, 2, 4, 8, 16, 32, 60, 60, 60].entries()) {
    mock.timers.tick(seconds * 1000 - 1);
    await settle();
    assert.equal(urls.length, index + 1, `before ${seconds} s`);
    mock.timers.tick(1);
    await settle();
    assert.equal(urls.length, index + 2, `after ${seconds} s`);
  }
  await file.loaded;
  mock.timers.tick(1_000_000);
  await settle();
  assert.equal(urls.length, 10);
});

test("a failed file is retried as soon as the browser is online again", async () => {
  const file = failing(1);
  await assert.rejects(file.request());
  online.dispatchEvent(new Event("online"));
  await file.loaded;
  assert.equal(urls.length, 2);
  online.dispatchEvent(new Event("online"));
  await settle();
  assert.equal(urls.length, 2);
});
