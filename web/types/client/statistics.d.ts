/** @typedef {import("./snapshot.js").Snapshot} Snapshot */
/** @typedef {import("./snapshot.js").Inbound} Inbound */
/**
 * What happened between two snapshots; null where there is nothing to tell.
 * @typedef {object} Metrics
 * @property {number | null} latencyMs from the picture's stamp to the screen, if `latencyIsMeasured`; else an estimate: jitter
 *   buffer + half the round trip + decoding
 * @property {boolean} latencyIsMeasured
 * @property {number | null} latencyP50Ms of what was measured in the last ten seconds
 * @property {number | null} latencyP95Ms
 * @property {number | null} skewMs how much later the sound is heard than its picture is seen
 * @property {number | null} jitterBufferMs how long a picture waited there
 * @property {number | null} fps pictures decoded a second
 * @property {number | null} bitrateBps video and audio received
 * @property {number | null} lossPercent 0 to 100, video and audio together
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec both
 * @property {string | null} videoCodec
 * @property {string | null} audioCodec
 * @property {string | null} path as in `Snapshot`
 * @property {string | null} protocol
 * @property {number | null} rttMs
 * @property {number | null} jitterMs of the video's packets, else of the audio's
 * @property {number | null} freezes since the stream began
 */
/**
 * @param {Snapshot | null} before null on the first reading: then only what needs no comparison is known
 * @param {Snapshot} now
 * @param {{latency?: import("./latency.js").Latency | null, skewMs?: number | null}} [measured] by other means
 * @returns {Metrics}
 */
export function measure(before: Snapshot | null, now: Snapshot, { latency, skewMs }?: {
    latency?: import("./latency.js").Latency | null;
    skewMs?: number | null;
}): Metrics;
/**
 * The metrics as words, by the name of their tile; an en dash where nothing is known.
 * @param {Metrics | null} metrics
 * @returns {Record<"latency"|"fps"|"bitrate"|"loss"|"resolution"|"codec"|"rtt"|"jitter"|"freezes"|"skew"|"buffer"|"path", string>}
 */
export function format(metrics: Metrics | null): Record<"latency" | "fps" | "bitrate" | "loss" | "resolution" | "codec" | "rtt" | "jitter" | "freezes" | "skew" | "buffer" | "path", string>;
/**
 * What the server is told: the data of a `statistics` message. What is not known is left out.
 * @param {Metrics} metrics
 * @returns {Record<string, number | string>}
 */
export function report(metrics: Metrics): Record<string, number | string>;
export type Snapshot = import("./snapshot.js").Snapshot;
export type Inbound = import("./snapshot.js").Inbound;
/**
 * What happened between two snapshots; null where there is nothing to tell.
 */
export type Metrics = {
    /**
     * from the picture's stamp to the screen, if `latencyIsMeasured`; else an estimate: jitter
     * buffer + half the round trip + decoding
     */
    latencyMs: number | null;
    latencyIsMeasured: boolean;
    /**
     * of what was measured in the last ten seconds
     */
    latencyP50Ms: number | null;
    latencyP95Ms: number | null;
    /**
     * how much later the sound is heard than its picture is seen
     */
    skewMs: number | null;
    /**
     * how long a picture waited there
     */
    jitterBufferMs: number | null;
    /**
     * pictures decoded a second
     */
    fps: number | null;
    /**
     * video and audio received
     */
    bitrateBps: number | null;
    /**
     * 0 to 100, video and audio together
     */
    lossPercent: number | null;
    width: number | null;
    height: number | null;
    /**
     * both
     */
    codec: string | null;
    videoCodec: string | null;
    audioCodec: string | null;
    /**
     * as in `Snapshot`
     */
    path: string | null;
    protocol: string | null;
    rttMs: number | null;
    /**
     * of the video's packets, else of the audio's
     */
    jitterMs: number | null;
    /**
     * since the stream began
     */
    freezes: number | null;
};
