// One question and its answer: text at once, then a card for each experiment.
import { Card } from "./card.js";
import { addCopyButtons } from "./copy.js";
import { completeText, fillNumbers } from "./fill.js";
import { findPart, part } from "./parts.js";
import { coverText, isPredicting } from "./predict.js";
import { requestEvents } from "./stream.js";
import { addToStrip } from "./strip.js";
import { words } from "./words.js";
/** @import { AnswerData, AskRequest, DoneData, ServerEvent, StartedData, Subject } from "./types.js" */

/**
 * Dispatches, on its element: `answered` (detail: AnswerData) and `retry`.
 */
export class Turn {
  /** By run. @type {Map<string, Card>} */
  #cards = new Map();
  /** @type {AbortController | null} */
  #asking = null;
  /** What the cards belong to. @type {Subject} */
  #subject = { lang: "zh" };
  #complete = false;
  /** Where it stands in the browser's history. */
  address = "";
  /** What tells it from a turn that asks something else. */
  key = "";

  /**
   * @param {string} question as the user sees it
   * @param {AskRequest} request
   * @param {(sentence: string) => void} announce says a sentence in the page's status
   */
  constructor(question, request, announce) {
    const template = /** @type {HTMLTemplateElement} */ (document.getElementById("turn"));
    this.element = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.question = question;
    this.request = request;
    this.announce = announce;
    part(this.element, "asked").textContent = question;
    this.element.addEventListener("uncovered", () => this.#uncoverText());
    part(this.element, "retry").addEventListener("click", () => this.element.dispatchEvent(new CustomEvent("retry")));
  }

  get reply() {
    return part(this.element, "reply");
  }

  /** Asks and shows what comes. @returns {Promise<AnswerData | null>} the answer, with its numbers if it is complete */
  async ask() {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    this.#showTrouble(null);
    this.announce(words.looking);
    /** @type {AnswerData | null} */
    let answer = null;
    try {
      for await (const event of requestEvents(this.request, asking.signal)) {
        if (asking.signal.aborted) return null;
        if (event[0] === "answer" || event[0] === "done") answer = event[1];
        this.#show(event);
      }
      this.#complete = true;
      this.#uncoverText();
      this.announce(words.finished);
    } catch (problem) {
      if (asking.signal.aborted) this.announce(words.stopped);
      else this.#showTrouble(/** @type {Error} */ (problem));
      for (const card of this.#cards.values()) if (!card.runner.isRunning) card.stop();
    }
    return answer;
  }

  /** Stops the answer and every run of its cards. */
  stop() {
    this.#asking?.abort();
    for (const card of this.#cards.values()) card.stop();
  }

  /** @param {ServerEvent} event */
  #show([name, data]) {
    if (name === "answer") this.#showAnswer(data);
    else if (name === "done") this.#showNumbers(data);
    else if (name === "started") this.#showStarted(data);
    else if (name !== "error") {
      const card = this.#cards.get(data.id);
      if (!card || card.runner.isRunning) return; // a user's own run comes before it
      if (name === "row") card.showRow(data);
      else if (name === "queued") card.showQueued(data);
      else card.showEvidence(data);
    }
  }

  /** @param {AnswerData} data */
  #showAnswer(data) {
    this.reply.innerHTML = data.html;
    addCopyButtons(this.reply);
    this.#cards.clear();
    this.#complete = false;
    const prose = findPart(this.reply, "prose");
    if (isPredicting() && data.entry && prose) coverText(prose);
    if (!this.request.question && data.entry) {
      this.question = data.entry.question;
      part(this.element, "asked").textContent = this.question;
    }
    this.#subject = { entry: data.entry?.id, lang: data.lang };
    this.element.dispatchEvent(new CustomEvent("answered", { detail: data, bubbles: true }));
  }

  /** @param {StartedData} data */
  #showStarted(data) {
    const card = this.#addCard(data);
    card.showStarted(data);
    this.announce(words.measuring + data.title);
  }

  /** The numbers of the whole answer; where the user has run something anew, theirs stay. @param {DoneData} data */
  #showNumbers(data) {
    if ([...this.#cards.values()].some((card) => card.runner.hasRun)) return;
    if (!isPredicting()) completeText(part(this.reply, "prose"), data.answer_html);
    addCopyButtons(this.reply);
    part(this.reply, "comparisons").innerHTML = data.comparison_html;
  }

  /** Once nothing is left to guess, the text may be read. */
  #uncoverText() {
    const fold = findPart(this.reply, "covered-text");
    if (fold && this.#complete && !this.reply.querySelector("[data-covered]")) fold.open = true;
  }

  /** An experiment that the entry does not have, run beside a comparison, goes on as on its own page. @param {StartedData} data */
  #addCard({ id, title, compared, experiment, alone }) {
    const element = document.createElement("section");
    element.className = "card";
    element.dataset.part = "card";
    element.dataset.block = alone ? experiment : id;
    element.id = `${this.element.id}-${id}`;
    part(this.reply, "cards").append(element);
    const subject = alone ? { experiment, lang: this.#subject.lang } : this.#subject;
    const card = new Card(element, subject, (numbers) => fillNumbers(this.reply, numbers), this.announce);
    this.#cards.set(id, card);
    const strip = findPart(this.reply, "strip");
    const differences = Object.entries(compared ?? {}).map(([name, value]) => `${name}=${value}`);
    if (strip) addToStrip(strip, card, [...differences, title].join(" "));
    return card;
  }

  /** @param {Error | null} problem */
  #showTrouble(problem) {
    const trouble = part(this.element, "trouble");
    trouble.hidden = !problem;
    part(trouble, "trouble-message").textContent = problem?.message ?? "";
    if (!problem) return;
    this.announce(problem.message);
    trouble.scrollIntoView({ block: "nearest" });
  }
}
