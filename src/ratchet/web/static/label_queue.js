// @ts-check
// The items of a queue: the one shown, the next three, and what was done with the last ones.
import { announce } from "./app.js";
import { card, count, drawn, keyOf, note, root, seconds, show, strip } from "./label_card.js";
import { Outbox } from "./label_outbox.js";

/** @typedef {import("./label_card.js").Item} Item */

const AHEAD = 4;
const RENEW_MS = 60_000;
const AGAIN_MS = 4_000;
const base = `/label/${root.dataset["queue"]}`;

/** @type {Item | null} */
let now = null;
/** @type {Item[]} */
let stock = [];
let undoing = 0;
/** What was pressed while an undo was under way. @type {(() => void)[]} */
let later = [];
let asking = false;
/** Acts that the server has answered: what it counted before the last of them is old. */
let answers = 0;

export const outbox = new Outbox(base, {
  answered: (entry, answer) => {
    answers += 1;
    count(answer);
    if (entry.kind === "label") saved(answer);
    if (entry.kind === "undo") takenBack(answer.undone);
    if (entry.kind === "skip" && !answer.saved) announce("Somebody else has the skipped item by now.");
    if (entry.kind !== "flag") more();
  },
  refused: (entry, problem) => {
    if (entry.kind === "undo") settle();
    announce(problem.message, { alert: true });
    more();
  },
  changed: (size, stuck) => {
    root.toggleAttribute("data-stuck", stuck);
    if (stuck) strip.textContent = `The server does not answer. ${size} not kept yet: sent when it is back, so leave this page open.`;
  },
});

export const current = () => now;

/** @param {Item | null} item @param {{drawn?: boolean}} [options] */
function turnTo(item, options) {
  now = item;
  show(item, options);
}

function next() {
  turnTo(stock.shift() ?? null);
  if (!now) announce("Nothing is left for you at this moment.");
  more();
}

/** Runs it now, or after the undo that is under way. @param {() => void} run */
export function act(run) {
  if (undoing) later.push(run);
  else if (now) run();
}

/** Keeps this answer and moves on. @param {unknown} value */
export function give(value) {
  act(() => {
    if (!now) return;
    const { position, slot } = now;
    outbox.push("label", { position, slot, value, note: note.value, seconds: seconds(), rubric: root.dataset["rubric"] });
    next();
  });
}

export function skip() {
  act(() => {
    if (now) outbox.push("skip", { position: now.position, slot: now.slot });
    next();
  });
}

export function undo() {
  undoing += 1;
  outbox.push("undo", {});
}

/** @param {(Item & {kind: string}) | null} item */
function takenBack(item) {
  if (!item) announce("There is nothing more to undo.", { alert: true });
  else if (!item.html) announce(`Taken back; item ${item.position + 1} is with somebody else by now.`, { alert: true });
  else {
    const isNow = now !== null && keyOf(now) === keyOf(item);
    stock = stock.filter((one) => keyOf(one) !== keyOf(item));
    if (now && !isNow) stock.unshift({ ...now, html: card.innerHTML });
    turnTo(item);
    strip.textContent = item.said ? `Taken back: ${item.said}. Label it again.` : "Taken back: the skip.";
    announce(strip.textContent);
  }
  settle();
}

function settle() {
  undoing = Math.max(0, undoing - 1);
  if (undoing) return;
  const waiting = later;
  later = [];
  for (const run of waiting) act(run);
}

/** @param {{said: string, html: string}} answer */
function saved(answer) {
  if (!undoing) strip.innerHTML = answer.html;
  announce(`${answer.said}, saved.${now ? ` Next: item ${now.position + 1}.` : ""}`);
  root.dispatchEvent(new CustomEvent("label-saved"));
}

/** Fills the stock, and renews the leases. */
async function more() {
  if (asking) return;
  asking = true;
  const acted = outbox.entries.filter(({ kind }) => kind === "label" || kind === "skip").map(({ body }) => `${body["position"]}.${body["slot"]}`);
  const before = answers;
  const have = [...(now ? [keyOf(now)] : []), ...stock.map(keyOf), ...acted];
  try {
    const address = `${base}/next?most=${AHEAD + acted.length}&have=${have.join(",")}`;
    const answer = await fetch(address, { headers: { Accept: "application/json" } });
    if (answer.ok) {
      const found = await answer.json();
      receive(found, new Set(have));
      if (before === answers) count(found);
    }
  } catch {
    root.toggleAttribute("data-away", true); // the outbox tells; what is here can be labelled meanwhile
  }
  asking = false;
  if (!now && !undoing) setTimeout(() => !now && more(), AGAIN_MS);
}

/** @param {{items: Item[], done: number, total: number}} found @param {Set<string>} had what the page had when it asked */
function receive(found, had) {
  root.toggleAttribute("data-away", false);
  const known = new Set([...(now ? [now] : []), ...stock].map(keyOf));
  stock.push(...found.items.filter((item) => item.html && !had.has(keyOf(item)) && !known.has(keyOf(item))));
  stock.sort((a, b) => a.position - b.position || a.slot - b.slot);
  if (!now && !undoing) turnTo(stock.shift() ?? null);
}

/** Takes up the item that the server drew, unless what waits from before a reload is about it. */
export function begin() {
  const item = drawn();
  const acted = item && outbox.entries.some(({ body }) => body["position"] === item.position && body["slot"] === item.slot);
  turnTo(acted ? null : item, { drawn: !acted });
  more();
  setInterval(() => document.hidden || more(), RENEW_MS);
  addEventListener("beforeunload", (event) => outbox.size && event.preventDefault());
}
