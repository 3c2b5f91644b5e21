// True latency: from the moment that the application stamped a picture to the moment that it is on the screen. Our RTP
// timestamps are those stamps (ms of the server's clock, in ticks of 90 kHz), and browsers tell them of each frame that
// they show (https://wicg.github.io/video-rvfc/). Knows no DOM but the video element that it is given.

const TICKS_PER_MS = 90;
/** How long a frame counts for the percentiles. */
const MEMORY_MS = 10_000;
/** How long a frame counts for the number that is shown. */
const NOW_MS = 1_000;
/** What is further off is no latency: the stamps are of another clock. */
const CREDIBLE_MS = { least: -1_000, most: 30_000 };

/**
 * @param {number} rtpTimestamp of a frame, modulo 2^32
 * @param {number} shownAt on the server's clock, in ms
 * @returns {number} ms, within half of what the timestamps count to (6.6 h)
 */
export function latencyOf(rtpTimestamp, shownAt) {
  const ticks = shownAt * TICKS_PER_MS - rtpTimestamp;
  const wrapped = ((ticks % 2 ** 32) + 2 ** 32 + 2 ** 31) % 2 ** 32;
  return (wrapped - 2 ** 31) / TICKS_PER_MS;
}

/**
 * @typedef {object} Latency
 * @property {number} ms the mean of the frames of the last second: a screen shows them by steps of its own
 * @property {number} p50Ms over the last ten seconds
 * @property {number} p95Ms
 */

/** Latencies of the last seconds' frames. */
export class LatencyMeter {
  /** In the order of their times. @type {{at: number, ms: number}[]} */ #frames = [];

  /** @param {number} ms @param {number} at */
  add(ms, at) {
    if (!(ms >= CREDIBLE_MS.least && ms <= CREDIBLE_MS.most)) return;
    while (this.#frames[0] && at - this.#frames[0].at > MEMORY_MS) this.#frames.shift();
    this.#frames.push({ at, ms });
  }

  /** @param {number} now @returns {Latency | null} null if no frame of the last second is known */
  read(now) {
    const within = (/** @type {number} */ span) =>
      this.#frames.flatMap(({ at, ms }) => (now - at <= span ? [ms] : [])).sort((a, b) => a - b);
    const [newest, all] = [within(NOW_MS), within(MEMORY_MS)];
    if (newest.length === 0) return null;
    return {
      ms: newest.reduce((sum, ms) => sum + ms, 0) / newest.length,
      p50Ms: quantile(all, 0.5),
      p95Ms: quantile(all, 0.95),
    };
  }

  clear() {
    this.#frames = [];
  }
}

/** @param {number[]} sorted not empty @param {number} share */
function quantile(sorted, share) {
  return sorted[Math.ceil(share * sorted.length) - 1] ?? sorted[0] ?? Number.NaN;
}

/**
 * Tells of each frame that the element shows, until `signal`.
 * @param {HTMLVideoElement} video
 * @param {(rtpTimestamp: number, shownAt: number) => void} shown `shownAt` on the clock of `performance.now()`
 * @param {AbortSignal} signal
 */
export function followFrames(video, shown, signal) {
  if (!("requestVideoFrameCallback" in video)) return;
  /** @type {VideoFrameRequestCallback} */
  const next = (_, { rtpTimestamp, expectedDisplayTime }) => {
    if (signal.aborted) return;
    if (rtpTimestamp !== undefined) shown(rtpTimestamp, expectedDisplayTime);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}
