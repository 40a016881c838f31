// @ts-check
// The labelling screen's keys and buttons: one key labels, keeps and moves on.
import { announce, fragment, Problem, query, register, setQuery } from "./app.js";
import { card, choices, control, isPressed, kind, note, number, open, press, root, strip, valueOf } from "./label_card.js";
import { act, begin, current, give, outbox, skip, undo } from "./label_queue.js";

const EVERY = 10;
let labels = 0;

async function people() {
  const at = document.getElementById("label-people");
  if (!at) return;
  try {
    at.innerHTML = (await fragment(at.dataset["src"] ?? "")).html;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    labels = 0; // the outbox tells that the server is away; the numbers follow with later labels
  }
}

/** @param {"unclear" | "disagree"} name @param {number} position @param {number} slot */
function flag(name, position, slot) {
  const button = control(name);
  if (!button) return;
  const on = !isPressed(button);
  press(name, on);
  outbox.push("flag", { kind: name, position, slot, on });
  announce(on ? (name === "unclear" ? "Flagged: the rubric is unclear here." : "Noted: the judge is wrong.") : "Taken back.");
}

function unclear() {
  const item = current();
  if (item) flag("unclear", item.position, item.slot);
}

function disagree() {
  const { position, slot } = control("disagree")?.dataset ?? {};
  if (position !== undefined && slot !== undefined) flag("disagree", Number(position), Number(slot));
}

function diff() {
  const plain = card.classList.toggle("plain-text");
  press("diff", !plain);
  setQuery({ diff: plain ? 0 : null });
}

function rubric() {
  const on = control("rubric")?.getAttribute("aria-expanded") !== "true";
  open("rubric", on);
  setQuery({ rubric: on ? 1 : 0 });
}

function writeNote() {
  open("note", true);
  note.focus();
}

/** What is chosen, where a key chooses and Enter keeps. */
function save() {
  if (kind === "many") act(() => give(choices().filter(isPressed).map(valueOf)));
  else if (number?.value && number.reportValidity()) give(Number(number.value));
}

/** @param {HTMLButtonElement} button */
function choose(button) {
  if (kind === "many") act(() => button.setAttribute("aria-pressed", String(!isPressed(button))));
  else give(valueOf(button));
}

/** @type {Record<string, [string, string, () => void]>} */
const acts = {
  skip: ["s", "Skip: others may take it", skip],
  undo: ["u", "Undo, up to 50 steps", undo],
  note: ["n", "Write a note", writeNote],
  rubric: ["r", "Rubric and agreement on or off", rubric],
  unclear: ["f", "Flag: the rubric is unclear here", unclear],
  disagree: ["x", "The judge was wrong about the last item", disagree],
};
if (control("diff")) acts["diff"] = ["d", "Marks of the difference on or off", diff];
if (control("save")) acts["save"] = ["Enter", "Save and go on", save];

const group = "Label";
for (const [keys, label, run] of Object.values(acts)) register({ keys, label, run, group });
register({ keys: "o", label: "Open the last answer with its scores", run: () => strip.querySelector("a")?.click(), group });
for (const button of choices()) {
  const label = button.getAttribute("aria-label") ?? button.querySelector(".name")?.textContent ?? "";
  register({ keys: button.dataset["key"] ?? "", label, run: () => choose(button), group });
}
if (kind === "pair") {
  const [left, right] = choices();
  if (left) register({ keys: "ArrowLeft", label: "Left is better", run: () => choose(left), group, hidden: true });
  if (right) register({ keys: "ArrowRight", label: "Right is better", run: () => choose(right), group, hidden: true });
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-label], button[data-choice]") : null;
  if (!(button instanceof HTMLButtonElement)) return;
  event.preventDefault();
  if (button.dataset["choice"]) choose(button);
  else acts[button.dataset["label"] ?? ""]?.[2]();
});
document.getElementById("label-form")?.addEventListener("submit", (event) => event.preventDefault());
note.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  note.blur();
});
number?.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  save();
});
root.addEventListener("label-saved", () => {
  labels += 1;
  if (labels % EVERY === 0) people();
});
// beside the item there is room for it; above the item it would push that away
if (!query().has("rubric") && matchMedia("(max-width: 1180px)").matches) open("rubric", false);
begin();
people();
