// Finds in a list as one types, and shows one theme; both stand in the address. Without scripts the whole list is there.
import { reportArrival } from "./arrival.js";
import { allParts, part } from "./parts.js";

const box = /** @type {HTMLInputElement} */ (document.getElementById("find"));
const languageSwitch = /** @type {HTMLAnchorElement} */ (document.getElementById("switch"));
const list = part(document, "found");
const nothing = part(document, "nothing");
const themes = allParts(document, "theme");
const leaves = elements("li:not([data-item])");
const address = new URL(location.href);
/** The theme that is shown. @type {HTMLAnchorElement | null} */
let chosen = null;

/** The elements of the list that match. @param {string} selector @returns {HTMLElement[]} */
function elements(selector) {
  return [...list.querySelectorAll(selector)].map((element) => /** @type {HTMLElement} */ (element));
}

function showMatches() {
  const items = chosen?.dataset.items?.split(" ") ?? null;
  const wanted = box.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  for (const leaf of leaves) leaf.hidden = !contains(leaf, wanted) || (items !== null && !items.includes(itemOf(leaf)));
  nothing.hidden = leaves.some((leaf) => !leaf.hidden);
  for (const item of elements("[data-item]")) item.hidden = !hasShown(item);
  for (const fold of elements("details")) {
    fold.hidden = !hasShown(fold);
    fold.toggleAttribute("open", wanted.length > 0 || items !== null);
  }
  for (const index of allParts(list, "index")) {
    for (const heading of index.children) /** @type {HTMLElement} */ (heading).hidden = false; // what its expansions expand
  }
  const asks = new URLSearchParams({ q: box.value.trim(), lang: document.documentElement.lang.slice(0, 2) });
  /** @type {HTMLAnchorElement} */ (nothing.querySelector("a")).search = String(asks);
}

/** Whether a leaf's text or its other wordings have all of these words. @param {HTMLElement} leaf @param {string[]} wanted */
function contains(leaf, wanted) {
  const text = `${leaf.dataset.words ?? ""} ${leaf.textContent}`.toLowerCase();
  return wanted.every((word) => text.includes(word));
}

/** The item of the lecture that a leaf stands under. @param {HTMLElement} leaf */
function itemOf(leaf) {
  return leaf.closest("[data-item]")?.getAttribute("data-item") ?? "";
}

/** @param {HTMLElement} element */
function hasShown(element) {
  return element.querySelector("li:not([hidden])") !== null;
}

/** Makes the address say what is shown, and the other language show the same. */
function updateAddress() {
  for (const [name, value] of [["find", box.value.trim()], ["theme", chosen?.dataset.theme]]) {
    if (value) address.searchParams.set(String(name), value);
    else address.searchParams.delete(String(name));
  }
  history.replaceState(null, "", address);
  const other = new URL(address);
  other.searchParams.set("lang", languageSwitch.lang.startsWith("zh") ? "zh" : "en");
  languageSwitch.href = String(other);
}

/** @param {HTMLAnchorElement | null} theme null for all */
function choose(theme) {
  chosen = theme;
  for (const each of themes) each.ariaCurrent = each === theme ? "true" : null;
  showMatches();
}

for (const theme of themes) {
  theme.addEventListener("click", (event) => {
    event.preventDefault();
    choose(theme === chosen ? null : theme);
    updateAddress();
  });
}
/** @type {HTMLElement} */ (box.closest("label")).hidden = false;
box.addEventListener("input", () => {
  showMatches();
  updateAddress();
});
box.value = address.searchParams.get("find") ?? "";
choose(themes.find((theme) => theme.dataset.theme === address.searchParams.get("theme")) ?? null);
updateAddress();
reportArrival();
