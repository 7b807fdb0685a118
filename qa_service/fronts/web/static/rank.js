// How well an element of a list matches what is searched for.

/** Better places first: a whole word of the title or the summary, a part of a word there, then the other wordings. */
const PLACES = /** @type {const} */ ([["title", true], ["summary", true], ["title", false], ["summary", false], ["others", true], ["others", false]]);

/** What is searched, in lower case. @typedef {{ title: string, summary: string, others: string }} Searched */

/**
 * The sum over the words of how good the best place of each is, 0 for a whole word of the title; Infinity if one is nowhere.
 * @param {Searched} searched @param {string[]} words in lower case
 */
export function rankOf(searched, words) {
  let sum = 0;
  for (const word of words) {
    const place = PLACES.findIndex(([name, whole]) => (whole ? hasWord(searched[name], word) : searched[name].includes(word)));
    if (place < 0) return Infinity;
    sum += place;
  }
  return sum;
}

/** Whether a text has this word with no letter or digit of its script beside it; Chinese has no such borders. @param {string} text @param {string} word */
function hasWord(text, word) {
  const isLatin = (/** @type {string | undefined} */ character) => /[a-z0-9_]/.test(character ?? "");
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const [before, after] = [text[at - 1], text[at + word.length]];
    if (!(isLatin(word[0]) && isLatin(before)) && !(isLatin(word.at(-1)) && isLatin(after))) return true;
  }
  return false;
}
