// For pages of other sites: <numstab-answer entry="multiply-vs-add" params="n=200&x=0.9" lang="en">a link for readers without scripts</numstab-answer>
// shows the entry in a frame, as high as its content. It is loaded by a script element with the address of this file.
(() => {
  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  if (!script || customElements.get("numstab-answer")) return;
  const server = new URL(script.src);
  const FIRST_HEIGHT = 560; // pixels, until the frame tells its own
  const MAX_HEIGHT = 20_000;

  class NumstabAnswer extends HTMLElement {
    static observedAttributes = ["entry", "params", "lang"];

    /** @type {HTMLIFrameElement | null} */
    #frame = null;

    connectedCallback() {
      addEventListener("message", this);
      this.#show();
    }

    disconnectedCallback() {
      removeEventListener("message", this);
    }

    attributeChangedCallback() {
      if (this.isConnected) this.#show();
    }

    /** Takes the height from our own frame, and from nobody else. @param {Event} event */
    handleEvent(event) {
      const { origin, source, data } = /** @type {MessageEvent} */ (event);
      if (origin !== server.origin || !this.#frame || source !== this.#frame.contentWindow) return;
      const height = data?.numstab === 1 ? Number(data.height) : 0;
      if (height > 0 && height <= MAX_HEIGHT) this.#frame.style.height = `${Math.ceil(height)}px`;
    }

    #show() {
      const entry = this.getAttribute("entry");
      if (!entry) return;
      const address = new URL(`embed/entries/${encodeURIComponent(entry)}`, server);
      address.search = this.getAttribute("params") ?? "";
      const lang = this.closest("[lang]")?.getAttribute("lang") ?? navigator.language;
      address.searchParams.set("lang", lang.toLowerCase().startsWith("zh") ? "zh" : "en");
      if (this.#frame?.src === address.href) return;
      const frame = document.createElement("iframe");
      frame.loading = "lazy"; // before the address, which begins to load
      frame.src = address.href;
      frame.title = this.getAttribute("title") ?? `numstab: ${entry}`;
      Object.assign(frame.style, { display: "block", width: "100%", height: `${FIRST_HEIGHT}px`, border: "0" });
      this.replaceChildren(frame);
      this.#frame = frame;
    }
  }

  customElements.define("numstab-answer", NumstabAnswer);
})();
