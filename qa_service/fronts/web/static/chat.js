// The chat page: the question box, the conversation, and the address that brings a question back.
import { reportArrival } from "./arrival.js";
import "./feedback.js";
import { release } from "./fill.js";
import { mathFont } from "./load.js";
import { keep } from "./past.js";
import { Turn } from "./turn.js";

const composer = document.getElementById("composer");
const box = document.getElementById("question");
const stop = document.getElementById("stop");
const status = document.getElementById("status");
const turns = document.getElementById("turns");
const pageLang = document.documentElement.lang.startsWith("zh") ? "zh" : "en";
const LONGEST = 1500; // characters of a question that an address can carry
let current = null;
let context = null;

function say(sentence) {
  status.textContent = sentence;
}

/** Asks; `address` is what the page's address will say, so that a reload or another language asks the same. */
function ask(shown, request, address) {
  const same = JSON.stringify(address);
  if (current?.same === same && !stop.hidden) return; // a second click on the same
  current?.stop();
  fetchMaths();
  document.body.classList.add("talking");
  const turn = (current = new Turn(shown, request, say));
  turns.append(turn.element);
  document.documentElement.classList.add("live");
  remember(turn, address, pageLang);
  turn.same = same;
  turn.element.addEventListener("answered", ({ detail }) => {
    if (turn === current) context = detail.context;
    remember(turn, address, detail.lang);
  });
  turn.element.addEventListener("retry", () => answer(turn));
  turn.element.querySelector(".edit").addEventListener("click", () => edit(turn.question));
  turn.element.scrollIntoView({ block: "start" });
  release(turns);
  if (document.activeElement.matches("button")) turn.element.querySelector(".asked").focus({ preventScroll: true }); // whoever asked by a button reads on here
  answer(turn);
}

/** Runs a turn, the first time or once more. */
async function answer(turn) {
  if (turn !== current) current.stop();
  current = turn;
  stop.hidden = false;
  const answer = await turn.ask();
  if (answer) keep(turn.question, answer.answer, turn.address);
  if (turn === current) stop.hidden = true;
}

/** Every question is a step of the browser's history; going back shows its turn again. */
function remember(turn, address, lang) {
  const known = turn.address;
  const long = address.q?.length > LONGEST;
  turn.address = `/?${new URLSearchParams({ ...(!long && address), lang })}`;
  const here = location.pathname + location.search === turn.address;
  turn.element.id ||= `turn-${turns.children.length}`;
  const title = `${turn.question.slice(0, 100)} · numstab`;
  history[known || here ? "replaceState" : "pushState"]({ turn: turn.element.id, title, ...(long && { question: address.q }) }, "", turn.address);
  const other = pageLang === "zh" ? "en" : "zh";
  document.title = title;
  document.getElementById("switch").href = `/?${new URLSearchParams({ ...(!long && address), lang: other })}`;
}

history.scrollRestoration = "manual"; // the browser would go where the reader left, after we have gone to the turn
addEventListener("popstate", ({ state }) => {
  const turn = state?.turn && document.getElementById(state.turn);
  if (!turn) return location.reload();
  document.title = state.title;
  turn.scrollIntoView({ block: "start" });
});

/** Puts a question back into the box, to be changed and asked again. */
function edit(question) {
  box.value = question;
  grow();
  box.focus();
}

/** A question's own language decides, unless it is too short to have one ("float16"). */
function languageOf(question) {
  const short = !/[\u3400-\u9fff]/.test(question) && question.split(/\s+/).length < 3;
  return short ? { lang: pageLang } : {};
}

function askQuestion(question, forced = languageOf(question)) {
  ask(question, { question, ...forced, ...(context && { context }) }, { q: question });
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = box.value.trim();
  if (!question) return box.focus();
  box.value = "";
  grow();
  askQuestion(question);
});

box.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

box.addEventListener("input", grow);
for (const about of ["input", "pointerdown"]) addEventListener(about, fetchMaths, { once: true }); // to ask

/** The font of formulas: there before an answer is, and not before there is a question. */
function fetchMaths() {
  mathFont.request().catch(() => {}); // formulas do without until a later attempt succeeds
}

function grow() {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 160)}px`;
}

stop.addEventListener("click", () => {
  current?.stop();
  box.focus();
});

// Every button that asks: an example, a candidate, a related question.
document.getElementById("main").addEventListener("click", ({ target }) => {
  const { entry, question, keep } = target.closest("button[data-question]")?.dataset ?? {};
  if (!question) return;
  if (!entry) return askQuestion(question);
  const asked = keep === undefined ? "" : target.closest(".turn").querySelector(".asked").textContent;
  const lang = target.closest("[lang]").lang.startsWith("zh") ? "zh" : "en";
  ask(question, { question: asked, entry, lang }, { entry });
});

const address = new URLSearchParams(location.search);
if (address.get("entry")) {
  ask(address.get("entry"), { question: "", entry: address.get("entry"), lang: pageLang }, { entry: address.get("entry") });
} else if (address.get("q")?.trim() || history.state?.question) {
  askQuestion(address.get("q")?.trim() || history.state.question, { lang: pageLang });
}
reportArrival();
