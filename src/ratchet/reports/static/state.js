// @ts-check
// What the reader looks at lives in the address: a link is a view.

/** @typedef {{show: string, sort: string, text: string, row: string}} View */

const defaults = { show: "all", sort: "gain", text: "", row: "" };
const inHash = document.documentElement.dataset.state === "hash";

/** @returns {View} */
export function readView() {
  const given = new URLSearchParams(inHash ? location.hash.slice(1) : location.search);
  const view = { ...defaults };
  for (const key of Object.keys(defaults)) {
    if (given.has(key)) view[key] = given.get(key);
  }
  return view;
}

/** @param {Partial<View>} changes */
export function writeView(changes) {
  const view = { ...readView(), ...changes };
  const kept = Object.entries(view).filter(([key, value]) => value !== defaults[key]);
  const text = new URLSearchParams(kept).toString();
  const place = inHash ? `#${text}` : `?${text}`;
  history.replaceState(null, "", text ? place : location.pathname + (inHash ? location.search : ""));
}
