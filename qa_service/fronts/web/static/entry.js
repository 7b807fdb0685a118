// An entry's or an experiment's page: each evidence card can be run, and what it measures fills the text.
import { reportArrival } from "./arrival.js";
import { Card } from "./card.js";
import "./copy.js";
import { fillNumbers } from "./fill.js";
import { showOutcomes } from "./outcome.js";
import { mathFont } from "./load.js";
import { allParts, enclosingPart, findPart, part } from "./parts.js";

const article = part(document, "entry");
const status = part(document, "status");
const languageSwitch = part(document, "language-switch");
const runAll = findPart(document, "run-all");
const { entry, aspect, experiment, lang = "zh", seeds } = article.dataset;
const subject = entry ? { entry, ...(aspect && { aspect }), lang } : { experiment, lang };
const cards = allParts(article, "card").map(
  (element) => new Card(element, subject, (numbers) => fillNumbers(article, numbers), (sentence) => (status.textContent = sentence)),
);

/** Runs every card, one after the other. @param {{ seeds?: number }} [extras] */
async function measureAll(extras) {
  if (runAll) runAll.disabled = true;
  for (const card of cards) await card.run(extras);
  if (runAll) runAll.disabled = false;
}

if (runAll) {
  runAll.hidden = false;
  runAll.addEventListener("click", () => measureAll());
}
if ("runsAtOnce" in article.dataset) measureAll(seeds ? { seeds: Number(seeds) } : {}); // a permalink shows its numbers without a click
if (article.querySelector("math")) mathFont.request().catch(() => {}); // formulas do without until a later attempt succeeds

article.addEventListener("measured", () => {
  const outcome = findPart(article, "outcome");
  const [hero, ...others] = cards;
  if (outcome && hero.outcomeHtml) outcome.innerHTML = hero.outcomeHtml;
  const place = findPart(article, "more-outcome");
  if (place && others.some((card) => card.evidence)) showOutcomes(place, others);
});
article.addEventListener("click", ({ target }) => {
  if (enclosingPart(target, "change")) cards[0].open();
  if (enclosingPart(target, "restore-own")) cards[0].restore();
});

/** Makes the other language show the same parameters. */
function updateLanguageSwitch() {
  const other = new URL(location.href);
  other.searchParams.set("lang", lang === "zh" ? "en" : "zh");
  languageSwitch.href = String(other);
}
updateLanguageSwitch();

// The address follows the parameters, so that it can be shared and a reload shows the same numbers.
article.addEventListener("measured", ({ target }) => {
  const link = findPart(/** @type {HTMLElement} */ (target), "permalink");
  if (link && (experiment || cards.some((card) => card.runner.hasRun))) history.replaceState(null, "", link.href);
  updateLanguageSwitch();
});
reportArrival();
