// @ts-check
// One answer while it comes: text as text nodes, then rendered; time to first token, tokens and dollars beside it.
import { csrf, Problem } from "./asking.js";

/** @typedef {import("./playground.js").Column} Column */

const CHARS_A_TOKEN = 4;

/** Examples drawn from a dataset. @param {string} id @param {number} k @param {number} seed */
export async function draw(id, k, seed) {
  const query = new URLSearchParams({ dataset: id, k: String(k), seed: String(seed) });
  const answer = await fetch(`/playground/examples?${query}`, { headers: { Accept: "application/json" } });
  const data = await answer.json();
  if (!answer.ok) throw new Problem(answer.status, data.what, data.next_step);
  return data;
}

/** @param {number | null | undefined} value */
function seconds(value) {
  if (value === null || value === undefined) return "-";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(2)} s`;
}

/** @param {number | null | undefined} value */
function dollars(value) {
  if (value === null || value === undefined) return "price unknown";
  if (value === 0) return "$0";
  return value >= 1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(3)}`;
}

export class Answer {
  /** @param {Element} place @param {{id: string, input: unknown, expected?: unknown}} asked @param {boolean} named */
  constructor(place, asked, named) {
    const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#play-answer"));
    this.root = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
    this.asked = asked;
    this.text = /** @type {HTMLElement} */ (this.root.querySelector(".play-text"));
    this.facts = /** @type {HTMLElement} */ (this.root.querySelector(".play-facts"));
    this.chars = 0;
    this.rate = /** @type {number | null} */ (null);
    this.started = performance.now();
    this.firstAt = 0;
    this.ended = false;
    if (named) {
      const expected = asked.expected ? `, expected ${JSON.stringify(asked.expected).slice(0, 200)}` : "";
      const place = /** @type {HTMLElement} */ (this.root.querySelector(".play-example"));
      place.textContent = `${asked.id}: ${JSON.stringify(asked.input).slice(0, 200)}${expected}`;
    }
    place.append(this.root);
  }

  /** Asks, and shows what comes until it ends or is stopped. @param {Column} column @param {AbortSignal} signal */
  async run(column, signal) {
    this.root.classList.add("under-way");
    this.show(["waiting"]);
    try {
      const headers = { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf() };
      const body = JSON.stringify({ column, input: this.asked.input, example_id: this.asked.id });
      const answer = await fetch("/playground/answer", { method: "POST", headers, body, signal });
      if (!answer.ok || !answer.body) {
        const { what, next_step: next } = await answer.json();
        this.fail([what, next].filter(Boolean).join(" "));
        return;
      }
      await this.read(answer.body.getReader());
      if (!this.ended) this.fail("The answer broke off: the server was stopped or the connection lost.");
    } catch (error) {
      if (signal.aborted) this.show(["stopped", ...this.live()]);
      else this.fail(error instanceof Error ? error.message : String(error));
    } finally {
      this.root.classList.remove("under-way");
    }
  }

  /** @param {ReadableStreamDefaultReader<Uint8Array>} reader */
  async read(reader) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line) this.take(JSON.parse(line));
    }
  }

  /** @param {{start?: {output_usd_per_mtok: number | null}, text?: string, end?: Record<string, any>}} event */
  take(event) {
    if (event.start) this.rate = event.start.output_usd_per_mtok;
    if (event.text) {
      if (!this.firstAt) this.firstAt = performance.now();
      this.chars += event.text.length;
      this.text.append(document.createTextNode(event.text));
      this.text.scrollTop = this.text.scrollHeight;
      this.show(this.live());
    }
    if (event.end) this.end(event.end);
  }

  /** What is known while it comes; tokens and dollars are guessed until the server counts them. */
  live() {
    const tokens = Math.ceil(this.chars / CHARS_A_TOKEN);
    const facts = [`${seconds((performance.now() - this.started) / 1000)}`];
    if (this.firstAt) facts.unshift(`TTFT ${seconds((this.firstAt - this.started) / 1000)}`);
    facts.push(`≈ ${tokens} tokens`);
    if (this.rate !== null) facts.push(`≈ ${dollars((tokens * this.rate) / 1e6)} output`);
    return facts;
  }

  /** @param {Record<string, any>} end */
  end(end) {
    this.ended = true;
    if (end["error"]) this.fail(`${end["error"].kind}: ${end["error"].message}`);
    if (typeof end["html"] === "string" && end["html"]) {
      this.text.classList.add("done");
      this.text.innerHTML = end["html"]; // sanitised by the server; the CSP lets nothing run
    } else if (end["output"] && !this.chars) this.text.textContent = end["output"];
    if (end["refusal"]) this.text.append(`Refused: ${end["refusal"]}`);
    for (const call of end["tool_calls"] ?? []) this.text.append(`\n${call.function?.name}(${call.function?.arguments})`);
    if (!end["trace"]) {
      this.show([]);
      return;
    }
    const facts = [`TTFT ${seconds(end["ttft_s"])}`, `total ${seconds(end["latency_s"])}`, `${end["input_tokens"] ?? "?"} in, ${end["output_tokens"] ?? "?"} out`, dollars(end["cost_usd"])];
    if (end["finish_reason"] && end["finish_reason"] !== "stop") facts.push(end["finish_reason"]);
    this.show(facts);
    const link = Object.assign(document.createElement("a"), { href: `/traces/${end["trace"]}`, textContent: "trace" });
    this.facts.append(link);
  }

  /** @param {string[]} facts */
  show(facts) {
    this.facts.replaceChildren(...facts.map((fact) => Object.assign(document.createElement("span"), { textContent: fact })));
  }

  /** @param {string} why */
  fail(why) {
    this.ended = true;
    const place = /** @type {HTMLElement} */ (this.root.querySelector(".play-error"));
    place.textContent = why;
    place.hidden = false;
    this.show([]);
  }
}
