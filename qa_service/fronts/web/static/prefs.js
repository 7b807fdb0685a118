// Runs before anything is painted: what a user has chosen for every page (large type, predicting first), and a watch for
// scripts that do not arrive.
(() => {
  /** Where the browser keeps nothing, a choice holds for this page. @type {Record<string, string>} */
  const onThisPage = {};
  const isChosen = (/** @type {string} */ name) => {
    try {
      return (onThisPage[name] ?? localStorage.getItem(`numstab.${name}`)) === "yes";
    } catch {
      return onThisPage[name] === "yes";
    }
  };
  const choose = (/** @type {string} */ name, /** @type {string} */ value) => {
    onThisPage[name] = value;
    try {
      localStorage.setItem(`numstab.${name}`, value);
    } catch {
      // private, or full
    }
  };
  const html = document.documentElement;
  html.dataset.prefs = "";
  const reportMissing = (/** @type {Event} */ { target }) => {
    if (target instanceof HTMLScriptElement) html.dataset.incomplete = "";
  };
  addEventListener("error", reportMissing, true); // such an event does not bubble
  const apply = (/** @type {string} */ name) => html.toggleAttribute(`data-${name}`, isChosen(name));
  for (const name of ["large", "predict"]) apply(name);
  document.addEventListener("DOMContentLoaded", () => {
    /** @type {NodeListOf<HTMLButtonElement>} */
    const buttons = document.querySelectorAll("button[data-pref]");
    for (const button of buttons) {
      const name = button.dataset.pref ?? "";
      const showState = () => button.setAttribute("aria-pressed", String(isChosen(name)));
      button.hidden = false;
      showState();
      button.addEventListener("click", () => {
        choose(name, isChosen(name) ? "no" : "yes");
        apply(name);
        showState();
      });
    }
  });
})();
