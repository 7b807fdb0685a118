// The few words that scripts write, in the page's language.
export const words = JSON.parse(document.getElementById("labels").textContent);
