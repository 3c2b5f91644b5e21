/** @typedef {{audioTime: number, data: unknown, givenUp: number}} Cue */
/**
 * How far a moment of a track is ahead of what is played, in ms; negative once it was heard.
 * @param {number} audioTime the moment, in ms of the track's RTP clock
 * @param {{rtpTimestamp: number, timestamp: number}} source what was played last, and when (`getSynchronizationSources()`)
 * @param {number} clockRate of the track, in Hz
 * @param {number} now on the clock of `source.timestamp`
 */
export function msAhead(audioTime: number, source: {
    rtpTimestamp: number;
    timestamp: number;
}, clockRate: number, now: number): number;
export class Playout {
    /**
     * @param {RTCPeerConnection} pc
     * @param {{ms: number}} device how long it takes until what is played is heard
     * @param {(type: "interrupt" | "cue", detail: unknown) => void} emit
     */
    constructor(pc: RTCPeerConnection, device: {
        ms: number;
    }, emit: (type: "interrupt" | "cue", detail: unknown) => void);
    close(): void;
    /**
     * The avatar was cut off: what of its voice is still buffered is not heard, and its cues do not happen.
     * @param {{audioTime?: unknown}} data where the old voice ends, in ms of the track's RTP clock
     */
    interrupt({ audioTime }: {
        audioTime?: unknown;
    }): void;
    /** @param {unknown} cues `{audioTime, cue}` each: when it is due, and what it is */
    add(cues: unknown): void;
    #private;
}
export type Cue = {
    audioTime: number;
    data: unknown;
    givenUp: number;
};
