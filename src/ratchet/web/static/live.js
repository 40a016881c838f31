// @ts-check
// A part of the page that follows what goes on: asked for again and again, drawn only where it changed.

/**
 * `<live-part src="/runs?part=list" every="2">…</live-part>`: the content is what the fragment at `src` holds.
 * It rests while the page is hidden, and ends when an answer carries the header `X-Live: done`.
 */
export class LivePart extends HTMLElement {
  connectedCallback() {
    /** @type {number | undefined} */
    this.timer = undefined;
    this.failures = 0;
    /** @type {string} */
    this.last = "";
    this.wake = () => document.hidden || this.ask();
    document.addEventListener("visibilitychange", this.wake);
    this.plan();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    if (this.wake) document.removeEventListener("visibilitychange", this.wake);
  }

  get seconds() {
    return Math.max(0.1, Number(this.getAttribute("every")) || 2);
  }

  plan() {
    clearTimeout(this.timer);
    // a server that is gone is asked less and less often
    const wait = this.seconds * 2 ** Math.min(this.failures ?? 0, 5);
    this.timer = setTimeout(() => this.ask(), wait * 1000);
  }

  async ask() {
    clearTimeout(this.timer);
    if (document.hidden || !this.isConnected) return;
    let done = false;
    try {
      const answer = await fetch(this.getAttribute("src") ?? location.href, { headers: { "X-Fragment": "1" } });
      const html = await answer.text();
      this.failures = answer.ok ? 0 : (this.failures ?? 0) + 1;
      if (answer.ok) this.show(html);
      done = answer.headers.get("X-Live") === "done";
    } catch {
      this.failures = (this.failures ?? 0) + 1;
    }
    this.toggleAttribute("data-stale", (this.failures ?? 0) > 1);
    if (done) this.dispatchEvent(new CustomEvent("live-done", { bubbles: true }));
    else this.plan();
  }

  /** @param {string} html */
  show(html) {
    if (html === this.last) return;
    this.last = html;
    const focused = document.activeElement;
    const id = focused && this.contains(focused) ? focused.id : "";
    this.innerHTML = html;
    if (id) document.getElementById(id)?.focus({ preventScroll: true });
    this.dispatchEvent(new CustomEvent("live-change", { bubbles: true }));
  }
}

customElements.define("live-part", LivePart);
