// @ts-check
// Asking the server: fragments of HTML, and requests that change something, with the token of this page.

/** What the server refused, and what to do next. */
export class Problem extends Error {
  /** @param {number} status @param {string} what @param {string} [next] */
  constructor(status, what, next = "") {
    super(next ? `${what} ${next}` : what);
    this.status = status;
    this.what = what;
    this.next = next;
  }
}

/** The token that every request that changes something carries. */
export function csrf() {
  const meta = document.querySelector("meta[name=csrf]");
  return meta instanceof HTMLMetaElement ? meta.content : "";
}

/**
 * Sends `data` as JSON. Where the server refuses, rejects with a `Problem`, which the page shows unless `quiet`.
 * @param {string} url @param {unknown} [data] @param {{method?: string, signal?: AbortSignal, quiet?: boolean}} [options]
 * @returns {Promise<Response>}
 */
export async function post(url, data = {}, options = {}) {
  const headers = { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf() };
  const { method = "POST", signal = null, quiet = false } = options;
  try {
    return await ask(url, { method, headers, signal, body: JSON.stringify(data) });
  } catch (error) {
    if (!quiet && error instanceof Problem) announce(error.message, { alert: true });
    throw error;
  }
}

/**
 * A fragment of HTML, with the answer's headers. Rejects with a `Problem`, or with an `AbortError` where it was given up.
 * @param {string} url @param {{signal?: AbortSignal, part?: string}} [options] `part`: all that is needed of it
 */
export async function fragment(url, options = {}) {
  const headers = { "X-Fragment": "1", ...(options.part ? { "X-Part": options.part } : {}) };
  const answer = await ask(url, { headers, signal: options.signal ?? null });
  return { html: await answer.text(), headers: answer.headers };
}

/** @param {string} url @param {RequestInit} init */
async function ask(url, init) {
  const answer = await fetch(url, init).catch((error) => {
    if (error instanceof TypeError) throw new Problem(0, "The server does not answer.", "Is `ratchet view` still running?");
    throw error;
  });
  if (answer.ok) return answer;
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  throw await problemOf(answer);
}

/** @param {Response} answer */
async function problemOf(answer) {
  const text = await answer.text();
  if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
    const { what, next_step: next } = JSON.parse(text);
    return new Problem(answer.status, String(what), String(next ?? ""));
  }
  const section = new DOMParser().parseFromString(text, "text/html").querySelector(".blank");
  const [what, next] = ["h2", ".next"].map((part) => section?.querySelector(part)?.textContent ?? "");
  return new Problem(answer.status, what || `The server answered ${answer.status}.`, next);
}

/** Says it to screen readers; as an alert it is shown too, for a while. @param {string} text @param {{alert?: boolean}} [options] */
export function announce(text, options = {}) {
  const said = document.getElementById(options.alert ? "alert" : "said");
  if (!said) return;
  said.textContent = ""; // the same words once more are said once more
  setTimeout(() => (said.textContent = text), 30);
  if (options.alert) setTimeout(() => said.textContent === text && (said.textContent = ""), 8000);
}
