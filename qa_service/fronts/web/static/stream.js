// One question to the service: its server-sent events as [name, data] pairs.
import { words } from "./words.js";

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
  for await (const [name, data] of read(await open(request, signal), signal)) {
    if (name === "error") throw new Problem(data.detail, data.field);
    done ||= name === "done" || (name === "evidence" && request.experiment !== undefined);
    yield [name, data];
  }
  if (!done) throw new Problem(words.unreachable);
}

async function open(request, signal) {
  const body = JSON.stringify(request);
  const headers = { "content-type": "application/json" };
  const response = await reach(fetch(request.experiment ? "/page/run" : "/page/ask", { method: "POST", headers, body, signal }), signal);
  if (response.ok) return response.body;
  const problem = await response.json().catch(() => ({}));
  throw new Problem(problem.detail ?? words.not_understood, problem.field);
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

async function reach(promise, signal) {
  try {
    return await promise;
  } catch (error) {
    throw signal.aborted ? error : new Problem(navigator.onLine ? words.unreachable : words.offline);
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
