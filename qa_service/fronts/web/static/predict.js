// Predict before you run: what was measured stays covered until the reader has guessed, or gives up.
import { words } from "./words.js";

/** Folds a text that would tell. */
export function fold(text) {
  const told = document.createElement("details");
  told.className = "told";
  told.append(Object.assign(document.createElement("summary"), { textContent: words.told }));
  text.before(told);
  told.append(text);
}

/** Covers the results in `card` and asks for one metric; resolves once they may be seen. */
export function guess(card, data) {
  const claim = data.claims[0];
  const name = claim?.metric ?? Object.keys(data.metrics)[0];
  const metric = data.metrics[name];
  if (!metric) return Promise.resolve();
  const form = document.createElement("form");
  form.className = "guess";
  form.innerHTML = "<label><span></span> <input type=text inputmode=decimal autocomplete=off required maxlength=40></label> <button class=primary></button> <button type=button class=give-up></button>";
  form.querySelector("span").textContent = words.guess.replace("{}", metric.title);
  const [show, giveUp] = form.querySelectorAll("button");
  show.textContent = words.guess_show;
  giveUp.textContent = words.guess_give_up;
  card.classList.add("covered");
  card.querySelector(".controls").after(form);
  if (card.contains(document.activeElement)) form.querySelector("input").focus({ preventScroll: true }); // else the reader is elsewhere
  return new Promise((resolve) => {
    const uncover = (said) => {
      card.classList.remove("covered");
      if (said) {
        const told = document.createElement("p");
        told.className = "guessed";
        told.textContent = words.guessed.replace("{}", said).replace("{}", metric.shown);
        form.replaceWith(told);
      } else form.remove();
      card.dispatchEvent(new CustomEvent("uncovered", { bubbles: true }));
      resolve();
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      event.stopPropagation(); // it is not the card's own form
      uncover(form.querySelector("input").value);
    });
    giveUp.addEventListener("click", () => uncover(""));
  });
}
