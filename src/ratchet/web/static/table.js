// @ts-check
// A table of any length of which only the rows in sight are in the document.
import { withQuery } from "./address.js";
import { announce, fragment, Problem } from "./asking.js";
import { Geometry } from "./geometry.js";
import { RowOpener } from "./opening.js";
import { gap, nothing, rowsOf } from "./row_elements.js";

const PAGE = 100;
const MOST_KEPT = 3000;
const AGAIN_MS = 3000;

/**
 * `<virtual-rows src="/runs/ID/rows?sort=cost" total="50000">` around a scrolling element (`.scroll`) with a table in it.
 *
 * - `src` is asked for `offset` and `limit` and answers with `<tr data-key data-href>`s, and with the header `X-Total`.
 *   Setting it anew shows the first rows of the new one.
 * - Rows that the server put into the `tbody` are the first ones, or those from the attribute `offset` on.
 * - `pane="id"`: opening a row loads its `data-href` into that element; without it, the browser goes there.
 * - `param` (default "row") is the key in the address's query that holds the open row's `data-key`.
 * - `open-index` is the place of the row that is open from the start.
 * - `[data-rows-total]` inside shows how many there are.
 *
 * Events, which bubble: `row-open` with `{key, index, href}` and `row-close` with `{key}`, which can be prevented;
 * `rows-drawn` with `{total}`; `pane-filled` from the pane.
 */
export class VirtualRows extends HTMLElement {
  static observedAttributes = ["src"];

  /** @type {Map<number, HTMLTableRowElement>} what is known, by its place in the whole table */
  rows = new Map();
  /** @type {Map<number, Promise<boolean>>} pages under way */
  asked = new Map();
  stopping = new AbortController();
  shown = "";
  reloading = false;

