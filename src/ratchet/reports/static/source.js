// @ts-check
// Where rows come from. A source answers `rows(view, first, count)` and `detail(id)` with HTML made by the templates.

/** @typedef {{i: number, id: string, a: number|null, b: number|null, gain: number, show: string[], text: string, html: string, detail: string}} Row */

/** The rows that this file carries, packed in `element`. */
export class EmbeddedSource {
  /** @param {HTMLElement} element */
  constructor(element) {
    this.loaded = EmbeddedSource.unpack(element.textContent ?? "");
    /** @type {{key: string, rows: Row[]}} */
    this.last = { key: "", rows: [] };
    this.label = null; // a file can't be labelled
  }

  /** @param {string} text @returns {Promise<Row[]>} */
  static async unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text()).rows;
  }

  /** @param {import("./state.js").View} view @param {number} first @param {number} count */
  async rows(view, first, count) {
    const rows = this.select(await this.loaded, view);
    const ids = rows.slice(first, first + count);
    return { total: rows.length, html: ids.map((row) => row.html) };
  }

  /** @param {import("./state.js").View} view */
  async order(view) {
    return this.select(await this.loaded, view).map((row) => String(row.i));
  }

  /** @param {string} id */
  async detail(id) {
    const row = (await this.loaded).find((one) => String(one.i) === id);
    return row ? row.detail : null;
  }

  /** @param {Row[]} all @param {import("./state.js").View} view */
  select(all, view) {
    const key = JSON.stringify([view.show, view.sort, view.text]);
    if (this.last.key === key) return this.last.rows;
    const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all.filter(
      (row) => (view.show === "all" || row.show.includes(view.show)) && words.every((word) => row.text.includes(word)),
    );
    const falling = view.sort.startsWith("-");
    const name = falling ? view.sort.slice(1) : view.sort;
    if (["id", "a", "b", "gain"].includes(name)) rows.sort((x, y) => compare(x[name], y[name], falling) || x.i - y.i);
    this.last = { key, rows };
    return rows;
  }
}

/** Missing values come last in either direction. */
function compare(x, y, falling) {
  if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
  const order = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
  return falling ? -order : order;
}
