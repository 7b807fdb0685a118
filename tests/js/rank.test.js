// The order of what a search finds.
import assert from "node:assert/strict";
import { test } from "node:test";
import { rankOf } from "../../qa_service/fronts/web/static/rank.js";

const entry = (title, summary = "", others = "") => ({ title, summary, others });

test("the title and the summary come before other wordings, whole words before parts of words", () => {
  const found = [
    entry("bf16 or fp16?"),
    entry("which format?", "take bf16."),
    entry("what is xbf16x?"),
    entry("which format?", "xbf16"),
    entry("sigmoid?", "", "does bf16 help"),
    entry("sigmoid?", "", "abf16"),
  ].map((each) => rankOf(each, ["bf16"]));
  assert.deepEqual(found, [0, 1, 2, 3, 4, 5]);
});

test("every word must be found, in any place", () => {
  assert.equal(rankOf(entry("loss is nan", "", "fp16"), ["nan", "fp16"]), 4);
  assert.equal(rankOf(entry("loss is nan"), ["nan", "adam"]), Infinity);
});

test("words beside Chinese, and Chinese itself, are whole", () => {
  assert.equal(rankOf(entry("用bf16训练"), ["bf16"]), 0);
  assert.equal(rankOf(entry("残差连接有什么用"), ["残差"]), 0);
});

test("nothing searched for matches everything alike", () => assert.equal(rankOf(entry("any"), []), 0));
