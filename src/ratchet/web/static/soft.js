// @ts-check
// Links and forms that change a part of the page instead of loading it anew: the server may render that part alone (`X-Part`), or all of it.
import { announce, fragment, Problem } from "./asking.js";

/**
 * `<a href="?sort=-cost" data-soft>` and `<form method="get" data-soft>` replace the content of `<main>` by that of the
 * address they lead to; `data-soft="#table"` replaces only the element with that id. Forms act while one types, and at once on a choice.
 * The address changes, Back works, and the field that has the focus keeps it with what was typed meanwhile.
 */
const WAIT_MS = 60; // for more letters
/** @type {AbortController | null} */
let underWay = null;
/** @type {number | undefined} */
let waiting;

/** @type {Promise<void>} */
let running = Promise.resolve();

/** Loads this address into the page. @param {string} url @param {{part?: string, push?: boolean}} [options] `part`: "#id" */
export function visit(url, options = {}) {
  return (running = load(url, options));
}

/** Loads the present address again, after what somebody asked for. @param {string} [part] "#id" */
export async function refresh(part = "") {
  for (let last; last !== running; ) await (last = running).catch(() => undefined);
  await visit(location.href, { part, push: false });
}

/** @param {string} url @param {{part?: string, push?: boolean}} options @returns {Promise<void>} */
async function load(url, options) {
  underWay?.abort();
  const mine = (underWay = new AbortController());
  try {
    const { html } = await fragment(url, { signal: mine.signal, part: options.part ?? "" });
    if (options.push ?? true) history.pushState({ soft: options.part ?? "" }, "", url);
    else if (location.href !== url) return await load(location.href, options); // a row was opened meanwhile
    swap(html, options.part ?? "");
  } catch (error) {
    if (mine.signal.aborted) return; // a newer one is under way
    if (!(error instanceof Problem)) throw error;
    if (error.status === 0) announce(error.message, { alert: true });
    else location.assign(url); // the whole page says what is wrong
  }
}

/** @param {string} html @param {string} part */
function swap(html, part) {
  const main = document.getElementById("main");
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const fresh = part ? holder.content.querySelector(part) : null;
  const old = part ? document.querySelector(part) : null;
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement : null;
  const kept = keep(focused, fresh ?? holder.content);
  if (fresh && old) old.replaceWith(fresh);
  else main?.replaceChildren(holder.content);
  kept?.();
  document.dispatchEvent(new CustomEvent("soft-visit", { detail: { part } }));
}

/**
 * Carries the focused field over into what replaces it; what comes back restores the focus.
 * @param {HTMLElement | null} focused @param {ParentNode} fresh
 */
function keep(focused, fresh) {
  if (!focused?.id) return null;
  const twin = fresh.querySelector(`#${CSS.escape(focused.id)}`);
  if (!twin) return null;
  if (!(focused instanceof HTMLInputElement) || !["search", "text"].includes(focused.type)) {
    return () => document.getElementById(focused.id)?.focus({ preventScroll: true });
  }
  const { selectionStart, selectionEnd } = focused;
  return () => {
    document.getElementById(focused.id)?.replaceWith(focused);
    focused.focus({ preventScroll: true });
    focused.setSelectionRange(selectionStart, selectionEnd);
  };
}

/** The address that a form leads to; empty fields are left out. @param {HTMLFormElement} form */
function addressOf(form) {
  const made = new URL(form.getAttribute("action") || location.pathname, location.href);
  for (const [name, value] of new FormData(form)) if (value !== "") made.searchParams.append(name, String(value));
  return made.pathname + made.search;
}

/** @param {HTMLFormElement} form */
function send(form) {
  clearTimeout(waiting);
  visit(addressOf(form), { part: form.dataset.soft ?? "" });
}

/**
 * Whether more may come: not of a choice, which is made with one act.
 * @param {EventTarget | null} field @returns {field is HTMLInputElement | HTMLTextAreaElement}
 */
function isTyped(field) {
  return field instanceof HTMLTextAreaElement || (field instanceof HTMLInputElement && !["checkbox", "radio"].includes(field.type));
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[data-soft]") : null;
  if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented) return;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  visit(link.href, { part: link.dataset.soft ?? "" });
});
document.addEventListener("submit", (event) => {
  if (!(event.target instanceof HTMLFormElement) || !event.target.matches("[data-soft]")) return;
  event.preventDefault();
  send(event.target);
});
document.addEventListener("input", (event) => {
  const form = event.target instanceof Element ? event.target.closest("form[data-soft]") : null;
  if (!(form instanceof HTMLFormElement)) return;
  clearTimeout(waiting);
  const field = event.target;
  if (!isTyped(field)) send(form);
  // by then another form may stand here, and the field in it
  else waiting = setTimeout(() => send(field.closest("form") ?? form), WAIT_MS);
});
// a page that changed softly comes back softly; all others come back by themselves
addEventListener("popstate", (event) => {
  if (event.state === null && location.hash) return; // a link within the page, such as the one past the nav
  visit(location.href, { push: false });
});
