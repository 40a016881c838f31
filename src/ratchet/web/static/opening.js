// @ts-check
// Moving through the rows of a table and opening one: beside it, or on a page of its own.
import { setQuery } from "./address.js";
import { announce, fragment, Problem } from "./asking.js";
import { register } from "./keys.js";

export class RowOpener {
  /** @param {import("./table.js").VirtualRows} table */
  constructor(table) {
    this.table = table;
    this.current = -1;
    this.openKey = new URLSearchParams(location.search).get(this.param) ?? "";
    this.turn = 0;
    const group = "Table";
    const act = (/** @type {string} */ keys, /** @type {string} */ label, /** @type {() => void} */ run) =>
      register({ keys, label, run, group, hidden: true });
    this.undo = [
      act("j", "Next row", () => this.move(1)),
      act("k", "Previous row", () => this.move(-1)),
      act("Enter", "Open the row", () => this.open(this.current)),
      act("Escape", "Close the row", () => this.close()),
    ];
    table.addEventListener("click", (event) => this.clicked(event));
    table.addEventListener("keydown", (event) => this.pressed(event));
    const at = table.getAttribute("open-index");
    if (at !== null) this.current = Number(at);
  }

  stop() {
    for (const act of this.undo) act();
  }

  get param() {
    return this.table.getAttribute("param") ?? "row";
  }

  /** Where rows open beside the table; null: on a page of their own. */
  get pane() {
    return document.getElementById(this.table.getAttribute("pane") ?? "");
  }

  /** Whether the row under the keys opens at once: where both panes are in sight, or one is open. */
  get follows() {
    return this.pane !== null && (this.openKey !== "" || matchMedia("(min-width:1000px)").matches);
  }

  /** @param {number} step */
  async move(step) {
    const from = this.current < 0 ? (step > 0 ? -1 : 1) : this.current;
    await this.goTo(from + step);
  }

  /** @param {number} index */
  async goTo(index) {
    if (!this.table.total) return;
    const turn = ++this.turn;
    this.current = Math.min(this.table.total - 1, Math.max(0, index));
    const row = await this.table.reveal(this.current);
    if (turn !== this.turn) return; // the keys went on
    this.mark();
    row?.focus({ preventScroll: true });
    if (row && this.follows) await this.open(this.current);
  }

  /** @param {number} index */
  async open(index) {
    const row = this.table.rows.get(index);
    const href = row?.dataset.href ?? "";
    if (!row) return;
    this.current = index;
    const key = row.dataset.key ?? "";
    const pane = this.pane;
    const detail = { key, index, href };
    if (!this.table.dispatchEvent(new CustomEvent("row-open", { bubbles: true, cancelable: true, detail }))) return;
    if (!pane) {
      if (href) location.assign(href);
      return;
    }
    this.openKey = key;
    setQuery({ [this.param]: key });
    this.mark();
    if (href) await this.fill(pane, href);
  }

  /** @param {HTMLElement} pane @param {string} href */
  async fill(pane, href) {
    this.giveUp?.abort();
    const mine = (this.giveUp = new AbortController());
    try {
      const { html } = await fragment(href, { signal: mine.signal });
      pane.innerHTML = html;
      pane.scrollTop = 0;
      pane.classList.add("filled");
      pane.dispatchEvent(new CustomEvent("pane-filled", { bubbles: true }));
    } catch (error) {
      if (mine.signal.aborted) return; // another row was opened
      if (!(error instanceof Problem)) throw error;
      announce(error.message, { alert: true });
    }
  }

  close() {
    if (!this.openKey) return;
    const detail = { key: this.openKey };
    if (!this.table.dispatchEvent(new CustomEvent("row-close", { bubbles: true, cancelable: true, detail }))) return;
    this.openKey = "";
    this.giveUp?.abort();
    setQuery({ [this.param]: null });
    const hint = Object.assign(document.createElement("p"), { className: "empty", textContent: "Open a row: j and k move, Enter opens." });
    this.pane?.replaceChildren(hint);
    this.pane?.classList.remove("filled");
    this.mark();
    this.table.rows.get(this.current)?.focus({ preventScroll: true });
  }

  /** Shows which row is open and which one the keys are at. */
  mark() {
    for (const [index, row] of this.table.rows) {
      const open = this.openKey !== "" && row.dataset.key === this.openKey;
      if (open && this.current < 0) this.current = index;
      row.classList.toggle("open", open);
      row.classList.toggle("at", index === this.current);
      if (index === this.current) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.tabIndex = index === this.current ? 0 : -1;
    }
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const at = event.target instanceof Element ? event.target : null;
    if (event.ctrlKey || event.metaKey || event.shiftKey || !at || document.getSelection()?.type === "Range") return;
    const row = at.closest("tr[data-index]");
    const link = at.closest("a[href]");
    if (!(row instanceof HTMLTableRowElement) || at.closest("button, input, select, label, summary")) return;
    // the row's own link does what the row does; any other one in it leads where it says
    if (link && link.getAttribute("href") !== row.dataset.href && !link.hasAttribute("data-open")) return;
    event.preventDefault();
    this.open(Number(row.dataset.index));
  }

  /** @param {KeyboardEvent} event */
  pressed(event) {
    if (!(event.target instanceof HTMLTableRowElement)) return;
    const last = this.table.total - 1;
    const page = Math.max(1, this.table.fitting - 1);
    /** @type {Record<string, number>} */
    const places = { ArrowDown: this.current + 1, ArrowUp: this.current - 1, Home: 0, End: last, PageDown: this.current + page, PageUp: this.current - page };
    const place = places[event.key];
    if (place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.goTo(place);
  }
}
