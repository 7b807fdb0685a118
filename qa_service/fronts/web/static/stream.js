// One question to the service: its server-sent events as [name, data] pairs.
import { words } from "./words.js";

const SILENCE = 60_000; // milliseconds; the service speaks every 15 seconds even when it has nothing to say
const BY_STATUS = { 429: words.too_often, 502: words.restarting, 503: words.restarting, 504: words.silent }; // what a proxy says has no words of ours

/** A refusal in the reader's language; `field` names what was wrong. */
export class Problem extends Error {
  constructor(detail, field = "") {
    super(detail);
    this.field = field;
  }
}

/** Yields events until `done`, of a question or, with `experiment`, of one run. Throws a Problem, or an AbortError once `signal` aborts. */
export async function* events(request, signal) {
  let done = false;
  let began = false;
  try {
    for await (const event of told(request, signal)) {
      began = true;
      done ||= event[0] === "done" || (event[0] === "evidence" && request.experiment !== undefined);
      yield event;
    }
  } catch (problem) {
    if (problem.lost && began) problem.message = words.broken; // in the middle of an answer
    throw problem;
  }
  if (!done) throw new Problem(began ? words.broken : words.unreachable);
}

async function* told(request, signal) {
  for await (const [name, data] of read(await open(request, signal), signal)) {
    if (name === "error") throw new Problem(data.detail, data.field);
    yield [name, data];
  }
}

async function open(request, signal) {
  const body = JSON.stringify(request);
  const headers = { "content-type": "application/json" };
  const response = await reach(fetch(request.experiment ? "/page/run" : "/page/ask", { method: "POST", headers, body, signal }), signal);
  if (response.ok) return response.body;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.detail ?? BY_STATUS[response.status] ?? words.not_understood, problem.field);
}

async function* read(body, signal) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reach(reader.read(), signal);
    if (done) return;
    const messages = (rest + value).split(/\r?\n\r?\n/);
    rest = messages.pop();
    for (const message of messages) {
      const event = parse(message);
      if (event) yield event;
    }
  }
}

/** What a promise gives, or a Problem: unreachable, offline, or silent for too long. */
async function reach(promise, signal) {
  let bell;
  const silent = new Promise((_, fail) => {
    bell = setTimeout(() => fail(new Problem(words.silent)), SILENCE);
  });
  try {
    return await Promise.race([promise, silent]);
  } catch (error) {
    if (signal.aborted || error instanceof Problem) throw error;
    throw Object.assign(new Problem(navigator.onLine ? words.unreachable : words.offline), { lost: navigator.onLine });
  } finally {
    clearTimeout(bell);
  }
}

function parse(message) {
  let name = "";
  const data = [];
  for (const line of message.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5));
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
