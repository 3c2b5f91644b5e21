/**
 * An element that is part of the page.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 * @returns {T}
 */
export function element<T extends HTMLElement = HTMLElement>(id: string, type?: new () => T): T;
/**
 * @param {EventTarget} target
 * @param {string} type of a CustomEvent
 * @param {(detail: any) => void} handle
 * @param {AddEventListenerOptions} [options]
 */
export function on(target: EventTarget, type: string, handle: (detail: any) => void, options?: AddEventListenerOptions): void;
/**
 * A page that is left, and that the browser keeps for the way back, holds no connection meanwhile.
 * @param {import("../avatar-client.js").AvatarClient} client
 * @param {AbortSignal} [signal]
 */
export function restWhileLeft(client: import("../avatar-client.js").AvatarClient, signal?: AbortSignal): void;
