// Was this helpful? Thanks only once the service has it on disk.
import { words } from "./words.js";

document.addEventListener("click", ({ target }) => {
  const button = target.closest(".feedback button[value]");
  if (!button) return;
  const form = button.form;
  for (const each of form.querySelectorAll("button[value]")) each.setAttribute("aria-pressed", String(each === button));
  form.dataset.helpful = button.value;
  form.querySelector(".why").hidden = false;
  form.querySelector("textarea").focus();
});

document.addEventListener("submit", async (event) => {
  const form = event.target.closest(".feedback");
  if (!form) return;
  event.preventDefault();
  const said = form.querySelector("output");
  const reason = form.querySelector("textarea").value.trim();
  const body = { answer_id: form.dataset.answer, helpful: form.dataset.helpful === "yes", ...(reason && { reason }) };
  const send = form.querySelector("[type=submit]");
  said.textContent = "";
  send.disabled = true;
  try {
    const response = await fetch("/api/v1/feedback", {
      method: "POST",
      headers: { "content-type": "application/json", "accept-language": document.documentElement.lang },
      body: JSON.stringify(body),
    });
    if (response.ok) form.replaceChildren(Object.assign(said, { textContent: words.thanks }));
    else said.textContent = (await response.json()).detail ?? words.not_understood;
  } catch {
    said.textContent = words.unreachable;
  }
  send.disabled = false;
});
