// Finds in a list as one types, and shows one theme; both stand in the address. Without scripts the whole list is there.
import { reportArrival } from "./arrival.js";
import { allParts, part } from "./parts.js";
import { rankOf } from "./rank.js";
/** @import { Searched } from "./rank.js" */

const box = part(document, "search-box");
const languageSwitch = part(document, "language-switch");
const list = part(document, "found");
const nothing = part(document, "nothing");
const themes = allParts(document, "theme");
const leaves = elements("li:not([data-item])");
/** What moves as a search is typed, in its own order: leaves among each other, and the items that hold them. */
const movable = [...leaves, ...elements("[data-item]")];
const texts = new Map(leaves.map((leaf) => [leaf, searchedTexts(leaf)]));
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
  const ranks = new Map(leaves.map((leaf) => [leaf, rankOf(/** @type {Searched} */ (texts.get(leaf)), wanted)]));
  for (const leaf of leaves) leaf.hidden = ranks.get(leaf) === Infinity || (items !== null && !items.includes(itemOf(leaf)));
  nothing.hidden = leaves.some((leaf) => !leaf.hidden);
  for (const item of elements("[data-item]")) item.hidden = !hasShown(item);
  for (const fold of elements("details")) {
    fold.hidden = !hasShown(fold);
    fold.toggleAttribute("open", wanted.length > 0 || items !== null);
  }
  for (const index of allParts(list, "index")) {
    for (const heading of index.children) /** @type {HTMLElement} */ (heading).hidden = false; // what its expansions expand
  }
  sort(ranks);
  const asks = new URLSearchParams({ q: box.value.trim(), lang: document.documentElement.lang.slice(0, 2) });
  /** @type {HTMLAnchorElement} */ (nothing.querySelector("a")).search = String(asks);
}

/** @param {HTMLElement} leaf @returns {Searched} */
function searchedTexts(leaf) {
  const [title, summary, others] = [leaf.textContent, leaf.dataset.short, leaf.dataset.words].map((text) => (text ?? "").toLowerCase());
  return { title, summary, others };
}

/** Puts the best matches first, in their own order where they are alike. @param {Map<HTMLElement, number>} ranks of the leaves */
function sort(ranks) {
  const rank = (/** @type {HTMLElement} */ element) =>
    ranks.get(element) ?? Math.min(...leaves.filter((leaf) => element.contains(leaf)).map((leaf) => ranks.get(leaf) ?? Infinity));
  const sorted = movable.map((element) => ({ element, rank: rank(element) })).sort((one, other) => (one.rank === other.rank ? 0 : one.rank - other.rank));
  for (const { element } of sorted) element.parentElement?.append(element);
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
