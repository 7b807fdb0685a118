// The view of one evidence card: its form, its state, its chart and its verdicts, in a run of its own or of a whole answer.
import { showBits } from "./bits.js";
import { replaceContent } from "./card_content.js";
import { chartPicture, discardRemovedCharts, drawChart } from "./chart.js";
import * as controls from "./controls.js";
import { hasSameData, withBehind } from "./behind.js";
import { allParts, enclosingPart, findPart, part } from "./parts.js";
import { rememberEvidence } from "./numbers.js";
import { askForGuess, isPredicting } from "./predict.js";
import { plottableRow, toCsv } from "./rows.js";
import { ExperimentRunner } from "./runner.js";
import { downloadFile } from "./save.js";
import { moveByKey, placeSliders, writeNumber } from "./slider.js";
import { words } from "./words.js";
/** @import { ChartSpec, EvidenceData, QueuedData, Row, RowData, StartedData, Subject } from "./types.js" */

const INPUT_DELAY = 350; // milliseconds without a change before the experiment runs again
const REDRAW_INTERVAL = 400; // milliseconds between two drawings of a chart that grows

/**
 * Dispatches, on its element: `progress` (detail: how far it is, in words), `measured`, and `stopped` (detail: words).
 */
export class Card {
  /** The rows of the run so far. @type {Row[]} */
  #rows = [];
  #drawnAt = 0;
  /** The chart of the run, without data. @type {ChartSpec | null} */
  #spec = null;
  /** Titles of columns. @type {Record<string, string>} */
  #columns = {};
  /** What rows say as words, in the page's language. @type {Record<string, string>} */
  #valueWords = {};
  /** How the latest run ended. @type {EvidenceData | null} */
  #evidence = null;
  /** The state before a run of the card's own, and the one shown meanwhile. @type {{ previous: HTMLElement, running: HTMLElement } | null} */
  #states = null;
  /** The chart of the run before this one, which is drawn behind it. @type {ChartSpec | null} */
  #behind = null;
  /** What was shown when a run of the card's own began. @type {{ chart: ChartSpec, behind: ChartSpec | null } | null} */
  #before = null;
  /** @type {number | undefined} */
  #inputTimer;

