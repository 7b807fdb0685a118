// A number as the bits of float32, bfloat16 and float16; touch a bit and see what number that makes.
const FORMATS = { float32: [8, 23], bfloat16: [8, 7], float16: [5, 10] };

/** The bits of the nearest number (ties to even) with `e` bits of exponent and `m` of fraction, sign first. */
export function encode(value, e, m) {
  const bias = 2 ** (e - 1) - 1;
  const sign = value < 0 || Object.is(value, -0) ? 1 : 0;
  const all = 2 ** e - 1;
  if (Number.isNaN(value)) return pack(0, all, 2 ** (m - 1), e, m);
  let size = Math.abs(value);
  if (size === Infinity) return pack(sign, all, 0, e, m);
  let exponent = Math.max(1 - bias, size ? Math.floor(Math.log2(size)) : 1 - bias);
  if (size / 2 ** exponent >= 2) exponent += 1; // log2 rounds
  if (exponent > 1 - bias && size / 2 ** exponent < 1) exponent -= 1;
  let units = even((size / 2 ** exponent) * 2 ** m);
  if (units === 2 ** (m + 1)) [units, exponent] = [2 ** m, exponent + 1];
  if (exponent > bias) return pack(sign, all, 0, e, m);
  const normal = units >= 2 ** m;
  return pack(sign, normal ? exponent + bias : 0, normal ? units - 2 ** m : units, e, m);
}

/** The number that bits make (IEEE 754-2019, 3.4). */
export function decode(bits, e, m) {
  const field = (from, to) => bits.slice(from, to).reduce((sum, bit) => 2 * sum + bit, 0);
  const sign = bits[0] ? -1 : 1;
  const exponent = field(1, 1 + e);
  const fraction = field(1 + e, 1 + e + m) / 2 ** m;
  const bias = 2 ** (e - 1) - 1;
  if (exponent === 2 ** e - 1) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * (1 + fraction) * 2 ** (exponent - bias) : sign * fraction * 2 ** (1 - bias);
}

function even(x) {
  const low = Math.floor(x);
  const over = x - low;
  return over > 0.5 || (over === 0.5 && low % 2) ? low + 1 : low;
}

function pack(sign, exponent, fraction, e, m) {
  const digits = (value, count) => [...value.toString(2).padStart(count, "0")].map(Number);
  return [sign, ...digits(exponent, e), ...digits(fraction, m)];
}

function words(value) {
  if (Number.isNaN(value)) return "nan";
  return Number.isFinite(value) ? String(value) : value > 0 ? "inf" : "-inf";
}

/** A finite number as its fraction times a power of two, the way the bits say it. */
function parts(value, lowest) {
  if (!value || !Number.isFinite(value)) return "";
  let exponent = Math.max(lowest, Math.floor(Math.log2(Math.abs(value))));
  if (Math.abs(value) / 2 ** exponent >= 2) exponent += 1;
  const raised = [...String(exponent)].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]).join("");
  return `= ${value / 2 ** exponent} × 2${raised}`;
}

function show(place, value) {
  for (const row of place.querySelectorAll("[data-dtype]")) {
    const [e, m] = FORMATS[row.dataset.dtype];
    const bits = encode(value, e, m);
    row.querySelectorAll("button").forEach((button, at) => {
      button.textContent = bits[at];
      button.setAttribute("aria-pressed", String(bits[at] === 1));
    });
    const stored = decode(bits, e, m);
    row.querySelector("output").textContent = words(stored);
    row.querySelector(".parts").textContent = parts(stored, 1 - (2 ** (e - 1) - 1));
  }
}

/** Fills every `.bits` inside `root`; each starts at the number of the form beside it, else at 0.1. */
export function picture(root) {
  for (const place of root.querySelectorAll(".bits:not(.live)")) {
    place.classList.add("live");
    const number = place.querySelector("input");
    const read = () => Number(number.value.replace("inf", "Infinity"));
    for (const row of place.querySelectorAll("[data-dtype]")) {
      const [e, m] = FORMATS[row.dataset.dtype];
      for (let at = 0; at <= e + m; at += 1) {
        const button = document.createElement("button");
        const part = at === 0 ? "sign" : at <= e ? "exponent" : "fraction";
        Object.assign(button, { type: "button", className: part });
        button.setAttribute("aria-label", `${place.dataset[part]} ${at === 0 ? "" : at <= e ? at : at - e}`.trim());
        row.querySelector(".row").append(button);
      }
      row.addEventListener("click", ({ target }) => {
        const buttons = [...row.querySelectorAll("button")];
        const at = buttons.indexOf(target.closest("button"));
        if (at < 0) return;
        const bits = buttons.map((button) => Number(button.textContent));
        bits[at] = 1 - bits[at];
        number.value = words(decode(bits, e, m));
        show(place, read());
      });
    }
    number.addEventListener("input", () => show(place, read()));
    show(place, read());
  }
}
