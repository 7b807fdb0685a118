// The page in a frame of another site: its proof can be run, and its height is told to the page around it.
import { Card } from "./card.js";
import "./copy.js";
import { fillNumbers } from "./fill.js";
import { mathFont } from "./load.js";
import { enclosingPart, findPart, part } from "./parts.js";

const article = part(document, "entry");
const status = part(document, "status");
const { entry, lang = "zh" } = article.dataset;
const element = findPart(article, "card");

if (element) {
  const card = new Card(element, { entry, lang }, (numbers) => fillNumbers(article, numbers), (sentence) => (status.textContent = sentence));
  article.addEventListener("measured", () => {
    const outcome = findPart(article, "outcome");
    if (outcome && card.outcomeHtml) outcome.innerHTML = card.outcomeHtml;
  });
  article.addEventListener("click", ({ target }) => {
    if (enclosingPart(target, "change")) card.open();
    if (enclosingPart(target, "restore-own")) card.restore();
  });
  const remembered = findPart(document, "remembered")?.textContent;
  if (remembered) card.showEvidence(JSON.parse(remembered)); // measured earlier: nothing is run for a reader who only looks
}
if (article.querySelector("math")) mathFont.request().catch(() => {});

new ResizeObserver(() => parent.postMessage({ numstab: 1, height: Math.ceil(document.body.getBoundingClientRect().height) }, "*")).observe(document.body);
