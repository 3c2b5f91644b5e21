export { signallingUrl };
/** @typedef {"idle" | "connecting" | "connected" | "reconnecting" | "disconnected" | "failed"} ClientState */
/**
 * What is wrong. `no-media-path`: signalling works, but no packet of the media gets through; `refused`: the
 * server's application has turned this viewer away.
 * @typedef {"unreachable" | "server-full" | "no-media-path" | "no-shared-codec" | "version-mismatch" | "no-webrtc" |
 *   "bad-address" | "refused"} Problem
 */
/** @typedef {"info" | "warn" | "error"} LogLevel */
/** @typedef {import("./client/situation.js").Happening} Happening */
/** @typedef {import("./client/situation.js").Action} Action */
/**
 * @typedef {object} Options
 * @property {string} url of the signalling server: ws: or wss:
 * @property {string} [token] for the server's application, sent as the query `token`
 * @property {MediaStream | MediaStreamTrack | null} [microphone] as for `setMicrophone`
 * @property {RTCIceTransportPolicy} [iceTransportPolicy] "relay": by way of TURN servers only
 * @property {(level: LogLevel, text: string) => void} [log]
 */
/**
 * A connection to the avatar that keeps itself alive.
 *
 * Events (CustomEvent, `detail` in braces):
 * - `state` {state, previous, reason, problem, retryInMs}: `problem` is a code, null for what has none (of `refused`
 *   the reason is the server's own words, if it gave any); `retryInMs` while
 *   waiting for the next try, else null
 * - `stream` {stream}: a MediaStream with the avatar's picture and sound; again when a new connection replaces the old one
 * - `stats` {metrics}: once a second while connected; see `Metrics` in statistics.js
 * - `command` {command, data}: what the server sent over the data channel
 * - `cue` {data}: what the server's application has happen at this moment of the sound
 * - `interrupt` {}: the avatar was cut off; what of its voice is still buffered is not heard
 * - `message` {source: "signalling" | "data-channel", data}: anything else that the server sent
 * - `error` {message}: the server's complaints and failures to connect
 * - `log` {level, text}
 */
export class AvatarClient extends EventTarget {
    /** @param {Options} options */
    constructor(options: Options);
    get state(): ClientState;
    /** The id that the server gave this connection, or null. */
    get peerId(): string | null;
    /** The avatar's picture and sound (without a track until the server has answered), or null without a connection. */
    get stream(): MediaStream | null;
    get peerConnection(): RTCPeerConnection | null;
    /** Connects, and stays connected until `disconnect()`. While waiting for the next try, tries at once. */
    connect(): void;
    /** Ends the connection, or the attempts to get one. */
    disconnect(): void;
    /**
     * Sends this to the avatar as the microphone, also after a reconnection. The caller owns the track
     * and stops it.
     * @param {MediaStream | MediaStreamTrack | null} source null for silence
     */
    setMicrophone(source: MediaStream | MediaStreamTrack | null): Promise<void>;
    /**
     * Which element shows the stream: what is measured is what it shows.
     * @param {HTMLVideoElement | null} video
     */
    watch(video: HTMLVideoElement | null): void;
    /**
     * Sends `{command, data}` over the data channel.
     * @param {string} command
     * @param {unknown} [data]
     * @returns {boolean} false when the channel is not open, and nothing was sent
     */
    sendCommand(command: string, data?: unknown): boolean;
    #private;
}
export type ClientState = "idle" | "connecting" | "connected" | "reconnecting" | "disconnected" | "failed";
/**
 * What is wrong. `no-media-path`: signalling works, but no packet of the media gets through; `refused`: the
 * server's application has turned this viewer away.
 */
export type Problem = "unreachable" | "server-full" | "no-media-path" | "no-shared-codec" | "version-mismatch" | "no-webrtc" | "bad-address" | "refused";
export type LogLevel = "info" | "warn" | "error";
export type Happening = import("./client/situation.js").Happening;
export type Action = import("./client/situation.js").Action;
export type Options = {
    /**
     * of the signalling server: ws: or wss:
     */
    url: string;
    /**
     * for the server's application, sent as the query `token`
     */
    token?: string | undefined;
    /**
     * as for `setMicrophone`
     */
    microphone?: MediaStream | MediaStreamTrack | null | undefined;
    /**
     * "relay": by way of TURN servers only
     */
    iceTransportPolicy?: RTCIceTransportPolicy | undefined;
    log?: ((level: LogLevel, text: string) => void) | undefined;
};
import { signallingUrl } from "./client/signalling.js";
