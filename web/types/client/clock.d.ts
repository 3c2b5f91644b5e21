/**
 * One clock message and its answer.
 * @typedef {object} Sample
 * @property {number} sentAt on our clock, in ms
 * @property {number} receivedAt on our clock
 * @property {number} serverTime on the server's clock, somewhere in between
 */
/**
 * How far the server's clock is ahead of ours. The answer of the least round trip tells it best: the error is at most half
 * of that (RFC 5905, 8), and grows as the clocks drift.
 */
export class ServerClock {
    /** @param {Sample} sample */
    add(sample: Sample): void;
    /**
     * What time it is for the server.
     * @param {number} at on our clock
     * @returns {number | null} in ms; null before the first answer
     */
    at(at: number): number | null;
    /** Another server has another clock. */
    forget(): void;
    #private;
}
/**
 * What a heartbeat needs of its owner.
 * @typedef {object} Listener
 * @property {(message: {type: "clock", data: {sentAt: number}}) => void} send
 * @property {() => void} alive the server has answered
 * @property {() => void} silent the server does not answer
 */
/** Asks the server for its time, as long as its WebSocket lives. */
export class Heartbeat {
    /** @param {ServerClock} clock @param {Listener} listener */
    constructor(clock: ServerClock, listener: Listener);
    close(): void;
    /**
     * Asks now.
     * @param {number} [patienceMs] without an answer by then the server is silent
     */
    look(patienceMs?: number): void;
    /** @param {{sentAt?: unknown, serverTime?: unknown}} data the server's answer */
    answer({ sentAt, serverTime }: {
        sentAt?: unknown;
        serverTime?: unknown;
    }): void;
    #private;
}
/**
 * One clock message and its answer.
 */
export type Sample = {
    /**
     * on our clock, in ms
     */
    sentAt: number;
    /**
     * on our clock
     */
    receivedAt: number;
    /**
     * on the server's clock, somewhere in between
     */
    serverTime: number;
};
/**
 * What a heartbeat needs of its owner.
 */
export type Listener = {
    send: (message: {
        type: "clock";
        data: {
            sentAt: number;
        };
    }) => void;
    /**
     * the server has answered
     */
    alive: () => void;
    /**
     * the server does not answer
     */
    silent: () => void;
};
