// Runs before anything is painted: what a reader has chosen for every page (large type, predicting first), and a watch for
// scripts and stylesheets that do not arrive.
(() => {
  const here = {}; // where the browser keeps nothing, a choice holds for this page
  const chosen = (name) => {
    try {
      return (here[name] ?? localStorage.getItem(`numstab.${name}`)) === "yes";
    } catch {
      return here[name] === "yes";
    }
  };
  const choose = (name, value) => {
    here[name] = value;
    try {
      localStorage.setItem(`numstab.${name}`, value);
    } catch {
      // private, or full
    }
  };
  const html = document.documentElement;
  html.dataset.prefs = "";
  const failed = ({ target }) => target instanceof HTMLScriptElement && (html.dataset.incomplete = "");
  addEventListener("error", failed, true); // such an event does not bubble
  const apply = (name) => html.toggleAttribute(`data-${name}`, chosen(name));
  for (const name of ["large", "predict"]) apply(name);
  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("button[data-pref]")) {
      const name = button.dataset.pref;
      const show = () => button.setAttribute("aria-pressed", String(chosen(name)));
      button.hidden = false;
      show();
      button.addEventListener("click", () => {
        choose(name, chosen(name) ? "no" : "yes");
        apply(name);
        show();
      });
    }
  });
})();
