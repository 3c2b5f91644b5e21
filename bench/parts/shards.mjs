// One, two and four network threads (`webrtc.networkThreads`): capacity and cost of each.

import { findCapacity } from "../lib/capacity.mjs";
import { countThreads } from "../lib/cpu.mjs";
import { lineChart } from "../lib/plot.mjs";
import { measurePoint, microsecondsPerViewer, networkPerViewer } from "../lib/point.mjs";

const THREADS = [1, 2, 4];
const COST_VIEWERS = 400;
const USUAL_CAPACITY = 800;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure(context) {
  const results = [];
  for (const networkThreads of THREADS) {
    const result = await once(networkThreads, context);
    if (result.threads !== networkThreads) {
      const what = `webrtc.networkThreads: ${networkThreads}`;
      const measured = `left out: this build runs ${result.threads} network threads then`;
      return { rows: [...results.map(rowOf), { what, measured }], values: results };
    }
    results.push(result);
  }
  /** @type {Record<string, string>} */
  const plots = context.quick ? {} : { shards: plot(results) };
  return { rows: results.map(rowOf), plots, values: results };
}

/** @typedef {Awaited<ReturnType<typeof once>>} Shards */

/**
 * @param {number} networkThreads
 * @param {import("../lib/report.mjs").Context} context
 */
async function once(networkThreads, { quick, known, log }) {
  const server = { networkThreads };
  log(`${networkThreads} threads, ${COST_VIEWERS} viewers`);
  const point = await measurePoint({
    viewers: COST_VIEWERS,
    seconds: quick ? 6 : 12,
    server,
    during: async ({ pid }) => countThreads(pid, /^avatar-network/),
  });
  const threads = Number(point.extra);
  if (threads !== networkThreads || quick)
    return { networkThreads, threads, point, most: undefined };
  const { most } = await findCapacity({
    point: (viewers) => ({ viewers, server }),
    start: known.capacity || USUAL_CAPACITY,
    limit: 6_000,
    // About where one thread ends: small steps, since a step too far takes long to fail.
    factor: 1.25,
    resolution: 0.25,
    confirmSeconds: 15,
    log: (text) => log(`${networkThreads} threads: ${text}`),
  });
  return { networkThreads, threads, point, most };
}

/** @param {Shards} shards */
const rowOf = ({ networkThreads, point, most }) => ({
  what: `${networkThreads} network thread${networkThreads > 1 ? "s" : ""}`,
  measured:
    `${most === undefined ? "" : `${most} viewers; `}at ${COST_VIEWERS}: ${microsecondsPerViewer(point).toFixed(0)} us a viewer-second ` +
    `(network threads ${networkPerViewer(point).toFixed(0)}), p99 ${point.seen.latencyMs.p99.toFixed(1)} ms`,
});

/** @param {Shards[]} results */
function plot(results) {
  return lineChart({
    title: "Viewers held by one, two and four network threads",
    x: { label: "network threads" },
    y: { label: "viewers" },
    series: [
      {
        name: "capacity",
        points: results.map(({ networkThreads, most = 0 }) => [networkThreads, most]),
      },
    ],
  });
}
