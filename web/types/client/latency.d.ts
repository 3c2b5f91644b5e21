/**
 * @param {number} rtpTimestamp of a frame, modulo 2^32
 * @param {number} shownAt on the server's clock, in ms
 * @returns {number} ms, within half of what the timestamps count to (6.6 h)
 */
export function latencyOf(rtpTimestamp: number, shownAt: number): number;
/**
 * Tells of each frame that the element shows, until `signal`.
 * @param {HTMLVideoElement} video
 * @param {(rtpTimestamp: number, shownAt: number) => void} shown `shownAt` on the clock of `performance.now()`
 * @param {AbortSignal} signal
 */
export function followFrames(video: HTMLVideoElement, shown: (rtpTimestamp: number, shownAt: number) => void, signal: AbortSignal): void;
/**
 * @typedef {object} Latency
 * @property {number} ms the mean of the frames of the last second: a screen shows them by steps of its own
 * @property {number} p50Ms over the last ten seconds
 * @property {number} p95Ms
 */
/** Latencies of the last seconds' frames. */
export class LatencyMeter {
    /** @param {number} ms @param {number} at */
    add(ms: number, at: number): void;
    /** @param {number} now @returns {Latency | null} null if no frame of the last second is known */
    read(now: number): Latency | null;
    clear(): void;
    #private;
}
export type Latency = {
    /**
     * the mean of the frames of the last second: a screen shows them by steps of its own
     */
    ms: number;
    /**
     * over the last ten seconds
     */
    p50Ms: number;
    p95Ms: number;
};
