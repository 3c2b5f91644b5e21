/**
 * @typedef {object} Listener
 * @property {() => void} heard something came over the media connection since the last reading
 * @property {(metrics: Metrics) => void} measured
 * @property {(data: Record<string, number | string>) => void} report for the server, each 2 s
 */
export class Monitor {
    /** @param {import("./clock.js").ServerClock} clock @param {Listener} listener */
    constructor(clock: import("./clock.js").ServerClock, listener: Listener);
    /** @param {HTMLVideoElement | null} video the element that shows the stream */
    watch(video: HTMLVideoElement | null): void;
    /**
     * Reads this connection from now on.
     * @param {import("./connection.js").Connection} connection
     */
    start(connection: import("./connection.js").Connection): void;
    stop(): void;
    #private;
}
export type Metrics = import("./statistics.js").Metrics;
export type Listener = {
    /**
     * something came over the media connection since the last reading
     */
    heard: () => void;
    measured: (metrics: Metrics) => void;
    /**
     * for the server, each 2 s
     */
    report: (data: Record<string, number | string>) => void;
};
