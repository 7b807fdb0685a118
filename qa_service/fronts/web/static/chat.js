// The chat page: the question box, the conversation, and the address that brings a question back.
import { reportArrival } from "./arrival.js";
import { keepTurns, keptTurns, parametersOf, withoutLanguage } from "./conversation.js";
import "./feedback.js";
import { mathFont } from "./load.js";
import { enclosingPart, part } from "./parts.js";
import { rememberQuestion } from "./past.js";
import { Turn } from "./turn.js";
import { words } from "./words.js";
/** @import { AnswerData, AskRequest } from "./types.js" */
/** @import { KeptTurn } from "./conversation.js" */

/** What was asked: a question, or an entry. @typedef {{ q?: string, entry?: string, aspect?: string }} Address */

const composer = part(document, "composer");
const box = part(document, "question");
const languageSwitch = part(document, "language-switch");
const stop = part(document, "stop");
const status = part(document, "status");
const turns = part(document, "turns");
const pageLang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const LONGEST_IN_ADDRESS = 1500; // characters of a question that an address can carry
const HIGHEST_BOX = 160; // pixels
/** The turn that is being answered, or was last. @type {Turn | null} */
let current = null;
/** What a follow-up question goes on from. @type {{ entry?: string | null, params?: object, seed?: number } | undefined} */
let context;
/** The conversation, oldest first. @type {Turn[]} */
const conversation = [];
const STATUS_TIME = 4000; // milliseconds for which the page says that an answer is complete
/** @type {number | undefined} */
let statusTimer;

/** Says a sentence in the page's status; that an answer is complete is true for ever, and said for a while. @param {string} sentence */
function announce(sentence) {
  clearTimeout(statusTimer);
  status.textContent = sentence;
  if (sentence === words.finished) statusTimer = setTimeout(() => (status.textContent = ""), STATUS_TIME);
}

/**
 * Asks in a new turn.
 * @param {string} shown the question as the user sees it
 * @param {AskRequest} request
 * @param {Address} address
 */
function ask(shown, request, address) {
  const key = JSON.stringify(address);
  if (current?.key === key && !stop.hidden) return; // a second click on the same
  current?.stop();
  const turn = addTurn(shown, request, address);
  pushHistory(turn, /** @type {Record<string, string>} */ (address), pageLang);
  turn.element.scrollIntoView({ block: "start" });
  if (document.activeElement?.matches("button, a")) part(turn.element, "asked").focus({ preventScroll: true }); // whoever asked by a button reads on here
  else if (matchMedia("(pointer: coarse)").matches) box.blur(); // the keyboard of a telephone would cover the answer
  return answer(turn);
}

/** @param {string} shown @param {AskRequest} request @param {Address} address */
function addTurn(shown, request, address) {
  fetchMathFont();
  document.body.classList.add("talking");
  const turn = new Turn(shown, request, announce);
  turn.previous = current;
  current = turn;
  turn.key = JSON.stringify(address);
  turns.append(turn.element);
  turn.element.id = `turn-${turns.children.length}`;
  conversation.push(turn);
  turn.element.addEventListener("answered", (event) => {
    /** @type {AnswerData} */
    const data = /** @type {CustomEvent} */ (event).detail;
    if (turn === current) context = data.context;
    turn.asked = { ...address, ...(data.entry && { entry: data.entry.id }), ...(data.entry?.aspect && { aspect: data.entry.aspect }) };
    if (!isRestoring) pushHistory(turn, turn.asked, data.lang);
  });
  turn.element.addEventListener("complete", () => {
    if (turn.asked) pushHistory(turn, (turn.asked = { ...turn.asked, ...turn.readParameters }), pageLang);
    keepConversation();
  });
  turn.element.addEventListener("measured", () => takeChanges(turn));
  turn.element.addEventListener("retry", () => answer(turn));
  part(turn.element, "edit").addEventListener("click", () => edit(turn.question));
  return turn;
}

/** What the reader changes on the proof's card stands in the address, and follow-ups go on from it. @param {Turn} turn */
function takeChanges(turn) {
  const { changed, asked } = turn;
  if (!changed || !asked) return;
  const named = Object.entries(changed.params).map(([name, value]) => [`p.${name}`, String(value)]);
  pushHistory(turn, { ...asked, ...Object.fromEntries(named), ...(changed.seed && { seed: String(changed.seed) }) }, pageLang);
  if (context && context.entry === turn.entry) context = { ...context, params: { ...context.params, ...changed.params }, ...(changed.seed && { seed: changed.seed }) };
  keepConversation();
}

/** Keeps the conversation for a reload. */
function keepConversation() {
  if (conversation.length) keepTurns(conversation.map(keptTurn));
}
addEventListener("pagehide", keepConversation);

/** @param {Turn} turn @returns {KeptTurn} */
function keptTurn({ question, request, address, key, events, changed }) {
  if (!changed) return { question, request, address, key, lang: pageLang, events };
  const asChanged = { ...request, params: { ...request.params, ...changed.params }, seed: changed.seed };
  return { question, request: asChanged, address, key, lang: pageLang, events: [] }; // it is asked again
}

/** Runs a turn, the first time or once more. @param {Turn} turn */
async function answer(turn) {
  if (turn !== current) current?.stop();
  current = turn;
  stop.hidden = false;
  const data = await turn.ask();
  if (data) rememberQuestion(turn.question, data.answer, turn.address);
  if (turn === current) stop.hidden = true;
}

