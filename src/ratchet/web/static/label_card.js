// @ts-check
// What is seen of the labelling screen: the item, its controls, how far the queue is, and how long the item was looked at.
import { setQuery } from "./app.js";

/** @typedef {{position: number, slot: number, html?: string, said?: string, note?: string, value?: unknown}} Item */

export const root = /** @type {HTMLElement} */ (document.getElementById("label"));
export const card = /** @type {HTMLElement} */ (document.getElementById("label-card"));
export const strip = /** @type {HTMLElement} */ (document.getElementById("label-strip"));
export const note = /** @type {HTMLTextAreaElement} */ (document.getElementById("label-note-text"));
export const number = /** @type {HTMLInputElement | null} */ (document.getElementById("label-number"));
export const kind = root.dataset["kind"];
const empty = /** @type {HTMLElement} */ (document.getElementById("label-empty"));

let shownAt = 0;
let hiddenMs = 0;
let hiddenAt = 0;

/** @param {Item} item */
export const keyOf = (item) => `${item.position}.${item.slot}`;
/** @param {string} name @returns {HTMLButtonElement | null} */
export const control = (name) => document.querySelector(`button[data-label="${name}"]`);
/** @returns {HTMLButtonElement[]} */
export const choices = () => [...document.querySelectorAll("button[data-choice]")].filter((b) => b instanceof HTMLButtonElement);
/** @param {HTMLElement} button @returns {unknown} */
export const valueOf = (button) => JSON.parse(button.dataset["choice"] ?? "null");
/** @param {HTMLElement} button */
export const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

/** @param {string} name @param {boolean} on */
export function press(name, on) {
  control(name)?.setAttribute("aria-pressed", String(on));
}

/** @param {"note" | "rubric"} name @param {boolean} on */
export function open(name, on) {
  control(name)?.setAttribute("aria-expanded", String(on));
  const part = document.getElementById(`label-${name}`);
  if (part) part.hidden = !on;
}

/** @param {string} id @param {string} text */
function say(id, text) {
  const at = document.getElementById(id);
  if (at) at.textContent = text;
}

/** @param {{done?: number, total?: number}} counts */
export function count({ done, total }) {
  if (done === undefined || total === undefined) return;
  const bar = document.getElementById("label-progress");
  if (bar instanceof HTMLProgressElement) [bar.max, bar.value] = [Math.max(1, total), done];
  say("label-done", done.toLocaleString("en"));
  say("label-total", total.toLocaleString("en"));
  root.toggleAttribute("data-complete", done >= total);
}

/** Shows this item, or that there is none. @param {Item | null} item @param {{drawn?: boolean}} [options] `drawn` by the server */
export function show(item, options = {}) {
  const hadFocus = card.contains(document.activeElement) || document.activeElement === note;
  if (!options.drawn) card.innerHTML = item?.html ?? "";
  card.hidden = item === null;
  empty.hidden = item !== null;
  const title = empty.querySelector("h2");
  if (!item && title && root.hasAttribute("data-complete")) title.textContent = "Everything is labelled.";
  const head = card.querySelector(".label-asked");
  const { example = "", question = "" } = head instanceof HTMLElement ? head.dataset : {};
  say("label-example", example);
  say("label-question", question);
  setQuery({ item: item ? item.position + 1 : null });
  controls(item);
  if (!options.drawn) scrollTo(0, 0);
  if (hadFocus && item) card.focus({ preventScroll: true });
  if (number && item) number.focus({ preventScroll: true });
  [shownAt, hiddenMs, hiddenAt] = [performance.now(), 0, document.hidden ? performance.now() : 0];
}

/** The controls for this item, with what was said before where it was taken back. @param {Item | null} item */
function controls(item) {
  note.value = item?.note ?? "";
  open("note", Boolean(item?.note));
  press("unclear", false);
  const before = Array.isArray(item?.value) ? item.value.map(String) : [];
  for (const button of choices()) {
    if (kind === "many") button.setAttribute("aria-pressed", String(before.includes(String(valueOf(button)))));
    button.setAttribute("aria-disabled", String(!item));
  }
  if (number) number.value = typeof item?.value === "number" ? String(item.value) : "";
}

/** Seconds that the item was in view. */
export function seconds() {
  return (performance.now() - shownAt - hiddenMs) / 1000;
}

/** The item that the server drew into the page. @returns {Item | null} */
export function drawn() {
  const [position, slot] = ["position", "slot"].map((name) => card.querySelector(`input[name=${name}]`));
  if (!(position instanceof HTMLInputElement) || !(slot instanceof HTMLInputElement)) return null;
  return { position: Number(position.value), slot: Number(slot.value) };
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt) hiddenMs += performance.now() - hiddenAt;
});
