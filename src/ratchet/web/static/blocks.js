// @ts-check
// A text with its views (rendered, raw, JSON), folded where it is long. Without scripts its links do the same.
import { setQuery, withQuery } from "./address.js";
import { announce, fragment, Problem } from "./asking.js";

/** `<text-block data-part="output" data-src="/traces/ID/text">` around what `_block.html` writes. */
export class TextBlock extends HTMLElement {
  connectedCallback() {
    if (this.ready) return;
    this.ready = true;
    this.addEventListener("click", (event) => this.clicked(event));
  }

  ready = false;

  get textName() {
    return this.dataset["part"] ?? "";
  }

  /** The view after the present one. */
  next() {
    const links = [...this.querySelectorAll("a[data-view]")];
    const at = links.findIndex((link) => link.hasAttribute("aria-current"));
    const link = links[(at + 1) % links.length];
    if (link instanceof HTMLElement) this.show(link.dataset["view"] ?? "");
  }

  /** @param {MouseEvent} event */
  clicked(event) {
    const link = event.target instanceof Element ? event.target.closest("a[data-view], a[data-more]") : null;
    if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    if (link.dataset["view"]) this.show(link.dataset["view"]);
    else this.more(link);
  }

  /** Shows another view and remembers it in the address. @param {string} view */
  async show(view) {
    const fresh = await this.ask(withQuery(this.dataset["src"] ?? "", { part: this.textName, as: view }));
    const body = fresh?.querySelector("text-block");
    if (!body) return;
    const had = this.contains(document.activeElement);
    this.querySelector(".block-text")?.replaceWith(...one(body, ".block-text"));
    this.querySelector(".block-more")?.remove();
    for (const piece of this.querySelectorAll(".block-piece")) piece.remove();
    this.append(...one(body, ".block-more"));
    for (const link of this.querySelectorAll("a[data-view]")) {
      const on = link instanceof HTMLElement && link.dataset["view"] === view;
      if (on) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (on && had && link instanceof HTMLElement) link.focus();
    }
    setQuery({ [`${this.textName}.as`]: view });
    announce(`${this.textName} ${view}`);
  }

  /** Puts the next piece below. @param {HTMLAnchorElement} link */
  async more(link) {
    const fresh = await this.ask(link.href);
    const piece = fresh?.querySelector(".block-piece");
    if (!fresh || !piece) return;
    const bar = this.querySelector(".block-more");
    bar?.replaceWith(piece);
    this.append(...one(fresh, ".block-more"));
    const next = this.querySelector("a[data-more]");
    if (next instanceof HTMLElement) next.focus({ preventScroll: true });
    announce(this.querySelector(".block-more span")?.textContent ?? "All of it is shown");
  }

  /** @param {string} url */
  async ask(url) {
    try {
      const holder = document.createElement("template");
      holder.innerHTML = (await fragment(url)).html;
      return holder.content;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      announce(error.message, { alert: true });
      return null;
    }
  }
}

/** @param {ParentNode} within @param {string} selector */
function one(within, selector) {
  const found = within.querySelector(selector);
  return found ? [found] : [];
}

customElements.define("text-block", TextBlock);
