/**
 * How loud a piece of sound is, from 0 (a silent room) to 1 (full scale).
 * @param {Float32Array} samples
 */
export function levelOf(samples: Float32Array): number;
/**
 * Events (CustomEvent, `detail` in braces):
 * - `change` {label}: it was switched on (the device's name), or off (null)
 * - `level` {level}: 0 to 1, with each picture of the screen while it is on
 * - `devices` {devices, current}: what can be chosen, once the browser tells; again when one comes or goes
 * - `problem` {problem}: a code of problems.js
 */
export class Microphone extends EventTarget {
    /** Why there cannot be a microphone on this page, known without asking; or null. */
    static get obstacle(): "insecure-context" | null;
    /** @param {(track: MediaStreamTrack | null) => Promise<void>} send takes what is to be heard; null for silence */
    constructor(send: (track: MediaStreamTrack | null) => Promise<void>);
    get isOn(): boolean;
    start(): Promise<void>;
    stop(): void;
    /** Takes another device, at once if the microphone is on. @param {string} deviceId */
    choose(deviceId: string): Promise<void>;
    /** Switched off for good. */
    close(): void;
    #private;
}
