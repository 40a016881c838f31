// @ts-check
// What the reader looks at lives in the address: a link is a view.

/** @typedef {{show: string, sort: string, text: string, slice: string, row: string, diff: string}} View */

/** @type {View & Record<string, string>} */
const defaults = { show: "all", sort: "gain", text: "", slice: "", row: "", diff: "on" };
const inHash = document.documentElement.dataset.state === "hash";

/** @returns {View} */
export function readView() {
  const given = new URLSearchParams(inHash ? location.hash.slice(1) : location.search);
  const view = { ...defaults };
  for (const key of Object.keys(defaults)) {
    view[key] = given.get(key) ?? view[key] ?? "";
  }
  return view;
}

/** The address of a view. @param {View} view */
export function addressOf(view) {
  const kept = Object.entries(view).filter(([key, value]) => value !== defaults[key]);
  const text = new URLSearchParams(kept).toString();
  if (inHash) return text ? `#${text}` : location.pathname + location.search;
  return text ? `?${text}` : location.pathname;
}

/** @param {Partial<View>} changes */
export function writeView(changes) {
  history.replaceState(null, "", addressOf({ ...readView(), ...changes }));
}
