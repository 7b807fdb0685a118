// The form of an experiment's parameters: reading it, rolling the die, restoring, showing what was refused.

/** The parameters and the seed as typed, and what to compare; words such as inf and nan stay words. */
export function read(form) {
  const params = {};
  for (const input of inputs(form)) params[input.name] = value(input);
  const compare = form.querySelector(".compare")?.value;
  return { params, seed: Number(form.elements.seed.value), compare: compare ? [compare] : {} };
}

/** Puts back what the entry itself uses. */
export function restore(form) {
  for (const input of [...inputs(form), form.elements.seed]) input.value = input.dataset.own;
}

/** Another seed, small enough to be read aloud. */
export function roll(form) {
  form.elements.seed.value = 1 + Math.floor(Math.random() * 9999);
}

/** Marks the input that the service refused and says why; no problem clears it. */
export function refuse(form, problem) {
  const said = form.querySelector(".wrong");
  said.hidden = !problem;
  said.textContent = problem?.message ?? "";
  for (const input of inputs(form)) {
    const meant = problem?.field === `params.${input.name}`;
    if (!meant) input.removeAttribute("aria-invalid");
    else input.setAttribute("aria-invalid", "true");
    if (meant) input.focus();
  }
}

function inputs(form) {
  return [...form.elements].filter((input) => input.name && input.name !== "seed");
}

function value(input) {
  const text = input.value.trim();
  if (input.dataset.kind === "bool") return text === "true";
  if (input.dataset.kind === "choice") return text;
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text;
}
