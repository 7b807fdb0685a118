// What a reader has chosen for every page, put in force before anything is painted: large type, predicting first.
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
