// What the page's modules need of the DOM.

import { isActive } from "./state-words.js";

/**
 * An element that is part of the page.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof (type ?? HTMLElement))) throw new Error(`the page has no #${id}`);
  return /** @type {T} */ (found);
}

/**
 * @param {EventTarget} target
 * @param {string} type of a CustomEvent
 * @param {(detail: any) => void} handle
 * @param {AddEventListenerOptions} [options]
 */
export function on(target, type, handle, options) {
  target.addEventListener(
    type,
    (event) => handle(/** @type {CustomEvent} */ (event).detail),
    options,
  );
}

/** Only what is new: a screen reader would read it again. @param {HTMLElement} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} button @param {boolean} isPressed */
export function press(button, isPressed) {
  button.setAttribute("aria-pressed", String(isPressed));
}

/**
 * A page that is left, and that the browser keeps for the way back, holds no connection meanwhile.
 * @param {import("../avatar-client.js").AvatarClient} client
 * @param {AddEventListenerOptions} options
 */
export function restWhileLeft(client, options) {
  let wasActive = false;
  window.addEventListener(
    "pagehide",
    ({ persisted }) => {
      wasActive = persisted && isActive(client.state);
      if (wasActive) client.disconnect();
    },
    options,
  );
  window.addEventListener("pageshow", () => wasActive && client.connect(), options);
}
