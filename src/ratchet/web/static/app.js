// @ts-check
// What every screen imports, and the controls that every page has.
import { announce } from "./asking.js";
import { register, showKeys } from "./keys.js";
import { openPalette } from "./palette.js";
import "./table.js";
import "./live.js";

export { query, setQuery, withQuery } from "./address.js";
export { announce, csrf, fragment, post, Problem } from "./asking.js";
export { keys, register } from "./keys.js";
export { refresh } from "./soft.js";

const root = document.documentElement;

export function isDark() {
  if (root.dataset.theme) return root.dataset.theme === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

export function toggleTheme() {
  const theme = isDark() ? "light" : "dark";
  root.dataset.theme = theme;
  try {
    localStorage.setItem("ratchet-theme", theme);
  } catch {
    // it holds until the page is left
  }
  announce(theme === "dark" ? "Dark" : "Light");
}

/** @param {MouseEvent} event */
function clicked(event) {
  const at = event.target instanceof Element ? event.target.closest("[data-do]") : null;
  if (!(at instanceof HTMLElement)) return;
  if (at.dataset.do === "theme") toggleTheme();
  if (at.dataset.do === "keys") showKeys();
  if (at.dataset.do === "palette") openPalette();
}

function focusFilter() {
  const find = document.querySelector("main input[type=search]");
  if (find instanceof HTMLInputElement) find.focus();
}

const group = "Everywhere";
register({ keys: "?", label: "Show the keys", run: showKeys, group });
register({ keys: "mod+k", label: "Go to a screen, a run, a verdict", run: () => openPalette(), group, hidden: true });
register({ keys: "t", label: "Dark or light", run: toggleTheme, group });
register({ keys: "/", label: "Filter", run: focusFilter, group, hidden: true });
document.addEventListener("click", clicked);
