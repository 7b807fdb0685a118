// Encoding and decoding of floats, against the engine's own float32 and the exact values of every float16 and bfloat16.
import assert from "node:assert/strict";
import { test } from "node:test";
import { asPowerOfTwo, decode, encode, FORMATS, numberInWords } from "../../qa_service/fronts/web/static/float_formats.js";

const { float16, float32, bfloat16 } = FORMATS;
const asWord = (bits) => bits.reduce((word, bit) => word * 2 + bit, 0);
const asBits = (word, count) => [...word.toString(2).padStart(count, "0")].map(Number);

/** The bits that the engine itself stores for a float32. */
function storedBits(value) {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  return asBits(view.getUint32(0), 32);
}

/** Floats of every magnitude, each with neighbours at and near halfway between two float32. */
function* samples() {
  yield* [0, -0, 0.1, -0.1, 1 / 3, Math.PI, 1, 2, 1 + 2 ** -24, 1 + 2 ** -23 + 2 ** -24, 65504, 65520, 1e-45, 2 ** -149, 2 ** -150, 3 * 2 ** -150];
  yield* [2 ** -126, 2 ** -126 - 2 ** -150, 3.4028234663852886e38, 3.4028235677973366e38, 1e39, Infinity, -Infinity, 8.000000000000001, 1 - 2 ** -53];
  let state = 12345;
  for (let count = 0; count < 5000; count += 1) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    const bits = state * 2 + (count % 2);
    const view = new DataView(new ArrayBuffer(4));
    view.setUint32(0, bits);
    const value = view.getFloat32(0);
    if (Number.isFinite(value)) yield* [value, value * (1 + 2 ** -24), value * (1 + 2 ** -25)];
  }
}

test("float32 is encoded as the engine stores it, with ties to even and subnormals", () => {
  for (const value of samples()) {
    assert.deepEqual(encode(value, float32), storedBits(value), String(value));
    assert.equal(decode(encode(value, float32), float32), Math.fround(value), String(value));
  }
});

for (const [name, format] of Object.entries({ float16, bfloat16 })) {
  test(`decoding and encoding every ${name} gives its bits`, () => {
    for (let word = 0; word < 2 ** 16; word += 1) {
      const bits = asBits(word, 16);
      const value = decode(bits, format);
      if (Number.isNaN(value)) assert.ok(Number.isNaN(decode(encode(value, format), format)));
      else assert.equal(asWord(encode(value, format)), word);
    }
  });

  test(`${name} rounds to nearest, ties to even`, () => {
    const largest = (2 ** format.exponent - 1) * 2 ** format.fraction - 1;
    for (let word = 0; word < largest; word += 1) {
      const [low, high] = [word, word + 1].map((each) => decode(asBits(each, 16), format));
      const middle = (low + high) / 2;
      const quarter = (high - low) / 4;
      assert.equal(asWord(encode(middle, format)), word % 2 ? word + 1 : word, String(middle));
      assert.equal(asWord(encode(middle - quarter, format)), word);
      assert.equal(asWord(encode(middle + quarter, format)), word + 1);
    }
  });
}

test("known encodings", () => {
  assert.equal(asWord(encode(0.1, float16)), 0x2e66);
  assert.equal(asWord(encode(0.1, bfloat16)), 0x3dcd);
  assert.equal(asWord(encode(2 ** -24, float16)), 1);
  assert.equal(asWord(encode(2 ** -25, float16)), 0);
  assert.equal(asWord(encode(65519, float16)), 0x7bff);
  assert.equal(asWord(encode(65520, float16)), 0x7c00);
  assert.equal(asWord(encode(70000, float16)), 0x7c00);
  assert.equal(asWord(encode(-Infinity, float16)), 0xfc00);
  assert.equal(asWord(encode(NaN, float16)), 0x7e00);
  assert.equal(asWord(encode(-0, float16)), 0x8000);
});

test("formatted numbers can be parsed back", () => {
  const parse = (text) => Number(text.replace("inf", "Infinity"));
  for (const value of [0.1, -0, 0, -2.5e-8, Infinity, -Infinity, NaN]) assert.ok(Object.is(parse(numberInWords(value)), value), String(value));
});

test("a number is written as its significand times its power of two", () => {
  assert.equal(asPowerOfTwo(0.1, float16), "= 1.6 × 2⁻⁴");
  assert.equal(asPowerOfTwo(-6, float16), "= -1.5 × 2²");
  assert.equal(asPowerOfTwo(2 ** -24, float16), "= 0.0009765625 × 2⁻¹⁴");
  for (const value of [0, NaN, Infinity]) assert.equal(asPowerOfTwo(value, float16), "");
});
