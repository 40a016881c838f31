// @ts-check
// The command palette: screens, the keys of this screen, and what the server finds by name.
import { keys, shown } from "./keys.js";

/** @typedef {{label: string, note: string, href?: string, run?: () => void}} Command */

/**
 * How well the letters of `text` fit a name, in order; null where they don't. Starts of words and runs count more.
 * @param {string} text @param {string} name
 */
export function fit(text, name) {
  const wanted = text.toLowerCase().replace(/\s+/g, "");
  const held = name.toLowerCase();
  let at = 0;
  let score = 0;
  let before = -2;
  for (const letter of wanted) {
    const found = held.indexOf(letter, at);
    if (found < 0) return null;
    const starts = found === 0 || /[\s/_.:-]/.test(held[found - 1] ?? "");
    score += found === before + 1 ? 3 : starts ? 2 : 0;
    before = found;
    at = found + 1;
  }
  return score - held.length / 100;
}

/** @returns {Command[]} */
function own() {
  const links = [...document.querySelectorAll("nav.nav a[href]")].map((link) => ({
    label: link.textContent?.trim() ?? "",
    note: "screen",
    href: link.getAttribute("href") ?? "/",
  }));
  const acts = keys()
    .filter((key) => !key.hidden)
    .map((key) => ({ label: key.label, note: shown(key.keys).join(" "), run: () => key.run(new KeyboardEvent("keydown")) }));
  return [...links, ...acts];
}

class Palette {
  constructor() {
    this.dialog = document.createElement("dialog");
    this.dialog.className = "palette";
    this.dialog.setAttribute("aria-label", "Go to");
    this.input = Object.assign(document.createElement("input"), { type: "text", placeholder: "Go to a screen, a run, a verdict, or do…" });
    this.list = document.createElement("ul");
    this.list.id = "palette-list";
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Results");
    const about = { role: "combobox", "aria-expanded": "true", "aria-controls": this.list.id, "aria-autocomplete": "list", "aria-label": "Go to", autocomplete: "off", spellcheck: "false" };
    for (const [name, value] of Object.entries(about)) this.input.setAttribute(name, value);
    this.dialog.append(this.input, this.list);
    /** @type {Command[]} */
    this.own = own();
    /** @type {Command[]} */
    this.found = [];
    /** @type {Command[]} */
    this.shown = [];
    this.at = 0;
    this.turn = 0;
    this.input.addEventListener("input", () => this.changed());
    this.input.addEventListener("keydown", (event) => this.pressed(event));
    this.list.addEventListener("click", (event) => this.clicked(event));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.dialog.remove());
  }

  open() {
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.input.focus();
    this.changed();
  }

  async changed() {
    const turn = ++this.turn;
    this.draw();
    try {
      const answer = await fetch(`/palette?${new URLSearchParams({ q: this.input.value })}`, { headers: { Accept: "application/json" } });
      if (turn !== this.turn || !answer.ok) return; // a newer one is under way
      this.found = await answer.json();
    } catch {
      this.found = []; // the screens and keys still work
    }
    this.draw(false);
  }

  draw(first = true) {
    const text = this.input.value;
    const scored = this.own.flatMap((one) => {
      const score = fit(text, one.label);
      return score === null ? [] : [{ one, score }];
    });
    if (text) scored.sort((x, y) => y.score - x.score);
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    // what the server found for the text before is no answer to this one
    const fitting = this.found.filter((one) => words.every((word) => `${one.label} ${one.note} ${one.href}`.toLowerCase().includes(word)));
    this.shown = [...scored.map(({ one }) => one), ...fitting];
    if (first) this.at = 0;
    this.list.replaceChildren(...this.shown.map((one, index) => this.option(one, index)));
    if (!this.shown.length) this.list.append(Object.assign(document.createElement("li"), { className: "empty", textContent: "Nothing of that name." }));
    this.mark();
  }

  /** @param {Command} one @param {number} index */
  option(one, index) {
    const item = document.createElement("li");
    item.id = `palette-${index}`;
    item.setAttribute("role", "option");
    item.append(Object.assign(document.createElement("span"), { textContent: one.label }));
    item.append(Object.assign(document.createElement("small"), { textContent: one.note }));
    return item;
  }

  mark() {
    this.at = Math.min(this.at, Math.max(0, this.shown.length - 1));
    [...this.list.children].forEach((item, index) => item.setAttribute("aria-selected", String(index === this.at)));
    const current = this.shown.length ? this.list.children[this.at] : undefined;
    this.input.setAttribute("aria-activedescendant", current?.id ?? "");
    current?.scrollIntoView({ block: "nearest" });
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key === "Enter") this.choose(this.at);
    else if (event.key in steps) {
      const step = steps[/** @type {keyof typeof steps} */ (event.key)];
      const count = this.shown.length;
      this.at = Math.abs(step) === 1 ? (this.at + step + count) % Math.max(1, count) : Math.min(count - 1, Math.max(0, this.at + step));
      this.mark();
    } else return;
    event.preventDefault();
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const item = event.target instanceof Element ? event.target.closest("[role=option]") : null;
    if (item) this.choose([...this.list.children].indexOf(item));
  }

  /** @param {number} index */
  choose(index) {
    const one = this.shown[index];
    if (!one) return;
    this.dialog.close();
    if (one.href) location.assign(one.href);
    else one.run?.();
  }
}

/** Opens the palette, once. */
export function openPalette() {
  if (!document.querySelector("dialog.palette")) new Palette().open();
}
