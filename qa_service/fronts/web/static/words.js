// The few words that scripts write, in the page's language.
import { findPart } from "./parts.js";

/** By name, as labels.py has them. @type {Record<string, string>} */
export const words = JSON.parse(findPart(document, "labels")?.textContent ?? "");
