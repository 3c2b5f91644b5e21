/**
 * `poster` lies over the picture, with `headline`, `detail` and `retry` in it; `announcement` is for screen readers;
 * `unheard` is there while the browser waits for a click on `playSound`.
 * @typedef {{video: HTMLVideoElement} & Record<"poster" | "headline" | "detail" | "retry" | "caption" | "announcement" |
 *   "connect" | "sound" | "captions" | "playSound" | "unheard", HTMLElement>} Parts
 */
export class Presenter {
    /** @param {Parts} parts */
    constructor(parts: Parts);
    /** What stands below the headline while nothing is connected. @param {string} hint */
    set hint(hint: string);
    /**
     * @param {AvatarClient} client
     * @param {import("./microphone.js").Microphone} microphone of this client
     * @param {AbortSignal} [signal] until then
     */
    follow(client: AvatarClient, microphone: import("./microphone.js").Microphone, signal?: AbortSignal): void;
    #private;
}
export type AvatarClient = import("../avatar-client.js").AvatarClient;
/**
 * `poster` lies over the picture, with `headline`, `detail` and `retry` in it; `announcement` is for screen readers;
 * `unheard` is there while the browser waits for a click on `playSound`.
 */
export type Parts = {
    video: HTMLVideoElement;
} & Record<"poster" | "headline" | "detail" | "retry" | "caption" | "announcement" | "connect" | "sound" | "captions" | "playSound" | "unheard", HTMLElement>;
