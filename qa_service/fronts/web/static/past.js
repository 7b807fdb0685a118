// What was asked before, kept in this browser only: listed, saved as a file, cleared.
import { save } from "./save.js";
import { words } from "./words.js";

const KEY = "numstab.past";
const MOST = 200;
const place = document.getElementById("past");
const list = place.querySelector("ul");

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

function show() {
  const kept = read();
  place.hidden = !kept.length;
  list.replaceChildren(
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

/** Remembers a question, its answer as text, and the address that asks it again. */
export function keep(question, answer, address) {
  const kept = [...read().filter((each) => each.address !== address), { question, answer, address, at: new Date().toISOString() }];
  for (let most = MOST; most; most = Math.floor(most / 2)) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept.slice(-most)));
      break;
    } catch {
      // the browser's store is full: keep fewer
    }
  }
  show();
}

place.addEventListener("click", ({ target }) => {
  if (target.matches(".export")) {
    const text = read().map((each) => `## ${each.question}\n\n${each.at}\n\n${each.answer}\n`).join("\n");
    save("numstab.md", text, "text/markdown");
  }
  if (target.matches(".clear") && confirm(words.clear_sure)) {
    try {
      localStorage.removeItem(KEY);
    } catch {
      // nothing was kept
    }
    show();
  }
});

show();
