// An entry's page: each evidence card can be run, and what it measures fills the text.
import { Card, fill } from "./card.js";

const article = document.querySelector("article.entry");
const status = document.getElementById("status");
const about = { entry: article.dataset.entry, lang: article.dataset.lang };
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
