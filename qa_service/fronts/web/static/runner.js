// Runs an experiment on the server and reports its events; knows nothing of the page's elements.
import { requestEvents } from "./stream.js";
/** @import { AskRequest, EvidenceData, QueuedData, RowData, ServerEvent, StartedData, Subject, Value } from "./types.js" */

/** What a run is asked with. @typedef {{ params: Record<string, Value>, seed: number, compare: string[] }} RunSettings */

/**
 * Who is told about a run.
 * @typedef {object} RunObserver
 * @property {() => void} requested a run was asked for; it replaces the one before
 * @property {(data: StartedData) => void} started
 * @property {(data: QueuedData) => void} queued
 * @property {(data: RowData) => void} row
 * @property {(data: EvidenceData) => void} evidence
 * @property {(comparisonHtml: string) => void} complete
 * @property {(problem: Error) => void} failed
 * @property {() => void} ended the run is over, however it went, and no other has replaced it
 */

export class ExperimentRunner {
  /** @type {AbortController | null} */
  #running = null;
  /** Whether a run was ever asked for. */
  hasRun = false;
  /** What the latest run was asked with beyond parameters and seed. @type {{ compare?: string[], seeds?: number }} */
  extras = {};

  /**
   * @param {Subject} subject
   * @param {string} block the block of evidence whose experiment is run; a further run of a comparison has the block's own
   * @param {RunObserver} observer
   */
  constructor(subject, block, observer) {
    this.subject = subject;
    this.block = block.split("~")[0];
    this.observer = observer;
  }

  get isRunning() {
    return this.#running !== null;
  }

  abort() {
    this.#running?.abort();
  }

  /**
   * Runs the experiment; replaces the run that it is in.
   * @param {RunSettings} settings
   * @param {{ seeds?: number }} [extras]
   */
  async run({ params, seed, compare }, extras = {}) {
    this.abort();
    const running = (this.#running = new AbortController());
    this.hasRun = true;
    this.extras = { ...(compare.length && { compare }), ...extras };
    const ofEntry = this.subject.entry ? { question: "", compare, blocks: [this.block], ...extras } : {};
    this.observer.requested();
    try {
      const comparisonHtml = await this.#follow({ ...this.subject, params, seed, ...ofEntry }, running.signal);
      if (!running.signal.aborted) this.observer.complete(comparisonHtml);
    } catch (error) {
      if (!running.signal.aborted) this.observer.failed(/** @type {Error} */ (error));
    } finally {
      if (this.#running === running) {
        this.#running = null;
        this.observer.ended();
      }
    }
  }

  /** Reports the events of a run; returns the table of a comparison. @param {AskRequest} request @param {AbortSignal} signal */
  async #follow(request, signal) {
    let comparisonHtml = "";
    for await (const event of requestEvents(request, signal)) {
      if (signal.aborted) break;
      if (event[0] === "done") comparisonHtml = event[1].comparison_html;
      else if ("id" in event[1] && event[1].id === this.block) this.#report(event); // of a comparison, the first run
    }
    return comparisonHtml;
  }

  /** @param {ServerEvent} event */
  #report([name, data]) {
    if (name === "started") this.observer.started(data);
    else if (name === "queued") this.observer.queued(data);
    else if (name === "row") this.observer.row(data);
    else if (name === "evidence") this.observer.evidence(data);
  }
}
