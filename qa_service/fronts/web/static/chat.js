// The chat page: the question box, the conversation, and the address that brings a question back.
import { reportArrival } from "./arrival.js";
import "./feedback.js";
import { releaseReservedSpace } from "./fill.js";
import { mathFont } from "./load.js";
import { enclosingPart, part } from "./parts.js";
import { rememberQuestion } from "./past.js";
import { Turn } from "./turn.js";
/** @import { AnswerData, AskRequest } from "./types.js" */

/** What the page's address says, so that a reload or another language asks the same. @typedef {{ q?: string, entry?: string }} Address */

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const composer = /** @type {HTMLFormElement} */ (byId("composer"));
const box = /** @type {HTMLTextAreaElement} */ (byId("question"));
const languageSwitch = /** @type {HTMLAnchorElement} */ (byId("switch"));
const stop = byId("stop");
const status = byId("status");
const turns = byId("turns");
const pageLang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const LONGEST_IN_ADDRESS = 1500; // characters of a question that an address can carry
const HIGHEST_BOX = 160; // pixels
/** The turn that is being answered, or was last. @type {Turn | null} */
let current = null;
/** What a follow-up question goes on from. @type {object | undefined} */
let context;

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
  fetchMathFont();
  document.body.classList.add("talking");
  const turn = (current = new Turn(shown, request, (sentence) => (status.textContent = sentence)));
  turn.key = key;
  turns.append(turn.element);
  pushHistory(turn, address, pageLang);
  turn.element.addEventListener("answered", (event) => {
    /** @type {AnswerData} */
    const data = /** @type {CustomEvent} */ (event).detail;
    if (turn === current) context = data.context;
    pushHistory(turn, address, data.lang);
  });
  turn.element.addEventListener("retry", () => answer(turn));
  part(turn.element, "edit").addEventListener("click", () => edit(turn.question));
  turn.element.scrollIntoView({ block: "start" });
  releaseReservedSpace(turns);
  if (document.activeElement?.matches("button")) part(turn.element, "asked").focus({ preventScroll: true }); // whoever asked by a button reads on here
  answer(turn);
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
 * @param {Address} address
 * @param {string} lang
 */
function pushHistory(turn, address, lang) {
  const isKnown = turn.address !== "";
  const isLong = (address.q?.length ?? 0) > LONGEST_IN_ADDRESS;
  const parameters = isLong ? {} : address;
  turn.address = `/?${new URLSearchParams({ ...parameters, lang })}`;
  const isHere = location.pathname + location.search === turn.address;
  turn.element.id ||= `turn-${turns.children.length}`;
  const title = `${turn.question.slice(0, 100)} · numstab`;
  const state = { turn: turn.element.id, title, ...(isLong && { question: address.q }) };
  history[isKnown || isHere ? "replaceState" : "pushState"](state, "", turn.address);
  document.title = title;
  languageSwitch.href = `/?${new URLSearchParams({ ...parameters, lang: pageLang === "zh" ? "en" : "zh" })}`;
}

history.scrollRestoration = "manual"; // the browser would go where the user left, after we have gone to the turn
addEventListener("popstate", ({ state }) => {
  const turn = state?.turn && document.getElementById(state.turn);
  if (!turn) return location.reload();
  document.title = state.title;
  turn.scrollIntoView({ block: "start" });
});

/** Puts a question back into the box, to be changed and asked again. @param {string} question */
function edit(question) {
  box.value = question;
  fitBox();
  box.focus();
}

/** A question's own language decides, unless it is too short to have one ("float16"). @param {string} question @returns {{ lang?: string }} */
function languageOf(question) {
  const isShort = !/[\u3400-\u9fff]/.test(question) && question.split(/\s+/).length < 3;
  return isShort ? { lang: pageLang } : {};
}

/** @param {string} question @param {{ lang?: string }} [language] */
function askQuestion(question, language = languageOf(question)) {
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
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, HIGHEST_BOX)}px`;
}

stop.addEventListener("click", () => {
  current?.stop();
  box.focus();
});

// Every button that asks: an example, a candidate, a related question.
byId("main").addEventListener("click", ({ target }) => {
  const button = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest("button[data-question]"));
  const { entry, question, keep } = button?.dataset ?? {};
  if (!button || !question) return;
  if (!entry) return askQuestion(question);
  const asked = keep === undefined ? "" : (askedBeside(button) ?? "");
  const language = /** @type {HTMLElement} */ (button.closest("[lang]")).lang.startsWith("zh") ? "zh" : "en";
  ask(question, { question: asked, entry, lang: language }, { entry });
});

/** The question of the turn that a button stands in. @param {HTMLElement} button */
function askedBeside(button) {
  const turn = enclosingPart(button, "turn");
  return turn && part(turn, "asked").textContent;
}

const address = new URLSearchParams(location.search);
const entryInAddress = address.get("entry");
const questionInAddress = address.get("q")?.trim() || history.state?.question;
if (entryInAddress) ask(entryInAddress, { question: "", entry: entryInAddress, lang: pageLang }, { entry: entryInAddress });
else if (questionInAddress) askQuestion(questionInAddress, { lang: pageLang });
reportArrival();
