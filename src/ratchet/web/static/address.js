// @ts-check
// The address is the state: what is filtered, sorted and open stands in its query, so that a link is a view.

/** The address's query. */
export function query() {
  return new URLSearchParams(location.search);
}

/**
 * Changes the query in the address: null or "" takes a key out. Loads nothing.
 * @param {Record<string, string | number | null>} changes @param {{push?: boolean}} [options] `push`: Back returns here
 */
export function setQuery(changes, options = {}) {
  const now = query();
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") now.delete(key);
    else now.set(key, String(value));
  }
  const text = now.toString();
  const place = location.pathname + (text ? `?${text}` : "") + location.hash;
  if (options.push) history.pushState(null, "", place);
  else history.replaceState(history.state, "", place);
}

/** This address with these keys in its query. @param {string} url @param {Record<string, string | number>} keys */
export function withQuery(url, keys) {
  const made = new URL(url, location.href);
  for (const [key, value] of Object.entries(keys)) made.searchParams.set(key, String(value));
  return made.pathname + made.search;
}
