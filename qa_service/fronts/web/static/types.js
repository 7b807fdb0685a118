// Types only, for the checker of types and for readers: what the server sends, as the page uses it. No page loads this file.

/** A number of an experiment as JSON has it: "Infinity", "-Infinity" and "NaN" are words, null is "no such value".
 * @typedef {number | string | boolean | null} Value */

/** One row of measurements, by column. @typedef {Record<string, Value>} Row */

/** A Vega-Lite specification. @typedef {Record<string, any>} ChartSpec */

/** What a run belongs to: an entry, or an experiment by itself; and the language of what it says.
 * @typedef {{ entry?: string, aspect?: string, experiment?: string, lang: string }} Subject */

/** What is sent to the server: a question, or an entry or experiment with parameters.
 * @typedef {Partial<Subject> & { question?: string, context?: object, params?: Record<string, Value>, seed?: number,
 *   seeds?: number, compare?: string[], blocks?: string[], without?: string[] }} AskRequest */

/** `answer`: the text, before any evidence. `html` is the reply to insert.
 * @typedef {object} AnswerData
 * @property {string} answer the text as Markdown
 * @property {string} lang
 * @property {{ id: string, question: string, aspect?: string } | null} entry
 * @property {object | null} calculation the formulas that are computed, where they are the answer
 * @property {{ entry?: string | null, params?: object, seed?: number }} context what a follow-up question is asked with
 * @property {Record<string, Value | Value[]>} params what was read from the question
 * @property {string} log a pasted log in one line, "" if there is none
 * @property {string} html */

/** `done`: the answer again, now with its numbers.
 * `parts_html` has the HTML of each part of the text.
 * @typedef {AnswerData & { parts_html: Record<string, string>, comparison_html: string }} DoneData */

/** `started`: a run begins. `id` is its block, followed by `~` and a number for the further runs of a comparison.
 * @typedef {object} StartedData
 * @property {string} id
 * @property {string} title
 * @property {string} experiment
 * @property {Record<string, Value>} params
 * @property {Record<string, Value>} compared what sets this run apart from those beside it
 * @property {boolean} alone whether the experiment is not one of the entry's own
 * @property {boolean} hero whether it is the proof of the short answer
 * @property {string} html the inside of the card
 * @property {ChartSpec} chart the specification, without data
 * @property {Record<string, string>} columns titles by name
 * @property {Record<string, string>} words what rows say as words, in the page's language */

/** `queued`: the run waits for `before` others. @typedef {{ id: string, before: number }} QueuedData */

/** `row`: one row was measured; `shown` has its values in words. @typedef {{ id: string, row: Row, shown: Record<string, string> }} RowData */

/** `evidence`: a run has ended.
 * @typedef {object} EvidenceData
 * @property {string} id
 * @property {string} experiment
 * @property {string} status `ran`, or how it failed
 * @property {Row[]} rows
 * @property {ChartSpec} chart
 * @property {string} title
 * @property {Record<string, Value>} params
 * @property {number} seed
 * @property {{ metric: string, says: string, verdict: string }[]} claims
 * @property {Record<string, { title: string, shown: string, value: Value, unit: string }>} metrics
 * @property {string} outcome_html the line with the verdicts on the short answer, where this run is its proof
 * @property {Record<string, string>} shown numbers in words by "block.metric", for the text
 * @property {string} html the inside of the card */

/** A server-sent event as its name and its data.
 * @typedef {["answer", AnswerData] | ["started", StartedData] | ["queued", QueuedData] | ["row", RowData] |
 *   ["evidence", EvidenceData] | ["done", DoneData] | ["error", { detail: string, field?: string }]} ServerEvent */

/** The parts that are not just any element.
 * @typedef {{ controls: HTMLFormElement, "log-form": HTMLFormElement, "diagnosed-log": HTMLInputElement, compare: HTMLSelectElement, run: HTMLButtonElement, feedback: HTMLFormElement,
 *   permalink: HTMLAnchorElement, "ask-entry": HTMLAnchorElement, "more-evidence": HTMLDetailsElement, whole: HTMLDetailsElement, theme: HTMLAnchorElement,
 *   "language-switch": HTMLAnchorElement, composer: HTMLFormElement, question: HTMLTextAreaElement, "turn-template": HTMLTemplateElement, "run-all": HTMLButtonElement,
 *   "search-box": HTMLInputElement }} SpecialParts */

export {};
