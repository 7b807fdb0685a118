// One question and its answer: text at once, then a card for each experiment.
import { Card } from "./card.js";
import { addCopyButtons } from "./copy.js";
import { completeTexts, fillNumbers, markPrevious, numbersIn } from "./fill.js";
import { enclosingPart, findPart, part } from "./parts.js";
import { coverText, isPredicting, uncoverText } from "./predict.js";
import { requestEvents } from "./stream.js";
import { showOutcomes } from "./outcome.js";
import { words } from "./words.js";
/** @import { AnswerData, AskRequest, DoneData, ServerEvent, StartedData, Subject, Value } from "./types.js" */

const LONG_QUESTION = 240; // characters

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
  /** Whether it answers with values of formulas, which have no cards. */
  #calculates = false;
  /** What has come so far, to be shown again after a reload. @type {ServerEvent[]} */
  #events = [];
  /** The parts of the text, with all numbers. @type {Record<string, string>} */
  #parts = {};
  /** The numbers of the short answer that this one is to be compared with. @type {Record<string, string>} */
  #previousNumbers = {};
  /** The turn before it in the conversation. @type {Turn | null} */
  previous = null;
  /** Where it stands in the browser's history. */
  address = "";
  /** What tells it from a turn that asks something else. */
  key = "";
  /** What its address says once it is answered. @type {Record<string, string> | null} */
  asked = null;

  /**
   * @param {string} question as the user sees it
   * @param {AskRequest} request
   * @param {(sentence: string) => void} announce says a sentence in the page's status
   */
  constructor(question, request, announce) {
    this.element = /** @type {HTMLElement} */ (part(document, "turn-template").content.firstElementChild?.cloneNode(true));
    this.question = question;
    this.request = request;
    this.announce = announce;
    this.#showQuestion();
    this.element.addEventListener("uncovered", () => this.#uncoverText());
    this.element.addEventListener("click", (event) => this.#handleClick(event));
    part(this.element, "retry").addEventListener("click", () => this.element.dispatchEvent(new CustomEvent("retry")));
  }

  /** What has come, without the rows of unfinished runs. */
  get events() {
    return this.#events;
  }

  /** The entry that answers, "" before it is known or where none does. */
  get entry() {
    return this.#subject.entry ?? "";
  }

  /** The aspect of the entry that answers, "" where it is its own question. */
  get aspect() {
    return this.#subject.aspect ?? "";
  }

  /** What was read from the question and an experiment of the answer has, for the address: "p.n": "100". */
  get readParameters() {
    /** @type {Record<string, string>} */
    const named = {};
    const answer = this.#events.find((event) => event[0] === "answer");
    for (const [name, value] of Object.entries(answer?.[0] === "answer" ? answer[1].params : {})) {
      const isUsed = this.#events.some((event) => event[0] === "started" && !event[1].alone && name in event[1].params);
      if (isUsed && !Array.isArray(value)) named[`p.${name}`] = String(value);
    }
    return named;
  }

  /** What the reader has changed on the card of the proof since the answer came; null where nothing was run there.
   * @returns {{ params: Record<string, Value>, seed: number } | null} */
  get changed() {
    const now = this.hero?.runner.hasRun ? this.hero.evidence : null;
    if (!now) return null;
    const begun = this.#events.find((event) => event[0] === "started" && event[1].hero);
    const before = begun?.[0] === "started" ? begun[1].params : {};
    const params = Object.fromEntries(Object.entries(now.params).filter(([name, value]) => value !== before[name]));
    return { params, seed: now.seed };
  }

  /** The card with the proof of the short answer. @returns {Card | undefined} */
  get hero() {
    return [...this.#cards.values()].find((card) => card.isHero);
  }

  /** Shows what came earlier. @param {ServerEvent[]} events */
  replay(events) {
    for (const event of events) this.#show(event);
    this.#complete = true;
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
      this.element.dispatchEvent(new CustomEvent("complete", { bubbles: true }));
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
    if (name === "answer") this.#events = [];
    if (name !== "row" && name !== "queued") this.#events.push(/** @type {ServerEvent} */ ([name, data]));
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
    const log = findPart(this.reply, "diagnosed-log");
    if (log) log.value = this.question;
    this.#cards.clear();
    this.#complete = false;
    if (isPredicting() && data.entry) coverText(this.reply);
    if (!this.request.question && data.entry) this.question = data.entry.question;
    this.#showQuestion(data.log);
    this.#subject = { entry: data.entry?.id, ...(data.entry?.aspect && { aspect: data.entry.aspect }), lang: data.lang };
    this.#calculates = data.calculation !== null;
    this.#previousNumbers = this.entry && this.previous?.entry === this.entry ? numbersIn(this.previous.reply) : {};
    this.element.dispatchEvent(new CustomEvent("answered", { detail: data, bubbles: true }));
  }

  /** @param {StartedData} data */
  #showStarted(data) {
    if (!this.#calculates) this.#addCard(data).showStarted(data);
    this.announce(words.measuring + data.title);
  }

  /** The numbers of the whole answer; where the user has run something anew, theirs stay. @param {DoneData} data */
  #showNumbers(data) {
    if ([...this.#cards.values()].some((card) => card.runner.hasRun)) return;
    if (!data.entry && !data.calculation) return;
    this.#parts = data.parts_html;
    if (!("untold" in this.reply.dataset)) this.#completeTexts();
    part(this.reply, "compared-runs").innerHTML = data.comparison_html;
  }

  /** Once nothing is left to guess, the text may be read. */
  #uncoverText() {
    if (!("untold" in this.reply.dataset) || !this.#complete || this.reply.querySelector("[data-covered]")) return;
    uncoverText(this.reply);
    this.#completeTexts();
  }

  #completeTexts() {
    completeTexts(this.reply, this.#parts);
    markPrevious(this.reply, this.#previousNumbers);
    addCopyButtons(this.reply);
  }

  /** An experiment that the entry does not have, run beside a comparison, goes on as on its own page. @param {StartedData} data */
  #addCard({ id, experiment, alone, hero }) {
    const element = document.createElement("section");
    element.className = "card";
    element.dataset.part = "card";
    element.dataset.block = alone ? experiment : id;
    element.id = `${this.element.id}-${id}`;
    element.tabIndex = -1;
    if (alone) element.dataset.open = "";
    if (!hero) part(this.reply, "more-evidence").hidden = false;
    part(this.reply, hero ? "hero" : "cards").append(element);
    const subject = alone ? { experiment, lang: this.#subject.lang } : this.#subject;
    const card = new Card(element, subject, (numbers) => this.#takeNumbers(numbers), this.announce);
    if (hero) card.showBehind(this.previous?.entry === this.entry && this.previous.aspect === this.aspect ? this.previous.hero : undefined);
    this.#cards.set(id, card);
    element.addEventListener("measured", () => this.#showOutcomes());
    return card;
  }

  /** @param {Record<string, string>} numbers */
  #takeNumbers(numbers) {
    fillNumbers(this.reply, numbers);
    markPrevious(this.reply, this.#previousNumbers);
  }

  #showOutcomes() {
    const others = [...this.#cards.values()].filter((card) => !card.isHero);
    if (others.length) showOutcomes(part(this.reply, "more-outcome"), others);
    const outcome = this.hero?.outcomeHtml;
    if (outcome) part(this.reply, "outcome").innerHTML = outcome;
  }

  /** A long question or a log is shown in short, and whole when its fold is opened. @param {string} [log] a log in one line */
  #showQuestion(log = "") {
    const place = part(this.element, "asked");
    const isLong = log !== "" || this.question.includes("\n") || this.question.length > LONG_QUESTION;
    place.textContent = log || this.question;
    part(this.element, "whole").hidden = !isLong;
    part(this.element, "whole-text").textContent = isLong ? this.question : "";
  }

  /** @param {Event} event */
  #handleClick({ target }) {
    if (enclosingPart(target, "change")) this.hero?.open();
    if (enclosingPart(target, "restore-own")) this.hero?.restore();
    const struck = enclosingPart(target, "strike")?.dataset.without;
    if (!struck) return;
    this.request = { ...this.request, without: [...(this.request.without ?? []), struck] };
    this.element.dispatchEvent(new CustomEvent("retry"));
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
