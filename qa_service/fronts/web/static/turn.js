// One question and its answer: text at once, then a card for each experiment.
import { Card } from "./card.js";
import { dress } from "./copy.js";
import { complete, fill } from "./fill.js";
import { fold } from "./predict.js";
import { events } from "./stream.js";
import { follow } from "./strip.js";
import { words } from "./words.js";

const predicting = () => "predict" in document.documentElement.dataset;

export class Turn {
  constructor(question, request, say) {
    this.element = document.getElementById("turn").content.firstElementChild.cloneNode(true);
    Object.assign(this, { question, request, say, cards: new Map(), context: null });
    this.element.querySelector(".asked").textContent = question;
    this.element.addEventListener("uncovered", () => this.#tell());
    const again = () => this.element.dispatchEvent(new CustomEvent("retry"));
    this.element.querySelector(".trouble button").addEventListener("click", again);
  }

  /** Asks and shows what comes; resolves to the answer, or to null when there is none. */
  async ask() {
    this.asking?.abort();
    const asking = (this.asking = new AbortController());
    this.#trouble(null);
    this.say(words.looking);
    let answer = null;
    try {
      for await (const [name, data] of events(this.request, asking.signal)) {
        if (asking.signal.aborted) return null;
        if (name === "answer") this.#answered((answer = data));
        else this.#event(name, data);
        if (name === "done") answer = data; // now with its numbers
      }
      this.done = true;
      this.#tell();
      this.say(words.finished);
    } catch (problem) {
      if (asking.signal.aborted) this.say(words.stopped);
      else this.#trouble(problem);
      for (const card of this.cards.values()) if (!card.running) card.stop();
    }
    return answer;
  }

  stop() {
    this.asking?.abort();
    for (const card of this.cards.values()) card.stop();
  }

  #answered(data) {
    this.reply = this.element.querySelector(".reply");
    this.reply.innerHTML = data.html;
    dress(this.reply);
    this.cards.clear();
    this.done = false;
    const text = this.reply.querySelector(".prose");
    if (predicting() && data.entry && text) fold(text);
    if (!this.request.question && data.entry) {
      this.question = data.entry.question;
      this.element.querySelector(".asked").textContent = this.question;
    }
    this.context = data.context;
    this.about = { entry: data.entry?.id, lang: data.lang };
    this.element.dispatchEvent(new CustomEvent("answered", { detail: data, bubbles: true }));
  }

  #event(name, data) {
    const card = this.cards.get(data.id);
    if (name === "started") {
      this.#card(data).started(data);
      this.say(words.measuring + data.title);
    } else if (name === "row") {
      if (!card.running) card.row(data);
    } else if (name === "queued") {
      if (!card.running) card.queued(data);
    } else if (name === "evidence") {
      if (!card.running) card.finished(data);
    } else if (name === "done" && ![...this.cards.values()].some((each) => each.reran)) {
      if (!predicting()) complete(this.reply.querySelector(".prose"), data.answer_html);
      dress(this.reply);
      this.reply.querySelector(".comparisons").innerHTML = data.comparison_html;
    }
  }

  /** Once nothing is left to guess, the text may be read. */
  #tell() {
    const told = this.reply?.querySelector(".told");
    if (told && this.done && !this.reply.querySelector(".covered")) told.open = true;
  }

  /** An experiment that the entry does not have, run beside a comparison, goes on as on its own page. */
  #card({ id: block, title, compared, experiment, alone }) {
    const element = document.createElement("section");
    element.className = "card";
    element.dataset.block = alone ? experiment : block;
    this.reply.querySelector(".cards").append(element);
    const about = alone ? { experiment, lang: this.about.lang } : this.about;
    const card = new Card(element, about, (numbers) => fill(this.reply, numbers), this.say);
    this.cards.set(block, card);
    element.id = `${this.element.id}-${block}`;
    const row = this.reply.querySelector(".strip");
    const differs = Object.entries(compared ?? {}).map(([name, value]) => `${name}=${value}`);
    if (row) follow(row, card, [...differs, title].join(" "));
    return card;
  }

  #trouble(problem) {
    const trouble = this.element.querySelector(".trouble");
    trouble.hidden = !problem;
    trouble.querySelector("span").textContent = problem?.message ?? "";
    if (problem) {
      this.say(problem.message);
      trouble.scrollIntoView({ block: "nearest" });
    }
  }
}
