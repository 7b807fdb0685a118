import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { keepTurns, keptTurns, parametersOf, withoutLanguage } from "../../qa_service/fronts/web/static/conversation.js";

const turn = (question, size = 1) => ({ question, request: {}, address: `/?q=${question}&lang=zh`, key: "", lang: "zh", events: ["x".repeat(size)] });
let room = Infinity;

beforeEach(() => {
  const kept = new Map();
  room = Infinity;
  globalThis.sessionStorage = {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => {
      if (value.length > room) throw new Error("full");
      kept.set(name, value);
    },
  };
});

test("turns come back as they were kept", () => {
  keepTurns([turn("a"), turn("b")]);
  assert.deepEqual(keptTurns().map((each) => each.question), ["a", "b"]);
});

test("where there is little room the latest turns are kept", () => {
  room = 1000;
  keepTurns([turn("a", 300), turn("b", 300), turn("c", 300), turn("d", 300)]);
  const questions = keptTurns().map((each) => each.question);
  assert.equal(questions.at(-1), "d");
  assert.ok(questions.length < 4);
});

test("a store that is denied or spoiled keeps nothing", () => {
  globalThis.sessionStorage = { getItem: () => "{", setItem: () => { throw new Error("denied"); } };
  keepTurns([turn("a")]);
  assert.deepEqual(keptTurns(), []);
});

test("an address is known again in another language, whatever the order of its parameters", () => {
  assert.equal(withoutLanguage("/?q=a&lang=zh&entry=b"), withoutLanguage("/?entry=b&q=a&lang=en"));
  assert.notEqual(withoutLanguage("/?q=a"), withoutLanguage("/?q=b"));
});

test("parameters in an address are numbers, truths or words", () => {
  const address = new URLSearchParams("q=p.x&p.x=0.9&p.dtype=float16&p.frozen=true&lang=en");
  assert.deepEqual(parametersOf(address), { x: 0.9, dtype: "float16", frozen: true });
});
