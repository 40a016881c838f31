// @ts-check
// Parts of the table of examples: finding them, marking its controls, and what stands where no row is.

/** The element of `inside` that this selector names. @param {ParentNode} inside @param {string} selector */
export function part(inside, selector) {
  return /** @type {HTMLElement | null} */ (inside.querySelector(selector));
}

/** @param {Element | null | undefined} row */
export function idOf(row) {
  return row?.getAttribute("data-row") ?? "";
}

/** Says on the controls what is shown and how it is sorted. @param {HTMLElement} table @param {import("./state.js").View} view @param {number} total */
export function markControls(table, view, total) {
  const counter = part(table, "output");
  if (counter) counter.textContent = `${total.toLocaleString("en")} ${total === 1 ? "row" : "rows"}`;
  part(table, "table.rows")?.setAttribute("aria-rowcount", String(total + 1));
  for (const tab of table.querySelectorAll("[data-show]")) {
    tab.setAttribute("aria-pressed", String(tab.getAttribute("data-show") === view.show));
  }
  for (const button of table.querySelectorAll("[data-sort]")) {
    const head = button.closest("th");
    if (view.sort.replace("-", "") !== button.getAttribute("data-sort")) head?.removeAttribute("aria-sort");
    else head?.setAttribute("aria-sort", view.sort.startsWith("-") ? "descending" : "ascending");
  }
}

/** The room of rows that are out of sight. @param {number} height */
export function gap(height) {
  const row = document.createElement("tr");
  row.className = "gap";
  row.setAttribute("aria-hidden", "true");
  const cell = row.insertCell();
  cell.style.height = `${Math.max(0, height)}px`;
  return row;
}

/** A row that says that there is none. */
export function nothing() {
  const row = document.createElement("tr");
  const cell = row.insertCell();
  cell.colSpan = 6;
  cell.className = "empty";
  cell.textContent = "No example fits. Show all, or clear the filter.";
  return row;
}

/** Tells those who can't see it which example is open. @param {HTMLElement} pane */
export function say(pane) {
  const said = document.getElementById("said");
  const parts = [part(pane, "h2"), part(pane, ".bar strong")].map((one) => one?.textContent?.trim() ?? "");
  if (said) said.textContent = parts.join(", ");
}
