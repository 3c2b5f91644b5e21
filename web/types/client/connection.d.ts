/**
 * Asks for stereo: without `stereo=1` in the receiver's own description a browser decodes Opus to mono (RFC 7587, 6.1).
 * @param {string} sdp
 * @returns {string}
 */
export function withStereoOpus(sdp: string): string;
/** @param {unknown} error */
export function describe(error: unknown): string;
/**
 * @typedef {object} Owner
 * @property {MediaStreamTrack | null} microphone sent from the start
 * @property {(message: object) => void} send
 * @property {(state: RTCPeerConnectionState) => void} changed
 * @property {(reason: string) => void} failed a message of the server cannot be used, or no offer can be made
 * @property {(type: "stream" | "command" | "interrupt" | "cue" | "message", detail: unknown) => void} emit
 * @property {(level: LogLevel, text: string) => void} log
 */
/** Closes for good, once. After that no event of its peer connection is heard. */
export class Connection {
    /** @param {RTCConfiguration} configuration @param {Owner} owner */
    constructor(configuration: RTCConfiguration, owner: Owner);
    stream: MediaStream;
    /** @type {RTCPeerConnection} */ pc: RTCPeerConnection;
    /** @type {RTCDataChannel} */ channel: RTCDataChannel;
    playing: Playing;
    close(): void;
    /** Offers it to the server. */
    offer(): void;
    /**
     * Looks for a new way to the server, over the same DTLS association (RFC 8445, 2.4).
     * @param {RTCIceServer[]} iceServers credentials may have run out
     */
    restartIce(iceServers: RTCIceServer[]): void;
    /** @param {any} message of the server: `offer`, `answer`, `ice-candidate`, `interrupt` or `cues` */
    handle({ type, data }: any): void;
    /** @param {MediaStreamTrack | null} track */
    setMicrophone(track: MediaStreamTrack | null): Promise<void>;
    #private;
}
export type LogLevel = import("../avatar-client.js").LogLevel;
export type Owner = {
    /**
     * sent from the start
     */
    microphone: MediaStreamTrack | null;
    send: (message: object) => void;
    changed: (state: RTCPeerConnectionState) => void;
    /**
     * a message of the server cannot be used, or no offer can be made
     */
    failed: (reason: string) => void;
    emit: (type: "stream" | "command" | "interrupt" | "cue" | "message", detail: unknown) => void;
    log: (level: LogLevel, text: string) => void;
};
import { Playing } from "./lip-sync.js";
