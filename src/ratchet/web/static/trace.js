// @ts-check
// Keys of one answer's page: the answers beside it, the views of its output, the form that adds it to a dataset.
import { TextBlock } from "./blocks.js";
import { register } from "./keys.js";

/** @param {string} id */
function follow(id) {
  const link = document.getElementById(id);
  if (link instanceof HTMLAnchorElement) link.click();
}

function openAdding() {
  const details = document.getElementById("add");
  if (!(details instanceof HTMLDetailsElement)) return;
  details.open = true;
  details.scrollIntoView({ block: "start" });
  document.getElementById("add-dataset")?.focus({ preventScroll: true });
}

function nextView() {
  const output = document.getElementById("block-output");
  if (output instanceof TextBlock) output.next();
}

function chooseNew() {
  const name = document.getElementById("add-name");
  const list = document.getElementById("add-dataset");
  if (name instanceof HTMLInputElement && list instanceof HTMLSelectElement && name.value) list.value = "";
}

register({ keys: "j", label: "The next answer to the same example", run: () => follow("after") });
register({ keys: "k", label: "The answer before", run: () => follow("before") });
register({ keys: "v", label: "Output as rendered, raw or JSON", run: nextView });
register({ keys: "a", label: "Add to a dataset", run: openAdding });
register({ keys: "p", label: "Open in the playground", run: () => follow("to-playground") });
document.getElementById("add-name")?.addEventListener("input", chooseNew);
document.getElementById("to-dataset")?.addEventListener("click", (event) => {
  event.preventDefault();
  openAdding();
});
if (location.hash === "#add") openAdding();
