// @ts-check
// The table of examples: only the rows in sight are in the document, at every length. Where rows come from is a source's.
import { gap, idOf, markControls, nothing, part, say } from "./parts.js";
import { readView, writeView } from "./state.js";

const BEYOND = 12;
const HEAD = 30;

/** @typedef {{total: number, html: string}} Some
 * @typedef {import("./state.js").View} View
 * @typedef {{rows: (view: View, first: number, count: number) => Promise<Some>, detail: (id: string) => Promise<string | null>,
 *   place: (view: View, id: string) => Promise<number>, at: (view: View, index: number) => Promise<string | undefined>}} Source */

export class RatchetRows extends HTMLElement {
  /** @type {Source | null} */ source = null;
  turn = 0; asked = 0;
  current = "";
  scroller = document.createElement("div");
  body = document.createElement("tbody");
  pane = document.createElement("section");
  find = document.createElement("input");
  /** @type {HTMLSelectElement | null} */ slice = null;

  connectedCallback() {
    this.scroller = /** @type {HTMLDivElement} */ (part(this, ".scroll"));
    this.body = /** @type {HTMLTableSectionElement} */ (part(this, "tbody"));
    this.pane = /** @type {HTMLElement} */ (part(this, ".detail"));
    this.find = /** @type {HTMLInputElement} */ (part(this, "input[type=search]"));
    this.slice = this.querySelector("select");
    this.find.value = readView().text;
    this.find.addEventListener("input", () => this.change({ text: this.find.value }));
    this.slice?.addEventListener("change", () => this.change({ slice: this.slice?.value ?? "" }));
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.addEventListener("click", (event) => this.clicked(event));
    addEventListener("resize", () => this.draw());
    addEventListener("hashchange", () => this.follow());
  }

  /** @param {Source} source */
  async start(source) {
    this.source = source;
    const wide = matchMedia("(min-width:1000px)").matches;
    if (wide) this.pane.classList.remove("filled"); // what the server put there stays till the row's own comes
    await this.follow();
    if (this.current || !wide) return;
    // two panes side by side: the second one begins with the first row, and the address stays as it is
    const first = await source.at(readView(), 0);
    if (first !== undefined) await this.show(first);
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const at = /** @type {HTMLElement} */ (event.target);
    const act = /** @type {HTMLElement | null} */ (at.closest("[data-show], [data-sort], [data-do], tr[data-row]"));
    const { show, sort, do: wanted, row } = act?.dataset ?? {};
    if (show) this.change({ show });
    else if (sort) this.sortBy(sort);
    else if (wanted === "close") this.close();
    else if (wanted === "diff") this.toggleDiff();
    else if (row && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      this.open(row);
    }
  }

  /** @param {string} key */
  sortBy(key) {
    this.change({ sort: readView().sort === key ? `-${key}` : key });
  }

  /** @param {Partial<View>} changes */
  async change(changes) {
    writeView(changes);
    this.scroller.scrollTop = 0;
    await this.draw();
  }

  /** Puts the rows in sight into the document, between two gaps that stand for all others. */
  async draw() {
    if (!this.source) return;
    const turn = ++this.turn;
    const view = readView();
    const height = parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"), 10);
    const seen = Math.ceil((this.scroller.clientHeight || 600) / height) + 2 * BEYOND;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - BEYOND);
    const { total, html } = await this.source.rows(view, first, seen);
    if (turn !== this.turn) return; // a newer one is under way
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
    const rows = [...holder.content.querySelectorAll("tr")];
    rows.forEach((row, index) => row.setAttribute("aria-rowindex", String(first + index + 2)));
    const held = idOf(document.activeElement?.closest("tr[data-row]"));
    this.body.replaceChildren(gap(first * height), ...rows, gap((total - first - rows.length) * height));
    if (held) this.linkOf(held)?.focus({ preventScroll: true });
    if (!total) this.body.append(nothing());
    this.mark(view, total);
  }

  /** @param {View} view @param {number} total */
  mark(view, total) {
    markControls(this, view, total);
    if (this.slice) this.slice.value = view.slice;
    for (const row of this.body.querySelectorAll("tr[data-row]")) {
      row.classList.toggle("open", idOf(row) === this.current);
      if (idOf(row) === this.current) row.setAttribute("aria-current", "true");
    }
  }

  /** Shows what the address asks for. */
  async follow() {
    if (location.hash.length > 1 && document.getElementById(location.hash.slice(1))) return; // a place on this page
    const { row, text, diff } = readView();
    this.find.value = text;
    this.pane.classList.toggle("plain-text", diff === "off");
    await this.draw();
    if (row) await this.open(row);
    else this.close();
  }

  /** @param {string} id */
  async open(id) {
    if (!(await this.show(id))) return;
    writeView({ row: id });
    if (!matchMedia("(min-width:1000px)").matches) this.pane.scrollIntoView({ block: "start" });
  }

  /** @param {string} id */
  async show(id) {
    const asked = ++this.asked;
    const html = (await this.source?.detail(id)) ?? null;
    if (html === null || asked !== this.asked) return false;
    this.current = id;
    this.pane.innerHTML = html;
    this.pane.scrollTop = 0;
    this.pane.classList.add("filled");
    this.press();
    say(this.pane);
    await this.reveal(id);
    this.dispatchEvent(new CustomEvent("row-shown", { detail: { id } }));
    return true;
  }

  /** Scrolls the row into sight. @param {string} id */
  async reveal(id) {
    if (!this.source) return;
    const index = await this.source.place(readView(), id);
    const height = part(this.body, "tr[data-row]")?.offsetHeight || 36;
    const top = index * height;
    const { scrollTop, clientHeight } = this.scroller;
    if (index >= 0 && (top < scrollTop || top + height > scrollTop + clientHeight - HEAD)) {
      this.scroller.scrollTop = Math.max(0, top - clientHeight / 3);
    }
    await this.draw();
  }

  /** @param {number} step */
  async move(step) {
    if (!this.source) return;
    const view = readView();
    const index = this.current ? await this.source.place(view, this.current) : -1;
    const next = await this.source.at(view, index < 0 ? 0 : Math.max(0, index + step));
    if (next !== undefined) await this.open(next);
  }

  /** The keyboard goes into what is open, the first row where nothing is. */
  async enter() {
    if (!this.current) await this.move(1);
    this.pane.focus();
  }

  close() {
    if (!this.pane.classList.contains("filled")) return;
    const hint = document.createElement("p");
    hint.className = "empty";
    hint.textContent = "Open an example: j and k move, Enter goes into it.";
    const left = this.current;
    const inside = this.pane.contains(document.activeElement);
    this.pane.replaceChildren(hint);
    this.pane.classList.remove("filled");
    this.current = "";
    writeView({ row: "" });
    this.draw().then(() => inside && this.linkOf(left)?.focus());
  }

  /** @param {string} id */
  linkOf(id) {
    return part(this.body, `tr[data-row="${CSS.escape(id)}"] a`);
  }

  toggleDiff() {
    writeView({ diff: this.pane.classList.toggle("plain-text") ? "off" : "on" });
    this.press();
  }

  press() {
    const on = !this.pane.classList.contains("plain-text");
    this.pane.querySelector('[data-do="diff"]')?.setAttribute("aria-pressed", String(on));
  }
}
