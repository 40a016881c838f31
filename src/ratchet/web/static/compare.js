// @ts-check
// The compare screen: the report's table of examples, its rows and details asked of the server.
import { announce, fragment, post, register } from "./app.js";
import { RatchetRows } from "./rows.js";
import { readView } from "./state.js";

const PAGE = 60;
const MOST_DETAILS = 30;
const MOST_PAGES = 40;

/** What the address says of a view, without what is open. @param {import("./state.js").View} view */
function asked(view) {
  return new URLSearchParams({ show: view.show, sort: view.sort, text: view.text, slice: view.slice });
}

/** Rows and details of a kept verdict. */
export class LiveSource {
  /** @param {string} href */
  constructor(href) {
    this.href = href;
    /** @type {Map<string, Promise<{total: number, rows: string[], ids: string[]}>>} */
    this.pages = new Map();
    /** @type {Map<string, Promise<string | null>>} */
    this.details = new Map();
  }

  /** @param {import("./state.js").View} view @param {number} number */
  page(view, number) {
    const query = asked(view);
    query.set("offset", String(number * PAGE));
    query.set("limit", String(PAGE));
    const key = query.toString();
    const found = this.pages.get(key) ?? this.fetchPage(`${this.href}/rows?${key}`);
    this.pages.delete(key);
    this.pages.set(key, found); // the newest last
    found.catch(() => this.pages.delete(key));
    if (this.pages.size > MOST_PAGES) this.pages.delete(this.pages.keys().next().value ?? "");
    return found;
  }

  /** @param {string} url */
  async fetchPage(url) {
    const { html, headers } = await fragment(url);
    const holder = document.createElement("template");
    holder.innerHTML = `<table><tbody>${html}</tbody></table>`;
    const rows = [...holder.content.querySelectorAll("tr")];
    return {
      total: Number(headers.get("X-Total")),
      rows: rows.map((row) => row.outerHTML),
      ids: rows.map((row) => row.dataset["row"] ?? ""),
    };
  }

  /**
   * @param {import("./state.js").View} view @param {number} first @param {number} count
   * @returns {Promise<{total: number, html: string}>}
   */
  async rows(view, first, count) {
    const numbers = [];
    for (let at = Math.floor(first / PAGE); at <= Math.floor((first + count - 1) / PAGE); at++) numbers.push(at);
    const start = numbers[0] ?? 0;
    const head = await this.page(view, start);
    if (head.total <= first && start > 0) return this.rows(view, 0, count);
    const wanted = numbers.filter((at) => at === start || at * PAGE < head.total);
    const found = await Promise.all(wanted.map((at) => this.page(view, at)));
    const html = found.flatMap((page) => page.rows).slice(first - start * PAGE, first - start * PAGE + count);
    return { total: head.total, html: html.join("") };
  }

  /** @param {import("./state.js").View} view @param {string} id */
  async place(view, id) {
    const query = asked(view).toString();
    for (const [key, page] of this.pages) {
      const given = new URLSearchParams(key);
      const at = (await page).ids.indexOf(id);
      const offset = Number(given.get("offset"));
      given.delete("offset");
      given.delete("limit");
      if (at >= 0 && given.toString() === query) return offset + at;
    }
    const answer = await fetch(`${this.href}/rows/${id}/place?${query}`, { headers: { Accept: "application/json" } });
    return answer.ok ? ((await answer.json()).place ?? -1) : -1;
  }

  /** @param {import("./state.js").View} view @param {number} index */
  async at(view, index) {
    return (await this.page(view, Math.floor(index / PAGE))).ids[index % PAGE];
  }

  /** @param {string} id */
  detail(id) {
    const found = this.details.get(id) ?? fragment(`${this.href}/rows/${encodeURIComponent(id)}`).then(({ html }) => html, (error) => {
      announce(error.message, { alert: true });
      this.details.delete(id);
      return null;
    });
    this.details.set(id, found);
    if (this.details.size > MOST_DETAILS) this.details.delete(this.details.keys().next().value ?? "");
    return found;
  }

