/** @typedef {{text: string, durationMs: number}} Caption */
/**
 * The caption in a cue's data: a plain string, or `{type: "caption", text, durationMs?}`.
 * @param {any} data
 * @returns {Caption | null} null for other cues; an empty text takes the last one away
 */
export function captionOf(data: any): Caption | null;
export class Captions {
    /** @param {HTMLElement} line where they are written */
    constructor(line: HTMLElement);
    set isOn(on: boolean);
    get isOn(): boolean;
    /** @param {unknown} data of a `cue` event */
    show(data: unknown): void;
    clear(): void;
    #private;
}
export type Caption = {
    text: string;
    durationMs: number;
};
