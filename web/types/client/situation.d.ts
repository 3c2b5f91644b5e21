/**
 * @typedef {object} Situation
 * @property {ClientState} state what the application is told
 * @property {"none" | "opening" | "open"} socket `open`: the server's config has come
 * @property {number} openedAt when the newest WebSocket began to open
 * @property {"none" | "new" | "connected" | "interrupted" | "lost"} media `interrupted`: may recover by itself
 * @property {number | null} lostSince
 * @property {number} heardAt when something came over the media connection last
 * @property {boolean} isSilent lost, although ICE has not said so
 * @property {boolean} isRestarting ICE
 * @property {boolean} keepsPeer the server keeps a peer whose WebSocket broke
 * @property {boolean} isFull the server, by its own words
 * @property {string | null} reason why there is no connection, in words
 * @property {Problem | null} problem the same as a code
 * @property {number} tries that failed since the connection was last good
 * @property {Partial<Record<Timer, number>>} due
 */
/**
 * @typedef {{type: "connect"} | {type: "disconnect"} | {type: "time"} | {type: "look"} | {type: "silent"} |
 *   {type: "alive", isExpired: boolean} | {type: "heard"} |
 *   {type: "config", resumed: boolean, keepsPeer: boolean} | {type: "media", state: RTCPeerConnectionState} |
 *   {type: "closed", code: number, reason: string, said: string, isBroken: boolean, wasOpen: boolean} |
 *   {type: "failed", reason: string} | {type: "refused", reason: string, code: string | null} |
 *   {type: "unusable", reason: string, problem: Problem}} Happening
 * `look`: the network may be another one; `alive`, `silent`: the server answers over the WebSocket, or does not;
 * `isExpired`: the credentials for TURN that came over it are no longer good;
 * `heard`: something came over the media connection; `failed`: offering or answering did
 */
/**
 * @typedef {{do: "open" | "abandon" | "offer" | "restart" | "look" | "drop" | "end"} |
 *   {do: "tell", state: ClientState, previous: ClientState, reason: string | null, problem: Problem | null, retryInMs: number | null} |
 *   {do: "log", level: "info" | "warn", text: string}} Action
 * `open` a WebSocket in the place of any other; `abandon` the one that opens; `offer` a new peer connection in the place of any
 * other; `restart` ICE; `look` whether the server answers; `drop` all connections, `end` them for good
 */
/** @returns {Situation} */
export function atRest(): Situation;
/** @param {Situation} situation @returns {number} when time itself is the next thing to happen */
export function deadline({ due }: Situation): number;
/** Whether there is a connection, or one is on its way. @param {ClientState} state */
export function isActive(state: ClientState): state is "connected" | "connecting" | "reconnecting";
/**
 * How long to wait before the next try.
 * @param {number} tries that failed since the last good connection, from 0
 * @param {{serverFull?: boolean, random?: number}} [options] `serverFull` asks for the longest delay; `random` is in [0, 1)
 * @returns {number} ms; jittered by 40 %, and at most 3 s with the jitter, after two minutes 10 s
 */
export function reconnectDelay(tries: number, { serverFull, random }?: {
    serverFull?: boolean;
    random?: number;
}): number;
export type Situation = {
    /**
     * what the application is told
     */
    state: ClientState;
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
    problem: Problem | null;
    /**
     * that failed since the connection was last good
     */
    tries: number;
    due: Partial<Record<Timer, number>>;
};
/**
 * `look`: the network may be another one; `alive`, `silent`: the server answers over the WebSocket, or does not;
 * `isExpired`: the credentials for TURN that came over it are no longer good;
 * `heard`: something came over the media connection; `failed`: offering or answering did
 */
export type Happening = {
    type: "connect";
} | {
    type: "disconnect";
} | {
    type: "time";
} | {
    type: "look";
} | {
    type: "silent";
} | {
    type: "alive";
    isExpired: boolean;
} | {
    type: "heard";
} | {
    type: "config";
    resumed: boolean;
    keepsPeer: boolean;
} | {
    type: "media";
    state: RTCPeerConnectionState;
} | {
    type: "closed";
    code: number;
    reason: string;
    said: string;
    isBroken: boolean;
    wasOpen: boolean;
} | {
    type: "failed";
    reason: string;
} | {
    type: "refused";
    reason: string;
    code: string | null;
} | {
    type: "unusable";
    reason: string;
    problem: Problem;
};
/**
 * `open` a WebSocket in the place of any other; `abandon` the one that opens; `offer` a new peer connection in the place of any
 * other; `restart` ICE; `look` whether the server answers; `drop` all connections, `end` them for good
 */
export type Action = {
    do: "open" | "abandon" | "offer" | "restart" | "look" | "drop" | "end";
} | {
    do: "tell";
    state: ClientState;
    previous: ClientState;
    reason: string | null;
    problem: Problem | null;
    retryInMs: number | null;
} | {
    do: "log";
    level: "info" | "warn";
    text: string;
};
export type ClientState = import("../avatar-client.js").ClientState;
export type Problem = import("../avatar-client.js").Problem;
export type Timer = "retry" | "opening" | "connecting" | "grace" | "silence" | "restart" | "giveUp" | "stable";
