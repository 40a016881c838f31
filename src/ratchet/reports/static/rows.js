// @ts-check
// The table of examples: only the rows in sight are in the document, at every length.
import { readView, writeView } from "./state.js";

const BEYOND = 12;

export class RatchetRows extends HTMLElement {
  connectedCallback() {
    /** @type {any} */
    this.source = null;
    this.turn = 0;
    this.current = "";
    this.scroller = this.querySelector(".scroll");
    this.body = this.querySelector("tbody");
    this.pane = this.querySelector(".detail");
    this.find = this.querySelector("input[type=search]");
    this.counter = this.querySelector("output");
    this.find.value = readView().text;
    this.find.addEventListener("input", () => this.change({ text: this.find.value }));
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    this.addEventListener("click", (event) => this.clicked(event));
    addEventListener("resize", () => this.draw());
    addEventListener("hashchange", () => this.follow());
  }

  /** @param {any} source */
  async start(source) {
    this.source = source;
    await this.draw();
    await this.follow();
    const [worst] = await source.order(readView());
    // two panes side by side: the second one begins with the first row, and the address stays as it is
    if (!this.current && worst !== undefined && matchMedia("(min-width:1000px)").matches) await this.show(worst);
  }

  /** @param {Event} event */
  clicked(event) {
    const at = /** @type {HTMLElement} */ (event.target);
    const tab = at.closest("[data-show]");
    const sort = at.closest("[data-sort]");
    const act = at.closest("[data-do]");
    const row = at.closest("tr[data-row]");
    if (tab) this.change({ show: tab.dataset.show });
    else if (sort) this.sortBy(sort.dataset.sort);
    else if (act?.dataset.do === "close") this.close();
    else if (act?.dataset.do === "diff") this.toggleDiff();
    else if (row) {
      event.preventDefault();
      this.open(row.dataset.row);
    }
  }

  /** @param {string} key */
  sortBy(key) {
    this.change({ sort: readView().sort === key ? `-${key}` : key });
  }

  /** @param {Partial<import("./state.js").View>} changes */
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
    holder.innerHTML = `<table><tbody>${html.join("")}</tbody></table>`;
    const rows = [...holder.content.querySelectorAll("tr")];
    this.body.replaceChildren(gap(first * height), ...rows, gap((total - first - rows.length) * height));
    if (!total) this.body.append(nothing());
    this.mark(view, total);
  }

  /** @param {import("./state.js").View} view @param {number} total */
  mark(view, total) {
    this.counter.textContent = `${total.toLocaleString("en")} ${total === 1 ? "row" : "rows"}`;
    for (const tab of this.querySelectorAll("[data-show]")) {
      tab.setAttribute("aria-pressed", String(tab.dataset.show === view.show));
    }
    for (const button of this.querySelectorAll("[data-sort]")) {
      const head = button.closest("th");
      if (view.sort.replace("-", "") !== button.dataset.sort) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", view.sort.startsWith("-") ? "descending" : "ascending");
    }
    for (const row of this.body.querySelectorAll("tr[data-row]")) {
      row.classList.toggle("open", row.dataset.row === this.current);
    }
  }

  /** Shows what the address asks for. */
  async follow() {
    const { row, text } = readView();
    this.find.value = text;
    if (row) await this.open(row);
    else this.close();
  }

  /** @param {string} id */
  async open(id) {
    if (await this.show(id)) writeView({ row: id });
  }

  /** @param {string} id */
  async show(id) {
    const html = await this.source.detail(id);
    if (html === null) return false;
    this.current = id;
    this.pane.innerHTML = html;
    this.pane.scrollTop = 0;
    this.pane.classList.add("filled");
    await this.reveal(id);
    return true;
  }

  /** Scrolls the row into sight. @param {string} id */
  async reveal(id) {
    const index = (await this.source.order(readView())).indexOf(id);
    const height = this.body.querySelector("tr[data-row]")?.offsetHeight || 36;
    const head = 30;
    const top = index * height;
    const { scrollTop, clientHeight } = this.scroller;
    if (index >= 0 && (top < scrollTop || top + height > scrollTop + clientHeight - head)) {
      this.scroller.scrollTop = Math.max(0, top - clientHeight / 3);
    }
    await this.draw();
  }

  /** @param {number} step */
  async move(step) {
    const order = await this.source.order(readView());
    const index = order.indexOf(this.current);
    const next = order[index < 0 ? 0 : Math.min(order.length - 1, Math.max(0, index + step))];
    if (next !== undefined) await this.open(next);
  }

  close() {
    if (!this.pane.classList.contains("filled")) return;
    const hint = document.createElement("p");
    hint.className = "empty";
    hint.textContent = "Open an example: j and k move, Enter opens.";
    this.pane.replaceChildren(hint);
    this.pane.classList.remove("filled");
    this.current = "";
    writeView({ row: "" });
    this.draw();
  }

  toggleDiff() {
    this.pane.classList.toggle("plain-text");
  }
}

/** @param {number} height */
function gap(height) {
  const row = document.createElement("tr");
  row.className = "gap";
  row.setAttribute("aria-hidden", "true");
  const cell = row.insertCell();
  cell.style.height = `${Math.max(0, height)}px`;
  return row;
}

function nothing() {
  const row = document.createElement("tr");
  const cell = row.insertCell();
  cell.colSpan = 4;
  cell.textContent = "No example fits. Show all, or clear the filter.";
  return row;
}
