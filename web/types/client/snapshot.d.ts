/**
 * Counters of one received stream (`inbound-rtp`) since it began.
 * @typedef {object} Inbound
 * @property {string} id which stream; the counters of another one cannot be compared
 * @property {number} bytes received, RTP headers included
 * @property {number} packets
 * @property {number} lost may go down when a late packet turns up (RFC 3550, A.3)
 * @property {number | null} jitterMs
 * @property {number} bufferSeconds summed over all emitted frames or samples
 * @property {number} bufferEmitted
 * @property {number} frames decoded
 * @property {number} decodeSeconds summed over all decoded frames
 * @property {number} freezes
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} codec such as "H264" or "Opus"
 */
/**
 * @typedef {object} Snapshot
 * @property {number} atMs when the counters were read
 * @property {Inbound | null} video
 * @property {Inbound | null} audio
 * @property {number | null} rttMs of the candidate pair in use
 * @property {string | null} path what kind of candidate our end of it is: "host", "srflx", "prflx" or "relay"
 * @property {string | null} protocol "udp" or "tcp"; to the relay, if there is one
 * @property {number} received packets and answers to our checks, since the connection began: grows while anything arrives
 */
/**
 * @param {Iterable<[string, any]>} report an RTCStatsReport, or any map like it
 * @returns {Snapshot}
 */
export function snapshot(report: Iterable<[string, any]>): Snapshot;
/**
 * Counters of one received stream (`inbound-rtp`) since it began.
 */
export type Inbound = {
    /**
     * which stream; the counters of another one cannot be compared
     */
    id: string;
    /**
     * received, RTP headers included
     */
    bytes: number;
    packets: number;
    /**
     * may go down when a late packet turns up (RFC 3550, A.3)
     */
    lost: number;
    jitterMs: number | null;
    /**
     * summed over all emitted frames or samples
     */
    bufferSeconds: number;
    bufferEmitted: number;
    /**
     * decoded
     */
    frames: number;
    /**
     * summed over all decoded frames
     */
    decodeSeconds: number;
    freezes: number;
    width: number | null;
    height: number | null;
    /**
     * such as "H264" or "Opus"
     */
    codec: string | null;
};
export type Snapshot = {
    /**
     * when the counters were read
     */
    atMs: number;
    video: Inbound | null;
    audio: Inbound | null;
    /**
     * of the candidate pair in use
     */
    rttMs: number | null;
    /**
     * what kind of candidate our end of it is: "host", "srflx", "prflx" or "relay"
     */
    path: string | null;
    /**
     * "udp" or "tcp"; to the relay, if there is one
     */
    protocol: string | null;
    /**
     * packets and answers to our checks, since the connection began: grows while anything arrives
     */
    received: number;
};
