/**
 * Attributes, each with a property of its name:
 * - `src`: where the server signals, `ws:` or `wss:` (or `http:`, `https:`, or relative to the page)
 * - `token`: what the application lets this viewer in with
 * - `relay`: media goes over TURN only
 * - `microphone`: there is a button for it
 * - `controls`: there are buttons to connect, for the sound, and for captions
 * - `state`: set by the element, for styles: the client's state
 *
 * It emits the events of its AvatarClient, which is its `client`. Connected as long as it is in a document; moved within
 * one step, it stays connected. For styles from outside: `::part(screen | video | poster | caption | notice | controls |
 * button)` and `--avatar-accent`.
 */
export class AvatarView extends HTMLElement {
    static observedAttributes: string[];
    /** The connection; null without a `src`, outside a document, and until the step ends that put it into one. */
    get client(): AvatarClient | null;
    set src(value: string);
    get src(): string;
    set token(value: string);
    get token(): string;
    set relay(on: boolean);
    get relay(): boolean;
    set microphone(on: boolean);
    get microphone(): boolean;
    set controls(on: boolean);
    get controls(): boolean;
    connectedCallback(): void;
    disconnectedCallback(): void;
    /** @param {string} name @param {string | null} before @param {string | null} now */
    attributeChangedCallback(name: string, before: string | null, now: string | null): void;
    #private;
}
import { AvatarClient } from "./avatar-client.js";
declare global {
    interface HTMLElementTagNameMap {
        "avatar-view": AvatarView;
    }
}
