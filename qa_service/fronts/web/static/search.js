// Finds in a list as one types, and shows one theme; both stand in the address. Without scripts the whole list is there.
import { reportArrival } from "./arrival.js";

const box = document.getElementById("find");
const list = document.querySelector(".found");
const nothing = document.querySelector(".nothing");
const leaves = [...list.querySelectorAll("li:not([data-item])")];
const themes = [...document.querySelectorAll(".themes a")];
const toggle = document.getElementById("switch");
const address = new URL(location.href);
let chosen = null; // the theme that is shown

function show() {
  const items = chosen?.dataset.items.split(" ") ?? null;
  const wanted = box.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  for (const leaf of leaves) {
    const words = `${leaf.dataset.words ?? ""} ${leaf.textContent}`.toLowerCase();
    const item = leaf.closest("[data-item]")?.dataset.item;
    leaf.hidden = !wanted.every((word) => words.includes(word)) || (items && !items.includes(item));
  }
  nothing.hidden = leaves.some((leaf) => !leaf.hidden);
  for (const item of list.querySelectorAll("[data-item]")) item.hidden = !item.querySelector("li:not([hidden])");
  for (const fold of list.querySelectorAll("details")) {
    fold.hidden = !fold.querySelector("li:not([hidden])");
    fold.open = wanted.length > 0 || items !== null;
  }
  for (const heading of list.querySelectorAll(".index > li")) heading.hidden = false; // what its expansions expand
  nothing.querySelector("a").search = new URLSearchParams({ q: box.value.trim(), lang: document.documentElement.lang.slice(0, 2) });
}

/** The address says what is shown, and the other language shows the same. */
function note() {
  for (const [name, value] of [["find", box.value.trim()], ["theme", chosen?.dataset.theme]]) {
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
  }
  history.replaceState(null, "", address);
  const other = new URL(address);
  other.searchParams.set("lang", toggle.lang.startsWith("zh") ? "zh" : "en");
  toggle.href = other;
}

function choose(theme) {
  chosen = theme;
  for (const each of themes) each.ariaCurrent = each === theme ? "true" : null;
  show();
}

for (const theme of themes) {
  theme.addEventListener("click", (event) => {
    event.preventDefault();
    choose(theme === chosen ? null : theme);
    note();
  });
}
box.closest("label").hidden = false;
box.addEventListener("input", () => {
  show();
  note();
});
box.value = address.searchParams.get("find") ?? "";
choose(themes.find((theme) => theme.dataset.theme === address.searchParams.get("theme")) ?? null);
note();
reportArrival();
