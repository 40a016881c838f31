// @ts-check
// Keys: registered by whoever acts on them, off while somebody types, listed by `?`, turned off by a setting.

/**
 * @typedef {object} Key
 * @property {string} keys one key as `KeyboardEvent.key` names it ("j", "?", "Enter", "ArrowDown"), or "mod+k"
 * @property {string} label what it does, for the list of keys and the palette
 * @property {(event: KeyboardEvent) => void} run
 * @property {string} [group] the list's heading
 * @property {boolean} [hidden] not in the palette: it makes sense as a key alone
 */

/** @type {Key[]} */
const registered = [];
const SETTING = "ratchet-single-keys";

/** Adds a key; the function that comes back takes it away again. The newest of one key counts. @param {Key} key */
export function register(key) {
  registered.unshift(key);
  return () => {
    const at = registered.indexOf(key);
    if (at >= 0) registered.splice(at, 1);
  };
}

/** What counts now: the newest of each key. */
export function keys() {
  /** @type {Map<string, Key>} */
  const found = new Map();
  for (const key of registered) if (!found.has(key.keys)) found.set(key.keys, key);
  return [...found.values()].reverse();
}

/** Whether keys without Ctrl or Cmd act (WCAG 2.1.4). */
export function singleKeys() {
  try {
    return localStorage.getItem(SETTING) !== "off";
  } catch {
    return true; // storage is turned off in this browser
  }
}

/** @param {boolean} on */
export function setSingleKeys(on) {
  try {
    localStorage.setItem(SETTING, on ? "on" : "off");
  } catch {
    // it holds until the page is left
  }
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  return target instanceof HTMLInputElement && !["checkbox", "radio", "button", "submit", "range"].includes(target.type);
}

/** @param {KeyboardEvent} event */
function nameOf(event) {
  if (event.ctrlKey || event.metaKey) return event.altKey ? "" : `mod+${event.key.toLowerCase()}`;
  return event.altKey ? "" : event.key;
}

/** Whether the element acts on this key by itself. @param {EventTarget | null} target @param {string} name */
function belongsTo(target, name) {
  if (!(target instanceof HTMLElement) || (name !== "Enter" && name !== " ")) return false;
  return target.matches("a[href], button, summary, input");
}

/** @param {KeyboardEvent} event */
function pressed(event) {
  if (event.defaultPrevented || event.isComposing) return;
  const name = nameOf(event);
  const typing = isTyping(event.target);
  if (name === "Escape" && typing && event.target instanceof HTMLElement) {
    event.target.blur();
    return;
  }
  const withMod = name.startsWith("mod+");
  if (!withMod && (typing || belongsTo(event.target, name))) return;
  if (!withMod && document.querySelector("dialog[open]")) return;
  if (!withMod && name.length === 1 && !singleKeys()) return;
  const key = registered.find((one) => one.keys === name);
  if (!key) return;
  event.preventDefault();
  key.run(event);
}

/** A key as its caps say it. @param {string} name */
export function shown(name) {
  const mac = navigator.platform.startsWith("Mac");
  /** @type {Record<string, string>} */
  const words = { mod: mac ? "⌘" : "Ctrl", Escape: "Esc", ArrowDown: "↓", ArrowUp: "↑", " ": "Space" };
  const parts = name === "+" ? [name] : name.split("+");
  return parts.map((part) => words[part] ?? (parts.length > 1 ? part.toUpperCase() : part));
}

/** Opens the list of keys. */
export function showKeys() {
  document.getElementById("keys-help")?.remove();
  const dialog = document.createElement("dialog");
  dialog.id = "keys-help";
  dialog.setAttribute("aria-labelledby", "keys-title");
  const title = Object.assign(document.createElement("h2"), { id: "keys-title", textContent: "Keys" });
  dialog.append(title, ...lists(), setting(), closing());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** One list a group. */
function lists() {
  /** @type {Map<string, HTMLDListElement>} */
  const groups = new Map();
  for (const key of keys()) {
    const name = key.group ?? "This screen";
    const list = groups.get(name) ?? document.createElement("dl");
    list.className = "keys";
    const row = list.appendChild(document.createElement("div"));
    const term = row.appendChild(document.createElement("dt"));
    for (const part of shown(key.keys)) {
      term.append(Object.assign(document.createElement("kbd"), { textContent: part }), " ");
    }
    row.appendChild(document.createElement("dd")).textContent = key.label;
    groups.set(name, list);
  }
  return [...groups].flatMap(([name, list]) => [Object.assign(document.createElement("h3"), { textContent: name }), list]);
}

function setting() {
  const label = document.createElement("label");
  label.className = "setting";
  const box = Object.assign(document.createElement("input"), { type: "checkbox", id: "single-keys", checked: singleKeys() });
  box.addEventListener("change", () => setSingleKeys(box.checked));
  label.append(box, " Single keys on (those with Ctrl or Cmd always are)");
  return label;
}

function closing() {
  const form = document.createElement("form");
  form.method = "dialog";
  const button = Object.assign(document.createElement("button"), { className: "ctl", textContent: "Close", autofocus: true });
  form.append(button);
  return form;
}

document.addEventListener("keydown", pressed);
