/**
 * Has what arrives wait for so long at least, in ms. 0: it is played as soon as it can be decoded. Our pictures say so too (the
 * header extension "playout delay"), which has Chromium leave out its own 10 ms and the wait for late ones; see
 * {@link patience}.
 * @param {RTCRtpReceiver} receiver
 * @param {number} ms
 */
export function delayPlayout(receiver: RTCRtpReceiver, ms: number): void;
/**
 * How long to hold the picture back from now on; negative: the sound.
 * @param {number} holdMs until now
 * @param {number} behindMs how much later the sound is heard than its picture is seen
 */
export function nextHold(holdMs: number, behindMs: number): number;
/** @param {Iterable<any>} stats of `getStats()` @returns {number} in ms; 0 while nothing is known */
export function pictureJitter(stats: Iterable<any>): number;
/**
 * How much later the sound is heard than its picture is seen, in ms, by a browser's statistics; null if they do not tell.
 * @param {Iterable<any>} stats of `getStats()`
 * @param {SoundDevice} device as it was at the last look; brought up to date
 */
export function soundBehind(stats: Iterable<any>, device: SoundDevice): number | null;
/**
 * Keeps them together, and pictures even, until `signal` says that the connection is over.
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
export function withPlayoutDelay(sdp: string, receiver: object): string;
export function patience(jitterMs: number): number;
export function nextJitter(knownMs: number, jitterMs: number): number;
/**
 * What the sound device takes for what it is given, in ms; and its delays in all, in s, of so many samples.
 */
export type SoundDevice = {
    ms: number;
    delay: number;
    samples: number;
};
