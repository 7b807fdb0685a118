// One evidence card: running, finished, and run again with other parameters.
import { picture } from "./bits.js";
import { draw, forget, image } from "./chart.js";
import * as controls from "./controls.js";
import { guess } from "./predict.js";
import { csv, save } from "./save.js";
import { put } from "./renew.js";
import * as sliders from "./slider.js";
import { events } from "./stream.js";
import { words } from "./words.js";

const PATIENCE = 350; // milliseconds without a change before the experiment runs again
const REDRAW = 400; // milliseconds between two drawings of a chart that grows

export class Card {
  /** `about` is {entry, lang}; `measured(numbers)` is told what fills the text; `say(sentence)` speaks the status. */
  constructor(element, about, measured, say) {
    Object.assign(this, { element, about, measured, say, running: null, reran: false, rows: [], drawnAt: 0, data: null });
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("input", (event) => this.#changed(event));
    element.addEventListener("moved", (event) => this.#changed(event));
    element.addEventListener("keydown", (event) => event.target.type === "range" && sliders.pressed(event));
    sliders.follow(this.form ?? element);
  }

  get form() {
    return this.element.querySelector("form");
  }

  /** A run of the whole answer has come to this card; a reader's own run comes before it. */
  started(data) {
    if (this.running) return;
    put(this.element, data.html);
    this.#begin(data);
    sliders.follow(this.form);
  }

  /** One row more: its figures tick beside the progress bar, and the chart grows. */
  row(data) {
    const count = this.element.querySelector(".state .count");
    this.rows.push(data.row);
    const at = words.row.replace("{}", this.rows.length);
    if (count) count.textContent = ` · ${at}`;
    this.#tell(at);
    const ticker = this.element.querySelector(".ticker");
    if (ticker) ticker.textContent = " · " + Object.entries(data.shown).map(([name, value]) => `${this.columns?.[name] ?? name} ${this.named?.[value] ?? value}`).join(" · ");
    const place = this.element.querySelector(".chart");
    if (!place || !this.spec || performance.now() - this.drawnAt < REDRAW || "predict" in document.documentElement.dataset) return;
    this.drawnAt = performance.now();
    draw(place, { ...this.spec, data: { values: this.rows.map(plottable) } });
  }

  /** It must wait: how many are before it. */
  queued(data) {
    const state = this.element.querySelector(".state");
    if (state) state.firstChild.textContent = words.queued.replace("{}", data.before);
  }

  async finished(data) {
    const reserved = this.element.querySelector(".chart")?.offsetHeight;
    this.element.classList.remove("busy");
    put(this.element, data.html);
    forget();
    this.#link();
    const place = this.element.querySelector(".chart");
    if (reserved) place.style.minHeight = `${reserved}px`;
    this.data = data;
    this.before = null;
    sliders.follow(this.form);
    picture(this.element);
    if ("predict" in document.documentElement.dataset && data.status === "ran") await guess(this.element, data);
    if (this.data !== data) return; // run again meanwhile
    if (data.rows.length > (data.status === "ran" ? 0 : 1)) draw(place, data.chart);
    else place.remove();
    if (!this.element.dataset.block.includes("~")) this.measured(data.shown);
    this.element.dispatchEvent(new CustomEvent("measured", { bubbles: true }));
  }

  /** Runs this card's experiment with what its form says; replaces the run it is in. */
  async run(more = {}) {
    clearTimeout(this.resting); // what it rested for is in this run
    this.running?.abort();
    this.reran = true;
    const running = (this.running = new AbortController());
    const [block] = this.element.dataset.block.split("~"); // of a comparison each run is a card of its own
    const { params, seed, compare } = controls.read(this.form);
    this.beside = { ...(compare.length && { compare }), ...more };
    const whole = this.about.entry ? { question: "", compare, blocks: [block], ...more } : {};
    const request = { ...this.about, params, seed, ...whole };
    let table = "";
    controls.refuse(this.form, null);
    this.#busy(true);
    try {
      for await (const [name, data] of events(request, running.signal)) {
        if (running.signal.aborted) return;
        if (name === "done") table = data.comparison_html;
        if (data.id !== block) continue; // of a comparison the card shows the first
        if (name === "started") {
          this.say(words.measuring + data.title);
          this.#begin(data);
        }
        if (name === "queued") this.queued(data);
        if (name === "row") this.row(data);
        if (name === "evidence") this.finished(data);
      }
      this.element.querySelector(".comparisons")?.insertAdjacentHTML("beforeend", table);
      this.say(words.finished);
    } catch (problem) {
      if (running.signal.aborted) return;
      controls.refuse(this.form, problem);
      if (this.before?.state.matches(".running")) this.before.state.textContent = words.stopped; // it never ran
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
    if (!state) return;
    state.textContent = words.stopped;
    this.element.dispatchEvent(new CustomEvent("stopped", { detail: words.stopped }));
  }

  /** The link to these parameters holds what ran beside them. */
  #link() {
    const link = this.element.querySelector(".take-away a");
    const search = new URLSearchParams(link.search);
    for (const [name, value] of Object.entries(this.beside ?? {})) search.set(name, value);
    link.search = search;
  }

  #begin(data) {
    Object.assign(this, { rows: [], drawnAt: performance.now(), spec: data.chart, columns: data.columns, named: data.words });
    this.#tell(words.running);
  }

  /** Tells the row above the text how far it is. */
  #tell(detail) {
    this.element.dispatchEvent(new CustomEvent("progress", { bubbles: true, detail }));
  }

  /** A control has moved: the experiment runs again once it rests; what is half typed runs nothing. */
  #changed({ target, type }) {
    if (!target.closest(".controls")) return;
    if (type === "moved") sliders.follow(this.form);
    else if (target.type === "range") sliders.moved(target);
    else sliders.follow(this.form);
    clearTimeout(this.resting);
    if (document.documentElement.classList.contains("live") && this.form.checkValidity()) {
      this.resting = setTimeout(() => this.run(), PATIENCE);
    }
  }

  #busy(busy) {
    this.element.classList.toggle("busy", busy);
    const progress = this.element.querySelector("progress");
    progress.hidden = !busy;
    progress.removeAttribute("value");
    const state = this.element.querySelector(".state");
    if (busy && !this.before) {
      this.before = { state, now: state.cloneNode() };
      this.before.now.className = "state running";
      this.before.now.innerHTML = "<span></span><span class=count></span><span class=ticker aria-hidden=true></span>";
      this.before.now.firstChild.textContent = words.running;
      state.replaceWith(this.before.now);
    } else if (!busy && this.before) {
      if (this.before.now.isConnected) this.before.now.replaceWith(this.before.state);
      this.before = null;
    }
  }

  async #save(as) {
    const name = `${this.data.experiment}.${as}`;
    if (as === "csv") save(name, csv(this.data.rows), "text/csv");
    else {
      const picture = await image(this.element.querySelector(".chart"), as);
      if (picture) save(name, picture);
      else this.say(words.chart_later);
    }
  }

  #clicked(event) {
    const button = event.target.closest("button");
    if (button?.matches("[data-save]")) this.#save(button.dataset.save);
    if (button?.matches(".die")) controls.roll(this.form);
    if (button?.matches(".restore")) controls.restore(this.form);
    if (button?.matches(".die, .restore")) this.run();
    if (button?.matches(".many")) this.run({ seeds: 20 });
  }
}

/** A row as a chart can take it: inf and nan, which come as words, have no place on an axis yet. */
function plottable(row) {
  const unplottable = (value) => ["Infinity", "-Infinity", "NaN"].includes(value);
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, unplottable(value) ? null : value]));
}
