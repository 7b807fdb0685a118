// One request to the service, and the events that it answers with.
import { EventStreamParser } from "./sse.js";
import { words } from "./words.js";
/** @import { AskRequest, ServerEvent } from "./types.js" */

const LONGEST_SILENCE = 60_000; // milliseconds; the service sends something every 15 seconds
/** What is said of a proxy's answer, which has no words of ours. @type {Record<number, string>} */
const BY_STATUS = { 429: words.too_often, 502: words.restarting, 503: words.restarting, 504: words.silent };

/** Why there is no answer, in the user's language. */
export class Problem extends Error {
  /** Whether the connection broke, rather than that the service refused. */
  connectionLost = false;

  /** @param {string} message @param {string} [field] the name of what was refused */
  constructor(message, field = "") {
    super(message);
    this.field = field;
  }
}

/**
 * Asks a question or runs an experiment; yields events until the last one.
 * Throws a Problem where there is no whole answer, or an AbortError once `signal` aborts.
 * @param {AskRequest} request
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<ServerEvent, void>}
 */
export async function* requestEvents(request, signal) {
  const lastEvent = request.experiment === undefined ? "done" : "evidence";
  let begun = false;
  let complete = false;
  try {
    for await (const event of readEvents(await send(request, signal), signal)) {
      if (event[0] === "error") throw new Problem(event[1].detail, event[1].field);
      begun = true;
      complete ||= event[0] === "done" || event[0] === lastEvent;
      yield event;
    }
  } catch (error) {
    if (error instanceof Problem && error.connectionLost && begun) error.message = words.broken;
    throw error;
  }
  if (!complete) throw new Problem(begun ? words.broken : words.unreachable);
}

/** @param {AskRequest} request @param {AbortSignal} signal */
async function send(request, signal) {
  const body = JSON.stringify(request);
  const headers = { "content-type": "application/json" };
  const url = request.experiment ? "/page/run" : "/page/ask";
  const response = await withinPatience(fetch(url, { method: "POST", headers, body, signal }), signal);
  if (response.ok && response.body) return response.body;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.detail ?? BY_STATUS[response.status] ?? words.not_understood, problem.field);
}

/** @param {ReadableStream<Uint8Array>} body @param {AbortSignal} signal @returns {AsyncGenerator<ServerEvent, void>} */
async function* readEvents(body, signal) {
  const reader = body.getReader();
  const parser = new EventStreamParser();
  for (;;) {
    const { value, done } = await withinPatience(reader.read(), signal);
    if (done) return;
    for (const event of parser.push(value)) yield /** @type {ServerEvent} */ (event);
  }
}

/**
 * What a promise gives, or a Problem: unreachable, offline, or silent for too long.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} signal
 */
async function withinPatience(promise, signal) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Problem(words.silent)), LONGEST_SILENCE);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, silence]));
  } catch (error) {
    if (signal.aborted || error instanceof Problem) throw error;
    const problem = new Problem(navigator.onLine ? words.unreachable : words.offline);
    problem.connectionLost = navigator.onLine;
    throw problem;
  } finally {
    clearTimeout(timer);
  }
}
