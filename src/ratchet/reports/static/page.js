// @ts-check
// Starts the page: theme, keys, rows.
import { EmbeddedSource } from "./source.js";
import { RatchetRows } from "./rows.js";

const root = document.documentElement;

function toggleTheme() {
  const dark = getComputedStyle(root).colorScheme === "dark" || (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
}

function showHelp() {
  const help = document.getElementById("help");
  if (help instanceof HTMLDialogElement && !help.open) help.showModal();
}

/** @param {KeyboardEvent} event @param {any} table */
function pressed(event, table) {
  const at = /** @type {HTMLElement} */ (event.target);
  if (event.key === "Escape" && at.matches("input")) return at.blur();
  if (event.ctrlKey || event.metaKey || event.altKey || at.matches("input, textarea, select")) return undefined;
  if (document.querySelector("dialog[open]")) return undefined;
  if (event.key === "Escape") return table?.close();
  const single = document.getElementById("single-keys");
  if (single instanceof HTMLInputElement && !single.checked) return undefined;
  /** @type {Record<string, () => unknown>} */
  const acts = {
    j: () => table?.move(1),
    k: () => table?.move(-1),
    d: () => table?.toggleDiff(),
    t: toggleTheme,
    "?": showHelp,
    "/": () => table?.find.focus(),
    Enter: () => table?.enter(),
  };
  if (event.key === "Enter" && at.closest("a, button, summary")) return undefined;
  const act = acts[event.key];
  if (!act) return undefined;
  event.preventDefault();
  return act();
}

root.classList.add("js");
customElements.define("ratchet-rows", RatchetRows);
/** @type {any} */
const table = document.querySelector("ratchet-rows");
const packed = document.getElementById("rows");
if (table && packed) table.start(new EmbeddedSource(packed));
document.addEventListener("keydown", (event) => pressed(event, table));
document.addEventListener("click", (event) => {
  const act = /** @type {HTMLElement} */ (event.target).closest("[data-do]");
  if (act instanceof HTMLElement && act.dataset.do === "theme") toggleTheme();
  if (act instanceof HTMLElement && act.dataset.do === "help") showHelp();
  const slice = /** @type {HTMLElement} */ (event.target).closest("[data-slice]");
  if (slice instanceof HTMLElement) table?.change({ slice: slice.dataset.slice, show: "worse" });
});
