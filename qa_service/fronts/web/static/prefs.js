// What a reader has chosen for every page, put in force before anything is painted: large type, predicting first.
(() => {
  const chosen = (name) => localStorage.getItem(`numstab.${name}`) === "yes";
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
        localStorage.setItem(`numstab.${name}`, chosen(name) ? "no" : "yes");
        apply(name);
        show();
      });
    }
  });
})();
