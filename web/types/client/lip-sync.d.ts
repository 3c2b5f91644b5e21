/**
 * Plays what arrives as soon as it can be decoded: on a good network that is the least delay, on a bad one the browser's
 * own jitter buffers grow. `playoutDelayHint` (s) is Chromium's older name.
 * @param {RTCRtpReceiver} receiver
 */
export function askForLowDelay(receiver: RTCRtpReceiver): void;
/**
 * How long to hold the picture back from now on; negative: the sound.
 * @param {number} holdMs until now
 * @param {number} behindMs how much later the sound is heard than its picture is seen
 */
export function nextHold(holdMs: number, behindMs: number): number;
/**
 * How much later the sound is heard than its picture is seen, in ms, by a browser's statistics; null if they do not tell.
 * @param {Iterable<any>} stats of `getStats()`
 * @param {SoundDevice} device as it was at the last look; brought up to date
 */
export function soundBehind(stats: Iterable<any>, device: SoundDevice): number | null;
/**
 * Keeps them together until `signal` says that the connection is over.
 * @param {RTCPeerConnection} pc
 * @param {Playing} playing
 * @param {AbortSignal} signal
 */
export function keepTogether(pc: RTCPeerConnection, playing: Playing, signal: AbortSignal): Promise<void>;
/**
 * What the sound device takes for what it is given, in ms; and its delays in all, in s, of so many samples.
 * @typedef {{ms: number, delay: number, samples: number}} SoundDevice
 */
/** What is known of the moment that is played: brought up to date while the connection lasts. */
export class Playing {
    /** @type {SoundDevice} */ device: SoundDevice;
    /** How much later the sound is heard than its picture is seen; null as long as the browser does not tell. */
    /** @type {number | null} */ skewMs: number | null;
}
/**
 * What the sound device takes for what it is given, in ms; and its delays in all, in s, of so many samples.
 */
export type SoundDevice = {
    ms: number;
    delay: number;
    samples: number;
};
