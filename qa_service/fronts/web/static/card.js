// One evidence card: running, finished, and run again with other parameters.
import { draw, forget } from "./chart.js";
import * as controls from "./controls.js";
import { events } from "./stream.js";
import { words } from "./words.js";

export class Card {
  /** `about` is {entry, lang}; `measured(numbers)` is told what fills the text; `say(sentence)` speaks the status. */
  constructor(element, about, measured, say) {
    Object.assign(this, { element, about, measured, say, running: null, reran: false, rows: 0 });
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    element.addEventListener("click", (event) => this.#clicked(event));
  }

  get form() {
    return this.element.querySelector("form");
  }

  /** A run of the whole answer has come to this card; a reader's own run comes before it. */
  started(data) {
    if (this.running) return;
    this.element.innerHTML = data.html;
    this.rows = 0;
  }

  row() {
    const count = this.element.querySelector(".state .count");
    this.rows += 1;
    if (count) count.textContent = ` · ${words.row.replace("{}", this.rows)}`;
  }

  finished(data) {
    const keep = this.element.contains(document.activeElement);
    const reserved = this.element.querySelector(".chart")?.offsetHeight;
    this.element.classList.remove("busy");
    this.element.innerHTML = data.html;
    forget();
    const place = this.element.querySelector(".chart");
    if (reserved) place.style.minHeight = `${reserved}px`;
    if (data.rows.length > (data.status === "ran" ? 0 : 1)) draw(place, data.chart);
    else place.remove();
    if (keep) this.element.querySelector(".run").focus({ preventScroll: true });
    if (!this.element.dataset.block.includes("~")) this.measured(data.shown);
  }

  /** Runs this card's experiment with what its form says; replaces the run it is in. */
  async run(more = {}) {
    this.running?.abort();
    this.reran = true;
    const running = (this.running = new AbortController());
    const [block] = this.element.dataset.block.split("~"); // of a comparison each run is a card of its own
    const request = { question: "", ...this.about, ...controls.read(this.form), blocks: [block], ...more };
    let table = "";
    controls.refuse(this.form, null);
    this.#busy(true);
    try {
      for await (const [name, data] of events(request, running.signal)) {
        if (running.signal.aborted) return;
        if (name === "started") this.say(words.measuring + data.title);
        if (name === "row") this.row();
        if (name === "evidence" && data.id === block) this.finished(data); // of a comparison the card shows the first
        if (name === "done") table = data.comparison_html;
      }
      this.element.querySelector(".comparisons")?.insertAdjacentHTML("beforeend", table);
      this.say(words.finished);
    } catch (problem) {
      if (running.signal.aborted) return;
      controls.refuse(this.form, problem);
      this.say(problem.message);
    } finally {
      if (this.running === running) {
        this.running = null;
        this.#busy(false);
      }
    }
  }

  /** The answer's stream has stopped; a card without evidence waits for its own run. */
  stop() {
    this.running?.abort();
    this.#busy(false);
    const state = this.element.querySelector(".state.running");
    if (state) state.textContent = words.stopped;
  }

  #busy(busy) {
    this.rows = 0;
    this.element.classList.toggle("busy", busy);
    const progress = this.element.querySelector("progress");
    progress.hidden = !busy;
    progress.removeAttribute("value");
    const state = this.element.querySelector(".state");
    if (busy && !this.before) {
      this.before = { state, now: state.cloneNode() };
      this.before.now.className = "state running";
      this.before.now.innerHTML = "<span></span><span class=count></span>";
      this.before.now.firstChild.textContent = words.running;
      state.replaceWith(this.before.now);
    } else if (!busy && this.before) {
      if (this.before.now.isConnected) this.before.now.replaceWith(this.before.state);
      this.before = null;
    }
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (button?.matches(".die")) controls.roll(this.form);
    if (button?.matches(".restore")) controls.restore(this.form);
    if (button?.matches(".die, .restore")) this.run();
    if (button?.matches(".many")) this.run({ seeds: 20 });
  }
}

/** Fills the numbers that were measured into the text around the cards. */
export function fill(article, numbers) {
  for (const span of article.querySelectorAll("[data-of]")) {
    if (!(span.dataset.of in numbers)) continue;
    span.textContent = numbers[span.dataset.of];
    span.classList.remove("waiting");
  }
}
