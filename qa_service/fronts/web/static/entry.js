// An entry's page: each evidence card can be run, and what it measures fills the text.
import { reportArrival } from "./arrival.js";
import { Card } from "./card.js";
import "./copy.js";
import { fill } from "./fill.js";
import { mathFont } from "./load.js";

const article = document.querySelector("article.entry");
const status = document.getElementById("status");
const { entry, experiment, lang, seeds } = article.dataset;
const about = entry ? { entry, lang } : { experiment, lang };
const say = (sentence) => (status.textContent = sentence);
const cards = [...article.querySelectorAll(".card")].map(
  (element) => new Card(element, about, (numbers) => fill(article, numbers), say),
);

const all = document.getElementById("run-all");
const measure = async (beside = {}) => {
  if (all) all.disabled = true;
  for (const card of cards) await card.run(beside);
  if (all) all.disabled = false;
};
if (all) {
  all.hidden = false;
  all.addEventListener("click", () => measure());
}
if ("runsAtOnce" in article.dataset) measure(seeds ? { seeds: Number(seeds) } : {}); // a permalink shows its numbers without a click
document.documentElement.classList.add("live");

if (article.querySelector("math")) mathFont.request().catch(() => {}); // formulas do without until a later attempt succeeds

// The other language shows the same parameters.
const toggle = document.getElementById("switch");
function mirror() {
  const other = new URL(location.href);
  other.searchParams.set("lang", lang === "zh" ? "en" : "zh");
  toggle.href = other;
}
mirror();

// The address follows the parameters, so that it can be shared and a reload shows the same numbers.
article.addEventListener("measured", ({ target }) => {
  const link = target.querySelector(".take-away a");
  if (link && (experiment || cards.some((card) => card.reran))) history.replaceState(null, "", link.href);
  mirror();
});
reportArrival();
