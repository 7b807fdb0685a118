// Was this helpful? Thanks only once the service has it on disk.
import { enclosingPart, part } from "./parts.js";
import { words } from "./words.js";

document.addEventListener("click", ({ target }) => {
  const button = /** @type {Element} */ (target).closest("button");
  const form = enclosingPart(target, "feedback");
  if (!form || !button?.value) return;
  /** @type {NodeListOf<HTMLButtonElement>} */
  const choices = form.querySelectorAll("button[value]");
  for (const each of choices) each.setAttribute("aria-pressed", String(each === button));
  form.dataset.helpful = button.value;
  part(form, "feedback-reason").hidden = false;
  form.querySelector("textarea")?.focus();
});

document.addEventListener("submit", async (event) => {
  const form = enclosingPart(event.target, "feedback");
  if (!form) return;
  event.preventDefault();
  const message = /** @type {HTMLOutputElement} */ (form.querySelector("output"));
  const send = /** @type {HTMLButtonElement} */ (form.querySelector("[type=submit]"));
  message.textContent = "";
  send.disabled = true;
  try {
    const response = await postFeedback(form);
    if (response.ok) {
      message.textContent = words.thanks;
      form.replaceChildren(message);
    } else message.textContent = (await response.json()).detail ?? words.not_understood;
  } catch {
    message.textContent = words.unreachable;
  }
  send.disabled = false;
});

/** @param {HTMLFormElement} form */
function postFeedback(form) {
  const reason = form.querySelector("textarea")?.value.trim();
  const body = { answer_id: form.dataset.answer, helpful: form.dataset.helpful === "yes", ...(reason && { reason }) };
  return fetch("/api/v1/feedback", {
    method: "POST",
    headers: { "content-type": "application/json", "accept-language": document.documentElement.lang },
    body: JSON.stringify(body),
  });
}
