// @ts-check
// The page of one run: what opens beside the table, and what changes while the run is under way.
import { announce, fragment, query, refresh, setQuery } from "./app.js";

const page = /** @type {HTMLElement | null} */ (document.querySelector(".run-page"));
const run = page?.dataset["run"] ?? "";

function panes() {
  return document.querySelector(".run-panes");
}

/** The layout follows whether something is open; the filter's form keeps it open. */
function follow() {
  const open = query().get("row") ?? "";
  panes()?.classList.toggle("filled", open !== "");
  const field = document.querySelector("[data-row-field]");
  if (field instanceof HTMLInputElement) field.value = open;
}

/** Opens an answer that has no row in sight. @param {string} trace */
async function openAnswer(trace) {
  const pane = document.getElementById("answer");
  if (!pane) return;
  const { html } = await fragment(`/runs/${run}/rows/${trace}`);
  pane.innerHTML = html;
  pane.scrollTop = 0;
  pane.classList.add("filled");
  setQuery({ row: trace });
  follow();
  await refresh("#answers");
  pane.focus({ preventScroll: true });
}

/** @param {MouseEvent} event */
function clicked(event) {
  const at = event.target instanceof Element ? event.target : null;
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (at?.closest("[data-close-row]")) {
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
    return;
  }
  const link = at?.closest("[data-open-row]");
  if (link instanceof HTMLElement) {
    event.preventDefault();
    openAnswer(link.dataset["openRow"] ?? "");
  }
}

/** New answers have been read: the table shows them, unless somebody is reading in it. */
function changed() {
  const fresh = document.querySelector(".under-way")?.getAttribute("data-version") ?? "";
  const table = document.querySelector("virtual-rows");
  if (!fresh || fresh === shown) return;
  shown = fresh;
  const scroller = table?.querySelector(".scroll");
  const reading = query().has("row") || (scroller?.scrollTop ?? 0) > 0 || table?.contains(document.activeElement);
  const typing = document.activeElement instanceof HTMLInputElement;
  if (!table || !(reading || typing)) refresh("#answers");
}
let shown = document.querySelector(".under-way")?.getAttribute("data-version") ?? "";

document.addEventListener("click", clicked);
document.addEventListener("row-open", () => setTimeout(follow));
document.addEventListener("pane-filled", () => {
  follow();
  // one pane below the other: what was asked for is below the table
  if (!matchMedia("(min-width:1000px)").matches) document.getElementById("answer")?.scrollIntoView();
});
document.addEventListener("row-close", () => setTimeout(follow));
document.addEventListener("soft-visit", follow);
document.addEventListener("live-change", changed);
document.addEventListener("live-done", () => {
  announce("The run has ended, and all its figures are here.");
  refresh();
});
follow();