  connectedCallback() {
    this.body = this.querySelector("tbody");
    this.scroller = /** @type {HTMLElement | null} */ (this.querySelector(".scroll"));
    if (!(this.body && this.scroller)) return;
    this.take([...this.body.rows], Number(this.getAttribute("offset") ?? 0));
    const head = this.querySelector("thead")?.offsetHeight ?? 0;
    this.geometry = new Geometry(this.total, Number(this.getAttribute("row-height") ?? 36), head);
    this.opener = new RowOpener(this);
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.scroller);
    this.draw();
    if (this.opener.current >= 0) this.reveal(this.opener.current);
  }

  disconnectedCallback() {
    this.stopping.abort();
    this.sizes?.disconnect();
    this.opener?.stop();
  }

  /** @param {string} _name @param {string | null} before */
  attributeChangedCallback(_name, before) {
    if (before !== null && this.geometry) this.reload();
  }

  get total() {
    return Number(this.getAttribute("total") ?? 0);
  }

  /** How many rows are in sight at once. */
  get fitting() {
    return Math.floor(this.geometry?.fitting(this.scroller?.clientHeight ?? 0) ?? 1);
  }

  /** Forgets all rows and shows the first ones of `src`. */
  async reload() {
    this.stopping.abort();
    this.stopping = new AbortController();
    this.asked.clear();
    this.reloading = true; // no row of the new source among those of the old one
    const { signal } = this.stopping;
    const fresh = await this.ask(0);
    this.reloading = signal.aborted; // by another source
    if (signal.aborted || !fresh) return;
    this.rows = new Map();
    this.take(fresh, 0);
    if (this.opener) this.opener.current = -1;
    if (this.scroller) this.scroller.scrollTop = 0;
    this.draw(true);
  }

  /** @param {HTMLTableRowElement[]} rows @param {number} offset */
  take(rows, offset) {
    rows.forEach((row, at) => {
      if (this.rows.has(offset + at)) return; // it may have the focus
      row.setAttribute("aria-rowindex", String(offset + at + 2)); // the head is the first
      row.dataset.index = String(offset + at);
      this.rows.set(offset + at, row);
    });
  }

  /** Puts the rows in sight into the document, each at its own height, and asks for those that are missing. */
  draw(anew = false) {
    if (!this.geometry || !this.body || !this.scroller) return;
    this.geometry.total = this.total;
    const height = this.body.querySelector("tr[data-index]")?.getBoundingClientRect().height;
    if (height) this.geometry.row = height; // as it really is: zoom and fonts have a say
    const { first, last, top, bottom } = this.geometry.window(this.scroller.scrollTop, this.scroller.clientHeight);
    const shown = `${first} ${last} ${top} ${bottom}`;
    if (!anew && shown === this.shown) return;
    this.shown = shown;
    const focused = document.activeElement;
    const held = focused instanceof HTMLElement && this.body.contains(focused) ? focused : null;
    this.body.replaceChildren(gap(top), ...this.between(first, last), gap(bottom));
    if (!this.total) this.body.append(nothing(this.getAttribute("empty")));
    if (held?.isConnected) held.focus({ preventScroll: true });
    else if (held) this.scroller.focus({ preventScroll: true }); // its row is out of sight, the keys still act here
    this.finish();
  }

  /** The rows from `first` to before `last`; a gap stands for those that are not here yet. @param {number} first @param {number} last */
  between(first, last) {
    const drawn = [];
    for (let index = first; index < last; index++) {
      const row = this.rows.get(index);
      if (!row) this.want(index);
      drawn.push(row ?? gap(this.geometry?.row ?? 0));
    }
    return drawn;
  }

  finish() {
    const total = this.total;
    this.querySelector("table")?.setAttribute("aria-rowcount", String(total + 1));
    for (const counter of this.querySelectorAll("[data-rows-total]")) {
      counter.textContent = `${total.toLocaleString("en")} ${total === 1 ? "row" : "rows"}`;
    }
    this.opener?.mark();
    this.dispatchEvent(new CustomEvent("rows-drawn", { bubbles: true, detail: { total } }));
  }

  /** @param {number} index */
  want(index) {
    const page = Math.floor(index / PAGE) * PAGE;
    if (!this.asked.has(page) && !this.reloading) this.load(page).then((came) => came && this.draw(true));
  }

  /** Asks for a page of rows, once at a time; whether they came. @param {number} page */
  load(page) {
    const under = this.asked.get(page) ?? this.loading(page);
    this.asked.set(page, under);
    return under;
  }

  /** @param {number} page */
  async loading(page) {
    const { signal } = this.stopping;
    const rows = await this.ask(page);
    if (signal.aborted) return false;
    if (!rows) {
      setTimeout(() => this.asked.delete(page), AGAIN_MS); // not again and again
      return false;
    }
    this.take(rows, page);
    this.forget(page);
    this.asked.delete(page);
    return true;
  }

  /** The rows from here on; null where the server has none to give. @param {number} offset */
  async ask(offset) {
    const { signal } = this.stopping;
    try {
      const { html, headers } = await fragment(withQuery(this.getAttribute("src") ?? "", { offset, limit: PAGE }), { signal });
      const total = headers.get("X-Total");
      if (total !== null) this.setAttribute("total", total);
      return rowsOf(html);
    } catch (error) {
      if (!signal.aborted && !(error instanceof Problem)) throw error;
      if (!signal.aborted) announce(String(/** @type {Error} */ (error).message), { alert: true });
      return null;
    }
  }

  /** Keeps the memory small: rows far from here can be asked for again. @param {number} near */
  forget(near) {
    if (this.rows.size <= MOST_KEPT) return;
    for (const index of this.rows.keys()) if (Math.abs(index - near) > MOST_KEPT / 3) this.rows.delete(index);
  }

  /** Scrolls this row into sight and gives it, once it is there. @param {number} index */
  async reveal(index) {
    if (!this.geometry || !this.scroller) return undefined;
    this.scroller.scrollTop = this.geometry.reveal(index, this.scroller.scrollTop, this.scroller.clientHeight);
    if (!this.rows.has(index)) await this.load(Math.floor(index / PAGE) * PAGE);
    this.draw(true);
    return this.rows.get(index);
  }
}

customElements.define("virtual-rows", VirtualRows);
