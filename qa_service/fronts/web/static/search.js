// Finds in a list as one types, and shows one theme; without scripts the whole list is there.
const box = document.getElementById("find");
const list = document.querySelector(".found");
const nothing = document.querySelector(".nothing");
const leaves = [...list.querySelectorAll("li:not([data-item])")];
const themes = [...document.querySelectorAll(".themes a")];
let items = null; // of the theme that is shown

function show() {
  const wanted = box.value.normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
  for (const leaf of leaves) {
    const words = `${leaf.dataset.words ?? ""} ${leaf.textContent}`.toLowerCase();
    const item = leaf.closest("[data-item]")?.dataset.item;
    leaf.hidden = !wanted.every((word) => words.includes(word)) || (items && !items.includes(item));
  }
  for (const item of list.querySelectorAll("[data-item]")) item.hidden = !item.querySelector("li:not([hidden])");
  for (const fold of list.querySelectorAll("details")) {
    fold.hidden = !fold.querySelector("li:not([hidden])");
    fold.open = wanted.length > 0 || items !== null;
  }
  nothing.hidden = leaves.some((leaf) => !leaf.hidden);
}

for (const theme of themes) {
  theme.addEventListener("click", (event) => {
    event.preventDefault();
    const again = theme.ariaCurrent === "true";
    for (const each of themes) each.ariaCurrent = null;
    theme.ariaCurrent = again ? null : "true";
    items = again ? null : theme.dataset.items.split(" ");
    show();
  });
}
box.closest("label").hidden = false;
box.addEventListener("input", show);
