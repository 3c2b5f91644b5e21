// Signs that the network may be another one, or that the machine has slept.

/**
 * Calls `look` then, until `signal`. Without a window there is nothing to be told of.
 * @param {() => void} look
 * @param {AbortSignal} signal
 */
export function onNewSurroundings(look, signal) {
  if (typeof document === "undefined") return;
  const seen = () => document.visibilityState === "visible" && look();
  document.addEventListener("visibilitychange", seen, { signal });
  for (const type of ["online", "pageshow"]) window.addEventListener(type, look, { signal });
  // Not in every browser, and not in TypeScript's library.
  const network = /** @type {{connection?: EventTarget}} */ (navigator).connection;
  network?.addEventListener("change", look, { signal });
}