/**
 * Every question is a step of the browser's history; going back shows its turn again.
 * @param {Turn} turn
 * @param {Record<string, string>} asked what its address says
 * @param {string} lang
 */
function pushHistory(turn, asked, lang) {
  const isKnown = turn.address !== "";
  const isLong = (asked.q?.length ?? 0) > LONGEST_IN_ADDRESS;
  const { q, ...others } = asked;
  const parameters = isLong ? others : asked;
  turn.address = `/?${new URLSearchParams({ ...parameters, lang })}`;
  const isHere = location.pathname + location.search === turn.address;
  const title = `${turn.question.slice(0, 100)} · numstab`;
  const state = { turn: turn.element.id, title, ...(isLong && { question: q }) };
  if (turn === current || !isKnown) history[isKnown || isHere ? "replaceState" : "pushState"](state, "", turn.address);
  document.title = title;
  languageSwitch.href = `/?${new URLSearchParams({ ...parameters, lang: pageLang === "zh" ? "en" : "zh" })}`;
}

history.scrollRestoration = "manual"; // the browser would go where the user left, after we have gone to the turn
addEventListener("popstate", ({ state }) => {
  const turn = turnWithId(state?.turn);
  if (!turn) return location.reload();
  document.title = state.title;
  turn.element.scrollIntoView({ block: "start" });
});

/** The turn of this conversation that a step of the history shows. @param {string | undefined} id */
function turnWithId(id) {
  return conversation.find(({ element }) => element.id === id);
}

/** Puts a question back into the box, to be changed and asked again. @param {string} question */
function edit(question) {
  box.value = question;
  fitBox();
  box.focus();
}

/** A question's own language decides, unless it shows none. @param {string} question @param {Record<string, string>} [language] */
function askQuestion(question, language = { reader_lang: pageLang }) {
  ask(question, { question, ...language, ...(context && { context }) }, { q: question });
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = box.value.trim();
  if (!question) return box.focus();
  box.value = "";
  fitBox();
  askQuestion(question);
});

box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

box.addEventListener("input", fitBox);
for (const name of ["input", "pointerdown"]) addEventListener(name, fetchMathFont, { once: true }); // about to ask

/** The font of formulas: there before an answer is, and not before there is a question. */
function fetchMathFont() {
  mathFont.request().catch(() => {}); // formulas do without until a later attempt succeeds
}

function fitBox() {
  box.style.height = "auto"; // its own for an empty box, in any size of type
  if (box.value) box.style.height = `${Math.min(box.scrollHeight, HIGHEST_BOX)}px`;
}

stop.addEventListener("click", () => {
  current?.stop();
  box.focus();
});

// Every button that asks: an example, a candidate, a related question.
part(document, "main").addEventListener("click", (event) => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("[data-question]"));
  const { entry, aspect, question, keep } = button?.dataset ?? {};
  if (!button || !question) return;
  event.preventDefault(); // some are links, for readers without scripts
  if (!entry) return askQuestion(question);
  const asked = keep === undefined ? "" : (askedBeside(button) ?? "");
  const language = /** @type {HTMLElement} */ (button.closest("[lang]")).lang.startsWith("zh") ? "zh" : "en";
  const of = { entry, ...(aspect && { aspect }) };
  ask(question, { question: asked, ...of, lang: language }, of);
});

/** The question of the turn that a button stands in. @param {HTMLElement} button */
function askedBeside(button) {
  const turn = enclosingPart(button, "turn");
  return turn && part(turn, "asked").textContent;
}

let isRestoring = false;

/** Shows the turns that this tab has kept; those in another language or cut off are asked again. @param {KeptTurn[]} kept */
async function restore(kept) {
  isRestoring = true;
  const state = history.state?.turn;
  for (const each of kept) {
    const turn = addTurn(each.question, { ...each.request, lang: pageLang, ...(context && each.request.context && { context }) }, JSON.parse(each.key));
    turn.address = each.address;
    const isWhole = each.events.some(([name]) => name === "done");
    if (isWhole && each.lang === pageLang) turn.replay(each.events);
    else await answer(turn); // it was interrupted, or is wanted in another language
  }
  isRestoring = false;
  const last = conversation.at(-1);
  if (last?.asked) pushHistory(last, last.asked, pageLang);
  const here = turnWithId(state) ?? last;
  here?.element.scrollIntoView({ block: "start", behavior: "instant" });
}

/** What this tab had kept when it came to this address: none where it asks something else. @returns {KeptTurn[]} */
function turnsOfThisAddress() {
  const kept = keptTurns();
  const here = withoutLanguage(location.pathname + location.search);
  return kept.some(({ address }) => withoutLanguage(address) === here) ? kept : [];
}

const address = new URLSearchParams(location.search);
const entryInAddress = address.get("entry");
const aspectInAddress = address.get("aspect");
const questionInAddress = address.get("q")?.trim() || history.state?.question;
const kept = entryInAddress || questionInAddress ? turnsOfThisAddress() : [];
if (kept.length) restore(kept);
else if (entryInAddress) {
  const of = { entry: entryInAddress, ...(aspectInAddress && { aspect: aspectInAddress }) };
  const asked = { ...(questionInAddress && { q: questionInAddress }), ...of };
  ask(questionInAddress ?? entryInAddress, { question: questionInAddress ?? "", ...of, params: parametersOf(address), seed: Number(address.get("seed")) || 0, lang: pageLang }, asked);
} else if (questionInAddress) askQuestion(questionInAddress, { lang: pageLang });
reportArrival();
