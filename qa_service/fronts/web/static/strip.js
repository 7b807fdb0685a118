// The row above an answer's text: how far each experiment is and how its claims fared; a click leads to its card.
import { words } from "./words.js";

/** Adds a card's button to `place`; it follows the card from now on. */
export function follow(place, card, title) {
  const item = document.createElement("li");
  item.innerHTML = "<button type=button><span class=what></span> <span class=how></span></button>";
  const [what, how] = item.querySelectorAll("span");
  what.textContent = title;
  item.firstChild.title = title;
  place.append(item);
  card.element.tabIndex = -1;
  item.firstChild.addEventListener("click", () => {
    card.element.scrollIntoView({ block: "start" });
    card.element.focus({ preventScroll: true });
  });
  card.element.addEventListener("progress", ({ detail }) => {
    item.className = "going";
    how.textContent = detail;
  });
  card.element.addEventListener("measured", () => {
    item.className = "";
    how.replaceChildren(...outcome(card));
  });
  card.element.addEventListener("stopped", ({ detail }) => {
    item.className = "";
    how.textContent = detail;
  });
}

/** The card's verdicts counted, each as the card shows it; without claims, how the run ended. */
function outcome(card) {
  const verdicts = [...card.element.querySelectorAll(".claims > li")];
  const kinds = ["holds", "fails", "unknown"].filter((kind) => verdicts.some((each) => each.matches(`.${kind}`)));
  const shown = kinds.map((kind) => {
    const chip = document.createElement("span");
    chip.className = kind;
    const alike = verdicts.filter((each) => each.matches(`.${kind}`));
    chip.textContent = `${alike.length} ${alike.length > 1 ? words[`${kind}_many`] : alike[0].querySelector(".verdict").textContent}`;
    return chip;
  });
  return shown.length ? shown : [card.element.querySelector(".state").firstChild.textContent];
}
