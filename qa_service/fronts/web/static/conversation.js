// The conversation of this tab, kept so that a reload, a page visited in between or another language brings it back.
/** @import { AskRequest, ServerEvent } from "./types.js" */

/** What is kept of a turn. @typedef {{ question: string, request: AskRequest, address: string, key: string, lang: string, events: ServerEvent[] }} KeptTurn */

const KEY = "numstab.conversation";
const MOST = 12; // turns

/** The turns of this tab, oldest first. @returns {KeptTurn[]} */
export function keptTurns() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

/** Keeps the latest of these turns, as many as there is room for. @param {KeptTurn[]} turns */
export function keepTurns(turns) {
  for (let most = MOST; most; most = Math.floor(most / 2)) {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(turns.slice(-most)));
      return;
    } catch {
      // the browser's store is full, or there is none: keep fewer
    }
  }
}

/** An address without its language, by which the same question in another language is found. @param {string} address */
export function withoutLanguage(address) {
  const [path, query] = address.split("?");
  const parameters = new URLSearchParams(query);
  parameters.delete("lang");
  parameters.sort();
  return `${path}?${parameters}`;
}

/** The parameters in an address: those that begin with "p.". @param {URLSearchParams} address */
export function parametersOf(address) {
  /** @type {Record<string, string | number | boolean>} */
  const params = {};
  for (const [name, text] of address) {
    if (!name.startsWith("p.")) continue;
    const number = Number(text);
    params[name.slice(2)] = text === "true" || text === "false" ? text === "true" : text !== "" && Number.isFinite(number) ? number : text;
  }
  return params;
}
