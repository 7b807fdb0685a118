// What a page fetches only when it is needed: scripts and fonts that are fetched again after a failure.

const FIRST_DELAY = 1000; // milliseconds between a failed attempt and the next; it doubles with each failure
const LONGEST_DELAY = 60_000;

/**
 * A file that is fetched on demand, once.
 *
 * A failed attempt is not remembered: the next request tries again, and until one succeeds the file is also retried in
 * the background, with growing delays and as soon as the browser is back online.
 * Every attempt has a URL of its own, because browsers remember that a URL could not be imported.
 */
export class LazyFile {
  #attempts = 0;
  /** The attempt that is running, or the one that succeeded. @type {Promise<void> | null} */
  #attempt = null;
  /** The timer of the next attempt. @type {number | undefined} */
  #retryTimer;
  #markLoaded = () => {};
  /** Resolves once the file is there. @type {Promise<void>} */
  loaded = new Promise((resolve) => (this.#markLoaded = resolve));

  /**
   * @param {string} url
   * @param {(url: string) => Promise<unknown>} fetchFile fetches the file from a URL; rejects where that fails
   */
  constructor(url, fetchFile) {
    this.url = url;
    this.fetchFile = fetchFile;
    addEventListener("online", () => this.#retryTimer && this.#retry());
  }

  /** Starts an attempt unless one is running or has succeeded. @returns {Promise<void>} rejects where it fails */
  request() {
    this.#attempt ??= this.#fetch();
    return this.#attempt;
  }

  async #fetch() {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#attempts += 1;
    try {
      await this.fetchFile(this.#attempts === 1 ? this.url : `${this.url}?retry=${this.#attempts - 1}`);
    } catch (error) {
      this.#attempt = null;
      const delay = Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** (this.#attempts - 1));
      this.#retryTimer = setTimeout(() => this.#retry(), delay);
      throw error;
    }
    this.#markLoaded();
  }

  #retry() {
    this.request().catch(() => {}); // it has scheduled the next attempt
  }
}

/** The library that draws charts; it defines `window.vegaEmbed`. */
export const chartLibrary = new LazyFile("/static/vega.js", (url) => import(url));

/** The font of formulas: the rule in page.css at first, which the browser never fetches twice; then a face of its own. */
export const mathFont = new LazyFile("/static/math.woff", async (url) => {
  const family = "STIX of numstab";
  if (!url.includes("?")) return document.fonts.load(`1em '${family}'`);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  document.fonts.add(await new FontFace(family, await response.arrayBuffer()).load());
});
