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
/** Only what is new: a screen reader would read it again. @param {HTMLElement} element @param {string} text */
export function write(element: HTMLElement, text: string): void;
/** @param {HTMLElement} button @param {boolean} isPressed */
export function press(button: HTMLElement, isPressed: boolean): void;
/**
 * A page that is left, and that the browser keeps for the way back, holds no connection meanwhile.
 * @param {import("../avatar-client.js").AvatarClient} client
 * @param {AddEventListenerOptions} options
 */
export function restWhileLeft(client: import("../avatar-client.js").AvatarClient, options: AddEventListenerOptions): void;
