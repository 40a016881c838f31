// @ts-check
// One column as elements, and back: what its fields say is what is asked, and what is saved.
import { announce, post } from "./asking.js";

/** @typedef {import("./playground.js").Column} Column @typedef {import("./playground.js").Message} Message */

/** @param {string} selector @param {ParentNode} [within] @returns {HTMLElement} */
export function element(selector, within = document) {
  const found = within.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`${selector} is not on this page`);
  return found;
}

/** @param {HTMLElement} column @param {string} name */
function field(column, name) {
  return /** @type {HTMLInputElement | HTMLSelectElement} */ (element(`.play-${name}`, column));
}

/** A number where the text is one, else the text: the server says what is wrong with it. @param {string} text */
function number(text) {
  const found = Number(text);
  return text.trim() === "" || Number.isNaN(found) ? text : found;
}

/** What the column's fields say. @param {HTMLElement} column @returns {Column} */
export function columnOf(column) {
  /** @type {Record<string, unknown>} */
  let params = {};
  const others = field(column, "others");
  try {
    params = others.value.trim() ? JSON.parse(others.value) : {};
    others.removeAttribute("aria-invalid");
  } catch {
    others.setAttribute("aria-invalid", "true");
  }
  for (const [name, key] of [["temperature", "temperature"], ["max", "max_tokens"]]) {
    const given = field(column, name ?? "").value.trim();
    if (given && key) params[key] = number(given);
  }
  const messages = [...column.querySelectorAll(".play-message")].map((one) => ({
    role: /** @type {HTMLSelectElement} */ (one.querySelector("select")).value,
    content: /** @type {HTMLTextAreaElement} */ (one.querySelector("textarea")).value,
  }));
  return {
    model: field(column, "model").value.trim(),
    variant: column.dataset["variant"] ?? "",
    params,
    messages,
    syntax: field(column, "syntax").value,
  };
}

/** Puts a column into its fields. @param {HTMLElement} column @param {Column} given */
export function fill(column, given) {
  const { temperature, max_tokens: most, ...others } = given.params ?? {};
  column.dataset["variant"] = given.variant ?? "";
  field(column, "model").value = given.model ?? "";
  field(column, "variant").value = given.variant ?? "";
  field(column, "temperature").value = temperature === undefined ? "" : String(temperature);
  field(column, "max").value = most === undefined ? "" : String(most);
  field(column, "others").value = Object.keys(others).length ? JSON.stringify(others) : "";
  field(column, "syntax").value = given.syntax || "format";
  const place = element(".play-messages", column);
  place.replaceChildren();
  const isFunction = Boolean(given.variant) && !given.model;
  column.classList.toggle("is-function", isFunction);
  if (isFunction) return;
  for (const message of given.messages?.length ? given.messages : [{ role: "user", content: "{input}" }]) say(place, message);
  element(".play-more", column).onclick = () => {
    say(place, { role: "user", content: "" }).focus();
  };
}

/** One message's fields. @param {HTMLElement} place @param {Message} message */
function say(place, message) {
  const template = /** @type {HTMLTemplateElement} */ (element("#play-message"));
  const made = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  const text = /** @type {HTMLTextAreaElement} */ (element("textarea", made));
  /** @type {HTMLSelectElement} */ (element("select", made)).value = message.role;
  text.value = message.content;
  text.rows = Math.min(14, Math.max(2, message.content.split("\n").length));
  element("button", made).onclick = () => {
    made.remove();
    place.dispatchEvent(new Event("input", { bubbles: true }));
  };
  place.append(made);
  return text;
}

/** Makes the column a variant of ratchet.yaml. @param {HTMLElement} column @param {Record<string, Column>} variants */
export async function save(column, variants) {
  const field = /** @type {HTMLInputElement} */ (element(".play-name", column));
  const name = field.value.trim();
  if (!name) {
    field.focus();
    announce("Give the new variant a name.", { alert: true });
    return;
  }
  const answer = await post("/playground/save", { name, column: columnOf(column) });
  const { file, snippet } = await answer.json();
  announce(file ? `${name} stands in ${file} now: ratchet run --variant ${name}` : `There is no ratchet.yaml. ${snippet}`, { alert: !file });
  if (file) variants[name] = { ...columnOf(column), variant: name };
}
