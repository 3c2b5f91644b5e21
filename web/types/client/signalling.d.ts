/**
 * The signalling address for a page: `?server=` (`ws://host:port` or `host:port`), else the page's own
 * folder when the signalling server served it, else port 8081 of the same host.
 * @param {string} page the page's address
 * @param {boolean} servedBySignalling
 * @returns {string} a ws: or wss: URL
 */
export function signallingUrl(page: string, servedBySignalling: boolean): string;
/**
 * The address of one WebSocket.
 * @param {string} server a ws: or wss: URL
 * @param {{token?: string | undefined, resume: string}} options `resume`: the token of the peer to be again, or empty
 * @returns {string}
 */
export function socketUrl(server: string, { token, resume }: {
    token?: string | undefined;
    resume: string;
}): string;
/** @param {unknown} text @returns {any} the JSON object in it, or null */
export function parse(text: unknown): any;
/**
 * @typedef {object} Listener
 * @property {(message: any) => void} message a JSON object
 * @property {(end: End) => void} closed called at most once, and never after `abandon()` or `close()`
 * @property {(text: string) => void} warn
 */
/**
 * How a WebSocket ended.
 * @typedef {object} End
 * @property {number} code of its close frame, 1006 without one
 * @property {string} reason in words
 * @property {string} said the server's own words in its close frame, of at most 123 bytes; or nothing
 * @property {boolean} isBroken without a close frame: the server may not have noticed
 * @property {boolean} wasOpen false if the server was never reached
 */
export class Signalling {
    /**
     * @param {string} url
     * @param {Listener} listener
     * @throws for an address that no WebSocket can have
     */
    constructor(url: string, listener: Listener);
    /** Whether a close frame would go to the server. */
    get isOpen(): boolean;
    /**
     * @param {object} message
     * @returns {boolean} false when it is not open, and nothing was sent
     */
    send(message: object): boolean;
    /**
     * Hears it no more, without a word to the server: a close frame that arrives late would end the peer that the next
     * WebSocket takes over. `close()` it once that one is there.
     * @returns {boolean} whether there is anything to be closed later
     */
    abandon(): boolean;
    /** Ends it properly, which ends the peer. */
    close(): void;
    #private;
}
export type Listener = {
    /**
     * a JSON object
     */
    message: (message: any) => void;
    /**
     * called at most once, and never after `abandon()` or `close()`
     */
    closed: (end: End) => void;
    warn: (text: string) => void;
};
/**
 * How a WebSocket ended.
 */
export type End = {
    /**
     * of its close frame, 1006 without one
     */
    code: number;
    /**
     * in words
     */
    reason: string;
    /**
     * the server's own words in its close frame, of at most 123 bytes; or nothing
     */
    said: string;
    /**
     * without a close frame: the server may not have noticed
     */
    isBroken: boolean;
    /**
     * false if the server was never reached
     */
    wasOpen: boolean;
};
