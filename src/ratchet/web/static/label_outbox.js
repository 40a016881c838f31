// @ts-check
// What was done and the server does not know yet: sent in order, again and again until it answers, kept over a reload.
import { post, Problem } from "./app.js";

/** @typedef {{kind: "label" | "skip" | "undo" | "flag", body: Record<string, unknown>}} Entry */
/** @typedef {{answered: (entry: Entry, answer: any) => void, refused: (entry: Entry, problem: Problem) => void, changed: (size: number, stuck: boolean) => void}} Listener */

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 4000;

/** A mark that tells one act sent twice from two acts. */
export function token() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Outbox {
  /** @param {string} base "/label/QUEUE" @param {Listener} listener */
  constructor(base, listener) {
    this.base = base;
    this.listener = listener;
    this.name = `ratchet-outbox ${base}`;
    /** @type {Entry[]} */
    this.entries = this.read();
    this.sending = false;
    if (this.entries.length) this.send();
  }

  get size() {
    return this.entries.length;
  }

  /** @returns {Entry[]} */
  read() {
    try {
      return JSON.parse(sessionStorage.getItem(this.name) ?? "[]");
    } catch {
      return []; // no storage: it holds until the page is left
    }
  }

  keep() {
    try {
      sessionStorage.setItem(this.name, JSON.stringify(this.entries));
    } catch {
      // the page asks before it is left while something waits
    }
  }

  /** @param {Entry["kind"]} kind @param {Record<string, unknown>} body */
  push(kind, body) {
    this.entries.push({ kind, body: { token: token(), ...body } });
    this.keep();
    this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    let wait = FIRST_WAIT_MS;
    while (this.entries.length) {
      const entry = /** @type {Entry} */ (this.entries[0]);
      try {
        const answer = await (await post(`${this.base}/${entry.kind}`, entry.body, { quiet: true })).json();
        this.drop();
        wait = FIRST_WAIT_MS;
        this.listener.answered(entry, answer);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        if (error.status === 401 || error.status === 403) break; // it waits for the page to be loaded again
        if (error.status >= 400 && error.status < 500 && error.status !== 429) {
          this.drop();
          this.listener.refused(entry, error);
        } else {
          this.listener.changed(this.size, true);
          await new Promise((done) => setTimeout(done, wait));
          wait = Math.min(2 * wait, LONGEST_WAIT_MS);
        }
      }
    }
    this.sending = false;
    this.listener.changed(this.size, this.size > 0);
  }

  drop() {
    this.entries.shift();
    this.keep();
    this.listener.changed(this.size, false);
  }
}