  /**
   * @param {HTMLElement} element
   * @param {Subject} subject
   * @param {(numbers: Record<string, string>) => void} onMeasured is given the numbers for the text
   * @param {(sentence: string) => void} announce says a sentence in the page's status
   */
  constructor(element, subject, onMeasured, announce) {
    this.element = element;
    this.onMeasured = onMeasured;
    this.announce = announce;
    this.runner = new ExperimentRunner(subject, element.dataset.block ?? "", {
      requested: () => this.#showRequested(),
      started: (data) => {
        this.announce(words.measuring + data.title);
        this.#beginRows(data);
      },
      queued: (data) => this.showQueued(data),
      row: (data) => this.showRow(data),
      evidence: (data) => this.showEvidence(data),
      complete: (comparisonHtml) => this.#showComparison(comparisonHtml),
      failed: (problem) => this.#showProblem(problem),
      ended: () => this.#setBusy(false),
    });
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      this.run();
    });
    element.addEventListener("click", (event) => this.#handleClick(event));
    element.addEventListener("input", (event) => this.#handleInput(event));
    element.addEventListener("slidermoved", (event) => this.#handleInput(event));
    element.addEventListener("keydown", (event) => {
      if (/** @type {HTMLInputElement} */ (event.target).type === "range") moveByKey(event);
    });
    const form = findPart(element, "controls");
    if (form) placeSliders(form);
  }

  /** Whether it is the proof of the short answer. */
  get isHero() {
    return enclosingPart(this.element, "hero") !== null;
  }

  /** The line with the verdicts on the short answer, where this is its proof. */
  get outcomeHtml() {
    return this.#evidence?.outcome_html ?? "";
  }

  /** How the latest run ended, null before the first has. */
  get evidence() {
    return this.#evidence;
  }

  /** Draws the chart of another card, of the same entry's answer before, behind its own. @param {Card | undefined} card */
  showBehind(card) {
    this.#behind = card?.evidence?.chart ?? null;
  }

  /** Shows everything that is folded: all parameters, seeds, data, receipt. */
  open() {
    this.element.dataset.open = "";
    findPart(this.element, "more")?.setAttribute("aria-expanded", "true");
    this.element.scrollIntoView({ block: "nearest" });
    placeSliders(this.form);
    /** @type {HTMLElement | null} */ (this.form.querySelector("input, select"))?.focus({ preventScroll: true });
  }

  /** Runs with the entry's own parameters again. */
  restore() {
    controls.restoreDefaults(this.form);
    return this.run();
  }

  get form() {
    return part(this.element, "controls");
  }

  /** Runs this card's experiment with what its form says. @param {{ seeds?: number }} [extras] */
  run(extras) {
    clearTimeout(this.#inputTimer); // the change that it waited for is in this run
    if (this.#evidence?.status === "ran") this.#before = { chart: this.#evidence.chart, behind: this.#behind };
    return this.runner.run(controls.readControls(this.form), extras);
  }

  /** A run of the whole answer has begun. @param {StartedData} data */
  showStarted(data) {
    replaceContent(this.element, data.html);
    this.#beginRows(data);
    placeSliders(this.form);
  }

  /** The run waits for others. @param {QueuedData} data */
  showQueued(data) {
    const text = findPart(this.element, "state")?.firstChild;
    if (text) text.textContent = words.queued.replace("{}", String(data.before));
  }

  /** One row more: its values are shown beside the state, and the chart grows. @param {RowData} data */
  showRow(data) {
    this.#rows.push(data.row);
    const progress = words.row.replace("{}", String(this.#rows.length));
    const count = findPart(this.element, "row-count");
    if (count) count.textContent = ` · ${progress}`;
    this.#dispatch("progress", progress);
    const ticker = findPart(this.element, "ticker");
    if (ticker) ticker.textContent = ` · ${this.#rowInWords(data.shown)}`;
    const chart = findPart(this.element, "chart");
    if (!chart || !this.#spec || performance.now() - this.#drawnAt < REDRAW_INTERVAL || isPredicting()) return;
    this.#drawnAt = performance.now();
    drawChart(chart, { ...this.#spec, data: { values: this.#rows.map(plottableRow) } });
  }

  /** A run has ended: verdicts, numbers and the whole chart. @param {EvidenceData} data */
  async showEvidence(data) {
    const reservedHeight = findPart(this.element, "chart")?.offsetHeight;
    this.element.classList.remove("busy");
    replaceContent(this.element, data.html);
    discardRemovedCharts();
    this.#completePermalink();
    const chart = part(this.element, "chart");
    if (reservedHeight) chart.style.minHeight = `${reservedHeight}px`;
    this.#evidence = data;
    if (this.#before) this.#behind = hasSameData(data.chart, this.#before.chart) ? this.#before.behind : this.#before.chart; // the same run once more
    this.#before = null;
    this.#states = null;
    findPart(this.element, "more")?.setAttribute("aria-expanded", String("open" in this.element.dataset));
    rememberEvidence(this.element, data);
    placeSliders(this.form);
    showBits(this.element);
    if (isPredicting() && data.status === "ran" && !enclosingPart(this.element, "more-evidence")) await askForGuess(this.element, data);
    if (this.#evidence !== data) return; // run again meanwhile
    if (data.rows.length > (data.status === "ran" ? 0 : 1)) drawChart(chart, this.#behind ? withBehind(data.chart, this.#behind) : data.chart);
    else chart.remove();
    if (!this.element.dataset.block?.includes("~")) this.onMeasured(data.shown); // the text has the first run's numbers
    this.#dispatch("measured");
  }

  /** Stops what runs here; a card that was still waiting for its evidence says so. */
  stop() {
    this.runner.abort();
    this.#setBusy(false);
    const state = part(this.element, "state");
    if (state.dataset.state !== "running") return;
    markStopped(state);
    this.#dispatch("stopped", words.stopped);
  }

  /** @param {StartedData} data */
  #beginRows(data) {
    this.#rows = [];
    this.#drawnAt = performance.now();
    this.#spec = data.chart;
    this.#columns = data.columns;
    this.#valueWords = data.words;
    this.#dispatch("progress", words.running);
  }

  /** @param {Record<string, string>} shown */
  #rowInWords(shown) {
    const cells = Object.entries(shown).map(([name, value]) => `${this.#columns[name] ?? name} ${this.#valueWords[value] ?? value}`);
    return cells.join(" · ");
  }

  /** The link to these parameters holds what ran beside them. */
  #completePermalink() {
    const link = part(this.element, "permalink");
    const search = new URLSearchParams(link.search);
    for (const [name, value] of Object.entries(this.runner.extras)) search.set(name, String(value));
    link.search = String(search);
  }

  #showRequested() {
    controls.showRefusal(this.form, null);
    this.#setBusy(true);
  }

  /** @param {string} html */
  #showComparison(html) {
    findPart(this.element, "comparisons")?.insertAdjacentHTML("beforeend", html);
    this.announce(words.finished);
  }

  /** @param {Error} problem */
  #showProblem(problem) {
    controls.showRefusal(this.form, problem);
    if (this.#states?.previous.dataset.state === "running") markStopped(this.#states.previous); // it never ran
    this.announce(problem.message);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    this.element.classList.toggle("busy", busy);
    const progress = /** @type {HTMLProgressElement} */ (this.element.querySelector("progress"));
    progress.hidden = !busy;
    progress.removeAttribute("value");
    if (busy) this.#showRunningState();
    else this.#restoreState();
  }

  /** Puts a state "running" in the place of the one that says how the last run ended. */
  #showRunningState() {
    if (this.#states) return;
    const previous = part(this.element, "state");
    const running = /** @type {HTMLElement} */ (previous.cloneNode());
    running.className = "state running";
    running.dataset.state = "running";
    running.innerHTML = '<span></span><span class="count" data-part="row-count"></span><span class="ticker" data-part="ticker" aria-hidden="true"></span>';
    /** @type {Element} */ (running.firstChild).textContent = words.running;
    previous.replaceWith(running);
    this.#states = { previous, running };
  }

  #restoreState() {
    if (this.#states?.running.isConnected) this.#states.running.replaceWith(this.#states.previous);
    this.#states = null;
  }

  /** @param {string} name @param {string} [detail] */
  #dispatch(name, detail) {
    this.element.dispatchEvent(new CustomEvent(name, { bubbles: true, detail }));
  }

  /** A control was changed: the experiment runs again after a rest; what is half typed runs nothing. @param {Event} event */
  #handleInput({ target, type }) {
    if (!enclosingPart(target, "controls")) return;
    const input = /** @type {HTMLInputElement} */ (target);
    if (type === "input" && input.type === "range") writeNumber(input);
    else placeSliders(this.form);
    clearTimeout(this.#inputTimer);
    if (this.form.checkValidity()) this.#inputTimer = setTimeout(() => this.run(), INPUT_DELAY);
  }

  /** @param {Event} event */
  #handleClick({ target }) {
    const save = enclosingPart(target, "save");
    if (save) this.#save(save.dataset.format ?? "");
    const rolls = enclosingPart(target, "roll-seed") !== null;
    const restores = enclosingPart(target, "restore") !== null;
    if (rolls) controls.rollSeed(this.form);
    if (rolls) this.run();
    if (restores) this.restore();
    const more = enclosingPart(target, "more");
    if (more && this.element.toggleAttribute("data-open")) this.open();
    else more?.setAttribute("aria-expanded", "false");
    if (enclosingPart(target, "present")) this.#present();
    if (enclosingPart(target, "many-seeds")) this.run({ seeds: 20 });
  }

  async #present() {
    const { present } = await import("./present.js");
    if (this.#evidence) present(this.#evidence);
  }

  /** @param {string} format "csv", "svg" or "png" */
  async #save(format) {
    if (!this.#evidence) return;
    const name = `${this.#evidence.experiment}.${format}`;
    if (format === "csv") return downloadFile(name, toCsv(this.#evidence.rows), "text/csv");
    const picture = await chartPicture(part(this.element, "chart"), format);
    if (picture) downloadFile(name, picture);
    else this.announce(words.chart_later);
  }
}

/** @param {HTMLElement} state */
function markStopped(state) {
  state.textContent = words.stopped;
  state.dataset.state = "stopped";
}

/** The verdicts that a card shows: "holds", "fails", "unknown" or "elsewhere". @param {Card} card */
export function verdictsOf(card) {
  return allParts(card.element, "claim").map((claim) => claim.dataset.verdict ?? "");
}
