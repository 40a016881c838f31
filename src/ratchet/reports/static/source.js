// @ts-check
// Where rows come from. A source answers with HTML made by the templates: `rows(view, first, count)`, `detail(id)`;
// and `place(view, id)` and `at(view, index)` say where a row stands and which one stands there.

/** @typedef {{i: number, id: string, a: number|null, b: number|null, gain: number, show: string[],
 *   slices: Record<string, string>, text: string, html: string, detail: string}} Row */

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
    return { total: rows.length, html: ids.map((row) => row.html).join("") };
  }

  /** @param {import("./state.js").View} view @param {string} id */
  async place(view, id) {
    return this.select(await this.loaded, view).findIndex((row) => String(row.i) === id);
  }

  /** @param {import("./state.js").View} view @param {number} index */
  async at(view, index) {
    const row = this.select(await this.loaded, view)[index];
    return row && String(row.i);
  }

  /** @param {string} id */
  async detail(id) {
    const row = (await this.loaded).find((one) => String(one.i) === id);
    return row ? row.detail : null;
  }

  /** @param {Row[]} all @param {import("./state.js").View} view */
  select(all, view) {
    const key = JSON.stringify([view.show, view.sort, view.text, view.slice]);
    if (this.last.key === key) return this.last.rows;
    const words = view.text.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = all.filter(
      (row) =>
        (view.show === "all" || row.show.includes(view.show)) &&
        (!view.slice || Object.entries(row.slices).some(([name, value]) => `${name}:${value}` === view.slice)) &&
        words.every((word) => row.text.includes(word)),
    );
    const falling = view.sort.startsWith("-");
    const by = falling ? view.sort.slice(1) : view.sort;
    if (by === "id" || by === "a" || by === "b" || by === "gain") {
      rows.sort((x, y) => compare(x[by], y[by], falling) || x.i - y.i);
    }
    this.last = { key, rows };
    return rows;
  }
}

/** Missing values come last in either direction. @param {string|number|null} x @param {string|number|null} y @param {boolean} falling */
function compare(x, y, falling) {
  if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1;
  const texts = typeof x === "string" || typeof y === "string";
  const order = texts ? String(x).localeCompare(String(y), undefined, { numeric: true }) : x - y;
  return falling ? -order : order;
}
