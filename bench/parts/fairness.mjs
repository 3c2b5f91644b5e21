// What one viewer's misbehaviour does to the frames of the others.

import { Crowd } from "../lib/crowd.mjs";
import { measurePoint } from "../lib/point.mjs";
import { delay } from "../lib/process.mjs";
import { median } from "../lib/statistics.mjs";

/** Those who behave. */
const VIEWERS = 200;
/** Viewers who vanish without a word. */
const GONE = 20;
/** Packets of NACK and PLI that one viewer sends in a second. */
const FLOOD = 10_000;
const AIM_PERCENT = 2;

/**
 * @typedef {object} Frames what the others saw
 * @property {number} interval p50 of the time between two frames, in ms
 * @property {number} late p99 of it
 * @property {number} latency p50 from push to received
 * @property {number} fps the lowest of anybody
 */

/** @typedef {(server: import("../lib/server.mjs").Server) => Promise<Crowd>} Neighbours */

/** @type {Record<string, { calm: Neighbours, troubled: Neighbours }>} as many who behave, beside those who do not */
const CASES = {
  [`one who sends ${FLOOD.toLocaleString("en")} packets of NACK and PLI a second`]: {
    calm: (server) => joined(server, { count: 1 }),
    troubled: (server) => joined(server, { count: 1, flood: FLOOD }),
  },
  [`${GONE} who vanish`]: {
    calm: (server) => joined(server, { count: GONE }),
    troubled: async (server) => {
      const gone = await joined(server, { count: GONE });
      await gone.stop();
      return gone;
    },
  },
};

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  const rounds = quick ? 3 : 5;
  /** @type {import("../lib/report.mjs").Row[]} */
  const rows = [];
  /** @type {Record<string, { calm: Frames, troubled: Frames }[]>} */
  const values = {};
  for (const [name, { calm, troubled }] of Object.entries(CASES)) {
    /** @type {{ calm: Frames, troubled: Frames }[]} */
    const pairs = [];
    values[name] = pairs;
    for (let round = 0; round < rounds; round++) {
      log(`${name}: ${round + 1} of ${rounds}`);
      pairs.push({ calm: await beside(calm), troubled: await beside(troubled) });
    }
    const change = median(
      pairs.map(({ calm, troubled }) => 100 * (troubled.interval / calm.interval - 1)),
    );
    const of = (/** @type {"calm" | "troubled"} */ which, /** @type {keyof Frames} */ what) =>
      median(pairs.map((pair) => pair[which][what])).toFixed(1);
    rows.push({
      what: `frames of ${VIEWERS} viewers beside ${name}`,
      measured: `interval p50 ${change >= 0 ? "+" : ""}${change.toFixed(2)} % (p99 ${of("calm", "late")} -> ${of("troubled", "late")} ms, fps min ${of("calm", "fps")} -> ${of("troubled", "fps")}, latency p50 ${of("calm", "latency")} -> ${of("troubled", "latency")} ms)`,
      aim: `< ${AIM_PERCENT} %`,
      met: Math.abs(change) < AIM_PERCENT,
    });
  }
  return { rows, values };
}

/**
 * @param {Neighbours} neighbours
 * @returns {Promise<Frames>} of the viewers beside them
 */
async function beside(neighbours) {
  /** @type {Crowd | undefined} */
  let others;
  try {
    const { seen } = await measurePoint({
      viewers: VIEWERS,
      seconds: 12,
      server: { maxClients: VIEWERS + 2 * GONE },
      settle: async (server) => {
        others = await neighbours(server);
        await delay(1_000);
      },
    });
    return {
      interval: seen.intervalMs.p50,
      late: seen.intervalMs.p99,
      latency: seen.latencyMs.p50,
      fps: seen.fps.min,
    };
  } finally {
    await others?.stop();
  }
}

/**
 * More viewers, once all have a picture.
 * @param {import("../lib/server.mjs").Server} server
 * @param {{ count: number, flood?: number }} options
 */
async function joined(server, options) {
  const crowd = new Crowd({ urls: server.urls, seconds: 60, ...options });
  await crowd.joined;
  return crowd;
}
