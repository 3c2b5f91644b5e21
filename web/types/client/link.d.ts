/**
 * Credentials of coturn's REST scheme say until when they are good: seconds since 1970, before the first ":" of the name.
 * @param {RTCIceServer[]} iceServers
 * @param {number} now in ms since 1970
 */
export function areExpired(iceServers: RTCIceServer[], now: number): boolean;
/**
 * @typedef {object} Listener
 * @property {(config: {resumed: boolean, keepsPeer: boolean}) => void} welcome
 * @property {(reason: string) => void} foreign the server speaks a protocol that is newer than ours
 * @property {(message: any) => void} message any but `config`, `clock` and `ping`
 * @property {(end: import("./signalling.js").End) => void} closed
 * @property {() => void} alive the server answers
 * @property {() => void} silent it does not
 * @property {(text: string) => void} warn
 */
export class Link {
    /** @param {{url: string, token?: string | undefined}} server @param {Listener} listener */
    constructor(server: {
        url: string;
        token?: string | undefined;
    }, listener: Listener);
    clock: ServerClock;
    /** The id that the server gave us. @type {string | null} */ peerId: string | null;
    /** @type {RTCIceServer[]} */ iceServers: RTCIceServer[];
    /**
     * Opens a WebSocket in the place of any other.
     * @throws for an address that no WebSocket can have
     */
    open(): void;
    /** @param {object} message lost while no WebSocket is open */
    send(message: object): void;
    /** @param {Record<string, number | string>} data for a server that wants to know */
    report(data: Record<string, number | string>): void;
    /** Whether only another WebSocket brings credentials for TURN that are still good. */
    get isExpired(): boolean;
    /** Finds out whether the server answers; one that cannot be asked is taken at its word. */
    look(): void;
    /** Hears the WebSocket no more; the peer lives on. */
    abandon(): void;
    /** Ends the peer, if the server can be told; if not, the next connection is to take its place over. */
    close(): void;
    #private;
}
export type Listener = {
    welcome: (config: {
        resumed: boolean;
        keepsPeer: boolean;
    }) => void;
    /**
     * the server speaks a protocol that is newer than ours
     */
    foreign: (reason: string) => void;
    /**
     * any but `config`, `clock` and `ping`
     */
    message: (message: any) => void;
    closed: (end: import("./signalling.js").End) => void;
    /**
     * the server answers
     */
    alive: () => void;
    /**
     * it does not
     */
    silent: () => void;
    warn: (text: string) => void;
};
import { ServerClock } from "./clock.js";
