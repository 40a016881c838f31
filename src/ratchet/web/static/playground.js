// @ts-check
// The playground: columns of model, parameters and messages. What stands in them is the address: a link is a view.
import { announce, post, register, setQuery } from "./app.js";
import { Answer, draw } from "./playing.js";
import { columnOf, element, fill, save } from "./playground_columns.js";

/**
 * @typedef {{role: string, content: string}} Message
 * @typedef {{model: string, variant: string, params: Record<string, unknown>, messages: Message[], syntax: string}} Column
 * @typedef {{columns: Column[], input: string, dataset?: string, k?: number, seed?: number}} State
 */

const MOST_ADDRESS = 6000;
const columns = element("#play-columns");
const text = /** @type {HTMLTextAreaElement} */ (element("#play-text"));
const dataset = /** @type {HTMLSelectElement} */ (element("#play-dataset"));
const k = /** @type {HTMLInputElement} */ (element("#play-k"));
const seed = /** @type {HTMLInputElement} */ (element("#play-seed"));
const limits = element("#play-limits").dataset;
const runButton = /** @type {HTMLButtonElement} */ (element("[data-play=run]"));
const stopButton = /** @type {HTMLButtonElement} */ (element("[data-play=stop]"));
/** @type {Record<string, Column>} */
const variants = JSON.parse(element("#play-variants").textContent ?? "{}");
/** @type {AbortController | null} */
let running = null;
let writing = 0;

/** What stands on the page. @returns {State} */
function state() {
  const found = [...columns.querySelectorAll(".play-column")].map((one) => columnOf(/** @type {HTMLElement} */ (one)));
  const drawn = dataset.value ? { dataset: dataset.value, k: Number(k.value) || 1, seed: Number(seed.value) || 0 } : {};
  return { columns: found, input: text.value, ...drawn };
}

/** Puts what stands on the page into the address; a long state is kept by the server, and named. */
async function write() {
  const json = JSON.stringify(state());
  if (json.length <= MOST_ADDRESS) {
    setQuery({ state: json, saved: null, trace: null, variant: null });
    return;
  }
  const answer = await post("/playground/keep", state(), { quiet: true });
  const { saved } = await answer.json();
  setQuery({ state: null, saved, trace: null, variant: null });
}

function changed() {
  clearTimeout(writing);
  writing = setTimeout(() => write().catch(() => undefined), 300);
}

/** @param {Column} column */
function add(column) {
  if (columns.children.length >= Number(limits["mostColumns"])) {
    announce(`${limits["mostColumns"]} columns are the most.`, { alert: true });
    return;
  }
  const template = /** @type {HTMLTemplateElement} */ (element("#play-column"));
  const made = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  columns.append(made);
  fill(made, column);
  letters();
}

function letters() {
  [...columns.querySelectorAll(".play-column")].forEach((column, at) => {
    const letter = "ABCD"[at] ?? "";
    column.setAttribute("aria-label", `Column ${letter}`);
    const arm = column.querySelector(".arm");
    if (!arm) return;
    arm.textContent = letter;
    arm.classList.toggle("arm-b", at > 0);
  });
}

function duplicate() {
  const all = state().columns;
  const last = all.at(-1);
  if (last) add({ ...last, variant: last.variant });
  changed();
}

/** The inputs to try: the text's, or examples drawn from a dataset. @returns {Promise<{id: string, input: unknown, expected?: unknown}[]>} */
async function inputs() {
  if (dataset.value) return draw(dataset.value, Number(k.value) || 1, Number(seed.value) || 0);
  const given = text.value.trim();
  if (given.startsWith("{")) {
    try {
      return [{ id: "", input: JSON.parse(given) }];
    } catch (error) {
      throw new Error(`The input begins as JSON but is none: ${error instanceof Error ? error.message : error}`);
    }
  }
  return [{ id: "", input: { input: text.value } }];
}

async function run() {
  if (runButton.disabled) return;
  const stopping = new AbortController();
  running = stopping;
  runButton.disabled = true;
  stopButton.disabled = false;
  announce("Running");
  try {
    await write();
    const tried = await inputs();
    const asked = [...columns.querySelectorAll(".play-column")].map(async (one) => {
      const place = one.querySelector(".play-answers");
      const column = columnOf(/** @type {HTMLElement} */ (one));
      place?.replaceChildren();
      for (const each of tried) {
        if (stopping.signal.aborted || !place) return;
        const answer = new Answer(place, each, tried.length > 1);
        await answer.run(column, stopping.signal);
      }
    });
    await Promise.all(asked);
    announce(stopping.signal.aborted ? "Stopped" : "All answers are here");
  } catch (error) {
    announce(error instanceof Error ? error.message : String(error), { alert: true });
  } finally {
    if (running === stopping) running = null;
    runButton.disabled = limits["mayRun"] !== "true";
    stopButton.disabled = true;
  }
}

function stop() {
  running?.abort();
}

async function share() {
  await write();
  try {
    await navigator.clipboard.writeText(location.href);
    announce("The link is copied.");
  } catch {
    announce(location.href, { alert: true });
  }
}

/** @param {MouseEvent} event */
function clicked(event) {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  const column = /** @type {HTMLElement | null} */ (button?.closest(".play-column") ?? null);
  const play = button?.dataset["play"];
  if (play === "run") void run();
  else if (play === "stop") stop();
  else if (play === "add") duplicate();
  else if (play === "share") void share();
  else if (column && button?.matches(".play-save")) save(column, variants).catch(() => undefined); // `post` has said why
  else if (column && button?.matches(".play-remove") && columns.children.length > 1) {
    column.remove();
    letters();
    changed();
  }
}

function sources() {
  const drawn = Boolean(dataset.value);
  for (const one of document.querySelectorAll(".play-drawn")) /** @type {HTMLElement} */ (one).hidden = !drawn;
  text.hidden = drawn;
  element("#play-hint").textContent = drawn
    ? "Drawn by the seed; examples held out for the test are never among them."
    : "Text fills {input}; a JSON object fills its names.";
}

/** @type {State} */
const first = JSON.parse(element("#play-state").textContent ?? "{}");
text.value = first.input ?? "";
if (first.dataset) [dataset.value, k.value, seed.value] = [first.dataset, String(first.k ?? 3), String(first.seed ?? 0)];
first.columns.forEach(add);
sources();
document.addEventListener("click", clicked);
element("main").addEventListener("input", changed);
element("main").addEventListener("change", (event) => {
  const select = event.target instanceof HTMLSelectElement ? event.target : null;
  const column = /** @type {HTMLElement | null} */ (select?.closest(".play-column") ?? null);
  const chosen = select?.matches(".play-variant") ? variants[select.value] : undefined;
  if (column && chosen) fill(column, chosen);
  sources();
  changed();
});
register({ keys: "mod+enter", label: "Run all columns", run: () => void run() });
register({ keys: "Escape", label: "Stop", run: stop });
register({ keys: "+", label: "Add a column like the last", run: duplicate });
