/** @typedef {import("./situation.js").Situation} Situation */
/** @typedef {import("./situation.js").Action} Action */
/** @typedef {import("./situation.js").Timer} Timer */
/** @typedef {import("../avatar-client.js").ClientState} ClientState */
/** @typedef {import("../avatar-client.js").Problem} Problem */
/** A connection that is not there by then is given up. */
export const CONNECTING_MS: 15000;
/** Media that are lost for so long want a new connection. */
export const GIVE_UP_MS: 20000;
export class Steps {
    /** @param {Situation} before @param {number} now @param {number} random */
    constructor(before: Situation, now: number, random: number);
    /** @type {Action[]} */ actions: Action[];
    after: {
        due: {
            connecting?: number | undefined;
            stable?: number | undefined;
            retry?: number | undefined;
            opening?: number | undefined;
            grace?: number | undefined;
            silence?: number | undefined;
            restart?: number | undefined;
            giveUp?: number | undefined;
        };
        /**
         * what the application is told
         */
        state: import("./situation.js").ClientState;
        /**
         * `open`: the server's config has come
         */
        socket: "none" | "opening" | "open";
        /**
         * when the newest WebSocket began to open
         */
        openedAt: number;
        /**
         * `interrupted`: may recover by itself
         */
        media: "none" | "new" | "connected" | "interrupted" | "lost";
        lostSince: number | null;
        /**
         * when something came over the media connection last
         */
        heardAt: number;
        /**
         * lost, although ICE has not said so
         */
        isSilent: boolean;
        /**
         * ICE
         */
        isRestarting: boolean;
        /**
         * the server keeps a peer whose WebSocket broke
         */
        keepsPeer: boolean;
        /**
         * the server, by its own words
         */
        isFull: boolean;
        /**
         * why there is no connection, in words
         */
        reason: string | null;
        /**
         * the same as a code
         */
        problem: import("./situation.js").Problem | null;
        /**
         * that failed since the connection was last good
         */
        tries: number;
    };
    now: number;
    random: number;
    get isLost(): boolean;
    /** Whether there is a peer to come back to: the server keeps it, and its media were connected once. */
    get isKept(): boolean;
    open(): void;
    /**
     * @param {string} reason
     * @param {number} tries that the delay is to follow; one that hung was delay enough
     * @param {Problem | null} [problem]
     * @param {boolean} [isLost]
     */
    retry(reason: string, tries: number, problem?: Problem | null, isLost?: boolean): void;
    /** Both are there: after a while this counts as good. */
    settle(): void;
    restart(): void;
    offer(): void;
    /** @param {string} reason */
    loseMedia(reason: string): void;
    /** Nothing is left of it. @param {string} reason @param {Problem | null} problem @param {number} [tries] */
    lose(reason: string, problem: Problem | null, tries?: number): void;
    /** @param {"disconnected" | "failed"} state @param {string | null} reason @param {Problem | null} problem */
    end(state: "disconnected" | "failed", reason: string | null, problem: Problem | null): void;
    /**
     * @param {ClientState} state
     * @param {string | null} [reason] the one that was told before, while it is still being tried
     * @param {Problem | null} [problem]
     * @param {number} [retryAt]
     */
    tell(state: ClientState, reason?: string | null, problem?: Problem | null, retryAt?: number): void;
    /** @param {"info" | "warn"} level @param {string} text */
    log(level: "info" | "warn", text: string): void;
}
export type Situation = import("./situation.js").Situation;
export type Action = import("./situation.js").Action;
export type Timer = import("./situation.js").Timer;
export type ClientState = import("../avatar-client.js").ClientState;
export type Problem = import("../avatar-client.js").Problem;
