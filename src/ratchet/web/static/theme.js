// @ts-check
// Runs before the first paint, so that the page never shows in the other colours first. Not a module: those come later.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  let kept = null;
  try {
    kept = localStorage.getItem("ratchet-theme");
  } catch {
    // storage is turned off in this browser: the system's setting holds
  }
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
})();
