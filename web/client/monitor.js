// Looks at a connection once a second: what the page shows as numbers, what the server is told, and whether anything
// arrives at all. Knows no DOM but the video element that it is given.

import { followFrames, LatencyMeter, latencyOf } from "./latency.js";
import { snapshot } from "./snapshot.js";
import { measure, report } from "./statistics.js";

/** @typedef {import("./statistics.js").Metrics} Metrics */

const READING_MS = 1_000;
/** The server is told of each second reading. */
const REPORT_EVERY = 2;

/**
 * @typedef {object} Listener
 * @property {() => void} heard something came over the media connection since the last reading
 * @property {(metrics: Metrics) => void} measured
 * @property {(data: Record<string, number | string>) => void} report for the server, each 2 s
 */

export class Monitor {
  /** @type {import("./clock.js").ServerClock} */ #clock;
  /** @type {Listener} */ #listener;
  #meter = new LatencyMeter();
  #watching = new AbortController();
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;

  /** @param {import("./clock.js").ServerClock} clock @param {Listener} listener */
  constructor(clock, listener) {
    this.#clock = clock;
    this.#listener = listener;
  }

  /** @param {HTMLVideoElement | null} video the element that shows the stream */
  watch(video) {
    this.#watching.abort();
    this.#watching = new AbortController();
    this.#meter.clear();
    if (video) followFrames(video, this.#shown, this.#watching.signal);
  }

  /**
   * Reads this connection from now on.
   * @param {import("./connection.js").Connection} connection
   */
  start(connection) {
    this.stop();
    /** @type {import("./snapshot.js").Snapshot | null} */
    let before = null;
    let readings = 0;
    const timer = setInterval(async () => {
      const now = snapshot(await connection.pc.getStats());
      if (this.#timer !== timer) return;
      if (before && now.received > before.received) this.#listener.heard();
      const latency = this.#meter.read(performance.now());
      const metrics = measure(before, now, { latency, skewMs: connection.playing.skewMs });
      before = now;
      readings += 1;
      this.#listener.measured(metrics);
      if (readings % REPORT_EVERY === 0) this.#listener.report(report(metrics));
    }, READING_MS);
    this.#timer = timer;
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#meter.clear();
  }

  /** @param {number} rtpTimestamp @param {number} shownAt */
  #shown = (rtpTimestamp, shownAt) => {
    const at = this.#clock.at(shownAt);
    if (at !== null) this.#meter.add(latencyOf(rtpTimestamp, at), shownAt);
  };
}
