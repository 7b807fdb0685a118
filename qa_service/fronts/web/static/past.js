// What was asked before, kept in this browser only: listed, saved as a file, cleared.
import { enclosingPart, part } from "./parts.js";
import { downloadFile } from "./save.js";
import { words } from "./words.js";

/** @typedef {{ question: string, answer: string, address: string, at: string }} PastQuestion */

const KEY = "numstab.past";
const MOST = 200; // questions
const section = part(document, "past");

/** @returns {PastQuestion[]} */
function readPast() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

function listPast() {
  const kept = readPast();
  section.hidden = !kept.length;
  part(section, "past-list").replaceChildren(
    ...kept.toReversed().map(({ question, address }) => {
      const link = document.createElement("a");
      link.href = address;
      link.textContent = question;
      const item = document.createElement("li");
      item.append(link);
      return item;
    }),
  );
}

/**
 * Remembers a question.
 * @param {string} question
 * @param {string} answer as text
 * @param {string} address which asks it again
 */
export function rememberQuestion(question, answer, address) {
  const others = readPast().filter((each) => each.address !== address);
  const kept = [...others, { question, answer, address, at: new Date().toISOString() }];
  for (let most = MOST; most; most = Math.floor(most / 2)) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept.slice(-most)));
      break;
    } catch {
      // the browser's store is full: keep fewer
    }
  }
  listPast();
}

function exportPast() {
  const text = readPast().map((each) => `## ${each.question}\n\n${each.at}\n\n${each.answer}\n`).join("\n");
  downloadFile("numstab.md", text, "text/markdown");
}

function clearPast() {
  try {
    localStorage.removeItem(KEY);
  } catch {
    // nothing was kept
  }
  listPast();
}

section.addEventListener("click", ({ target }) => {
  if (enclosingPart(target, "past-export")) exportPast();
  if (enclosingPart(target, "past-clear") && confirm(words.clear_sure)) clearPast();
});

listPast();
