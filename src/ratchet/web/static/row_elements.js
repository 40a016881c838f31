// @ts-check
// Rows of a table that don't come from the server as they are.

/** The rows of a fragment. @param {string} html */
export function rowsOf(html) {
  const holder = document.createElement("template");
  holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
  return [...holder.content.querySelectorAll("tr")];
}

/** A row that stands for others. @param {number} height */
export function gap(height) {
  const row = document.createElement("tr");
  row.className = "gap";
  row.setAttribute("aria-hidden", "true");
  row.insertCell().style.height = `${height}px`;
  return row;
}

/** A row that says that there is none. @param {string | null} text */
export function nothing(text) {
  const row = document.createElement("tr");
  const cell = row.insertCell();
  cell.colSpan = 99;
  cell.className = "empty";
  cell.textContent = text ?? "No row fits. Show all, or clear the filter.";
  return row;
}