  /** Reads ahead: the next example is mostly the next one asked for. @param {import("./state.js").View} view @param {string} id */
  async prefetch(view, id) {
    const index = await this.place(view, id);
    const next = index < 0 ? undefined : await this.at(view, index + 1);
    if (next !== undefined) this.detail(next);
  }

  /** @param {string} id */
  forget(id) {
    this.details.delete(id);
    this.pages.clear();
  }
}

class Compare {
  /** @param {any} table */
  constructor(table) {
    this.table = table;
    this.source = new LiveSource(table.dataset.src);
    const group = "Examples";
    /** @type {[string, string, () => void, boolean?][]} */
    const keys = [
      ["j", "Next example", () => table.move(1)],
      ["k", "Previous example", () => table.move(-1)],
      ["ArrowDown", "Next example", () => table.move(1), true],
      ["ArrowUp", "Previous example", () => table.move(-1), true],
      ["Enter", "Go into the example", () => table.enter()],
      ["Escape", "Close the example", () => table.close()],
      ["d", "Differences on and off", () => table.toggleDiff()],
      ["/", "Filter", () => table.find.focus()],
      ["g", "B is good, then the next", () => this.label(true)],
      ["b", "B is bad, then the next", () => this.label(false)],
    ];
    for (const [name, label, run, hidden] of keys) register({ keys: name, label, run, group, hidden: Boolean(hidden) });
    table.addEventListener("click", (/** @type {Event} */ event) => this.clicked(event));
    table.addEventListener("row-shown", (/** @type {CustomEvent} */ event) => this.source.prefetch(readView(), event.detail.id));
    table.start(this.source);
  }

  /** @param {Event} event */
  clicked(event) {
    const act = event.target instanceof Element ? event.target.closest("[data-do]") : null;
    if (act instanceof HTMLElement && act.dataset["do"] === "good") this.label(true);
    if (act instanceof HTMLElement && act.dataset["do"] === "bad") this.label(false);
  }

  /** Says what the reader thinks of the candidate's answer, and goes on. @param {boolean} value */
  async label(value) {
    const bar = this.table.pane.querySelector(".judge-bar");
    if (!bar) return;
    const id = this.table.current;
    try {
      await post("/label/quick", { trace_id: bar.dataset.trace, name: bar.dataset.name, value });
    } catch {
      return; // it was said
    }
    announce(`${value ? "Good" : "Bad"}, kept`);
    const view = readView();
    const index = await this.source.place(view, id);
    const next = view.show === "unlabelled" ? index : index + 1;
    this.source.forget(id);
    const after = index < 0 ? undefined : await this.source.at(view, next);
    if (after !== undefined && after !== id) await this.table.open(after);
    else await this.table.show(id);
  }
}

/** Links that take the present view along. @param {HTMLAnchorElement} link */
function withView(link) {
  const view = asked(readView());
  const made = new URL(link.href);
  for (const [key, value] of view) if (value) made.searchParams.set(key, value);
  link.href = made.pathname + made.search;
}

/** Waits until the table of examples is made, then shows it. @param {HTMLElement} part */
async function wait(part) {
  const answer = await fetch(`${part.dataset["src"]}/made`, { headers: { Accept: "application/json" } }).catch(() => null);
  const found = answer?.ok ? await answer.json() : { made: false, error: "" };
  if (found.made) location.reload();
  else if (!found.error) setTimeout(() => wait(part), 500);
}

customElements.define("ratchet-rows", RatchetRows);
const table = document.querySelector("ratchet-rows");
if (table) new Compare(table);
const making = document.querySelector(".making");
if (making instanceof HTMLElement) wait(making);
document.addEventListener("click", (event) => {
  const at = event.target instanceof Element ? event.target : null;
  const link = at?.closest("a[data-export], a[data-label]");
  if (link instanceof HTMLAnchorElement) withView(link);
  const slice = at?.closest("button[data-slice]");
  if (slice instanceof HTMLElement && table) /** @type {any} */ (table).change({ slice: slice.dataset["slice"], show: "worse" });
});

