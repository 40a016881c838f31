// @ts-check
// The list of queues: the form shows what its order needs; a file of labels is read here and sent as text.
import { post, Problem } from "./app.js";

const order = document.getElementById("order");

function fit() {
  if (!(order instanceof HTMLSelectElement)) return;
  for (const part of document.querySelectorAll("#new-queue [data-for]")) {
    if (part instanceof HTMLElement) part.hidden = !(part.dataset["for"] ?? "").split(" ").includes(order.value);
  }
}

/** @param {SubmitEvent} event */
async function send(event) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.target);
  const said = /** @type {HTMLElement} */ (document.getElementById("import-said"));
  const data = new FormData(form);
  const file = data.get("file");
  if (!(file instanceof File)) return;
  said.textContent = "Reading…";
  try {
    const answer = await post("/label/import", { name: file.name, text: await file.text(), by: data.get("by") }, { quiet: true });
    const { saved } = await answer.json();
    said.textContent = saved === 1 ? "1 label is kept." : `${saved} labels are kept.`;
    said.className = "quiet";
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    said.className = "form-error";
    said.textContent = `${error.what}\n${error.next}`;
  }
}

order?.addEventListener("change", fit);
document.getElementById("label-import")?.addEventListener("submit", send);
fit();
