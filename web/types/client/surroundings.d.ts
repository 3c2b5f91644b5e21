/**
 * Calls `look` then, until `signal`. Without a window there is nothing to be told of.
 * @param {() => void} look
 * @param {AbortSignal} signal
 */
export function onNewSurroundings(look: () => void, signal: AbortSignal): void;
