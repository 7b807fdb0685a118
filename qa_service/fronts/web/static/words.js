// The few words that scripts write, in the page's language.

/** By name, as labels.py has them. @type {Record<string, string>} */
export const words = JSON.parse(document.getElementById("labels")?.textContent ?? "");
