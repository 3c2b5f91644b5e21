// One point of a measurement: a server of its own, so many viewers, a window in which all of them watch.

import { CpuClock, threadSeconds } from "./cpu.mjs";
import { Crowd } from "./crowd.mjs";
import { delay } from "./process.mjs";
import { Server } from "./server.mjs";

/**
 * @typedef {object} PointOptions
 * @property {number} viewers
 * @property {number} seconds of watching
 * @property {import("./server.mjs").ServerOptions} [server]
 * @property {Partial<import("./crowd.mjs").CrowdOptions>} [crowd]
 * @property {(server: Server) => Promise<unknown>} [settle] once all have joined, before the window
 * @property {(server: Server) => Promise<unknown>} [during] in the window
 * @property {ReturnType<typeof import("./namespaces.mjs").makeNamespaces>} [namespaces]
 */

/**
 * @typedef {object} Point
 * @property {number} viewers
 * @property {import("./cpu.mjs").Spent} spent by the server's process
 * @property {any} report of its JavaScript thread
 * @property {any} seen the generator's report
 * @property {any} extra what `during` returned
 */

/** The server's window ends so long before the viewers', in s, so that nobody leaves in it. */
const MARGIN = 0.3;

/**
 * @param {PointOptions} options
 * @returns {Promise<Point>}
 */
export async function measurePoint(options) {
  const { viewers, namespaces } = options;
  const server = await Server.start(
    { maxClients: viewers + 100, ...options.server },
    namespaces?.server,
  );
  try {
    return await watch(server, options);
  } finally {
    await server.stop();
  }
}

/**
 * @param {Server} server
 * @param {PointOptions} options
 * @returns {Promise<Point>}
 */
export async function watch(server, { viewers, seconds, crowd = {}, settle, during, namespaces }) {
  const watching = new Crowd({
    urls: server.urls,
    count: viewers,
    seconds,
    namespace: namespaces?.viewers,
    ...crowd,
  });
  try {
    await watching.joined;
    const joined = performance.now();
    await settle?.(server);
    await server.ask("begin");
    const cpu = new CpuClock(server.pid);
    const extra = await during?.(server);
    const left = (seconds - MARGIN) * 1000 - (performance.now() - joined);
    if (left <= 0) throw new Error("nothing was left of the window: give more seconds");
    await delay(left);
    const spent = cpu.lap();
    const report = await server.ask("report");
    return { viewers, spent, report, extra, seen: await watching.report };
  } finally {
    await watching.stop();
  }
}

/** @param {Point} point @returns {number} us of CPU that the whole process spent on a viewer in a second */
export const microsecondsPerViewer = ({ viewers, spent }) =>
  (1e6 * spent.cpuSeconds) / spent.seconds / viewers;

/** @param {Point} point @returns {number} the same of the network threads alone */
export const networkPerViewer = ({ viewers, spent }) =>
  (1e6 * threadSeconds(spent, /^avatar-network/)) / spent.seconds / viewers;

/** @param {Point} point @returns {number} % of one core that the process took */
export const coreShare = ({ spent }) => (100 * spent.cpuSeconds) / spent.seconds;

/** What "held" means: nobody's frame rate, hardly a packet, and no frame late. */
export const HELD = { fps: 29.5, loss: 0.001, latencyP99Ms: 50 };

/**
 * @param {Point} point
 * @returns {string[]} what was not held; nothing: it held
 */
export function shortfalls({ viewers, seen }) {
  const { withPicture, fps, loss, latencyMs } = seen;
  return [
    withPicture < viewers && `${viewers - withPicture} without a picture`,
    !(fps.min >= HELD.fps) && `fps min ${fps.min.toFixed(1)}`,
    !(loss < HELD.loss) && `loss ${(100 * loss).toFixed(2)} %`,
    latencyMs.p99 === null && "no latency known",
    latencyMs.p99 >= HELD.latencyP99Ms && `latency p99 ${latencyMs.p99.toFixed(0)} ms`,
  ].filter((text) => text !== false);
}
