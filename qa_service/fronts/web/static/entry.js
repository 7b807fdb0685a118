// An entry's page: each evidence card can be run, and what it measures fills the text.
import { Card, fill } from "./card.js";
import "./copy.js";

const article = document.querySelector("article.entry");
const status = document.getElementById("status");
const { entry, experiment, lang } = article.dataset;
const about = entry ? { entry, lang } : { experiment, lang };
const say = (sentence) => (status.textContent = sentence);
const cards = [...article.querySelectorAll(".card")].map(
  (element) => new Card(element, about, (numbers) => fill(article, numbers), say),
);

const all = document.getElementById("run-all");
const measure = async () => {
  all.disabled = true;
  for (const card of cards) await card.run();
  all.disabled = false;
};
all.hidden = false;
all.addEventListener("click", measure);
if ("runsAtOnce" in article.dataset) measure(); // a permalink shows its numbers without a click
document.documentElement.classList.add("live");

// The address follows the parameters, so that it can be shared and a reload shows the same numbers.
article.addEventListener("measured", ({ target }) => {
  const link = target.querySelector(".take-away a");
  if (link && (experiment || cards.some((card) => card.reran))) history.replaceState(null, "", link.href);
});
