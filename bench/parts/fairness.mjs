// What one viewer's misbehaviour does to the frames of the others, and what many do who come at once.

import { Crowd } from "../lib/crowd.mjs";
import { measurePoint } from "../lib/point.mjs";
import { delay } from "../lib/process.mjs";
import { median, range, sum } from "../lib/statistics.mjs";

/** Those who behave. */
const VIEWERS = 200;
/** Viewers who vanish without a word. */
const GONE = 20;
/** Packets of NACK and PLI that one viewer sends in a second. */
const FLOOD = 10_000;
const AIM_PERCENT = 2;
/** Viewers who come within a second. */
const HERD = 500;
const FREEZE_AIM_MS = 200;
/** The herd's second, and what its handshakes take on a machine that both sides share. */
const HERD_SECONDS = 10;

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
  /** @type {{ longest: number, keyframes: number }[]} */
  const herds = [];
  for (let round = 0; round < rounds; round++) {
    log(`${HERD} who come within a second: ${round + 1} of ${rounds}`);
    herds.push(await besideAHerd());
  }
  const longest = herds.map((herd) => herd.longest);
  const keyframes = herds.map((herd) => herd.keyframes);
  rows.push({
    what: `longest time that any of ${VIEWERS} viewers waited for a frame while ${HERD} came within a second`,
    measured: `${range(longest, 0)} ms; keyframes: ${range(keyframes, 0)}`,
    aim: `<= ${FREEZE_AIM_MS} ms`,
    met: Math.max(...longest) <= FREEZE_AIM_MS,
  });
  return { rows, values: { ...values, herds } };
}

/** What those see who watch already. */
async function besideAHerd() {
  /** @type {Crowd | undefined} */
  let herd;
  try {
    const { seen, extra: keyframes } = await measurePoint({
      viewers: VIEWERS,
      seconds: HERD_SECONDS,
      server: { maxClients: VIEWERS + HERD },
      during: async (server) => {
        const before = await keyframesOf(server);
        herd = await joined(server, { count: HERD, joinRate: HERD });
        return (await keyframesOf(server)) - before;
      },
    });
    return { longest: seen.intervalMs.max, keyframes };
  } finally {
    await herd?.stop();
  }
}

/** @param {import("../lib/server.mjs").Server} server @returns {Promise<number>} made so far */
async function keyframesOf(server) {
  const metrics = await fetch(new URL("/metrics", server.url.replace("ws:", "http:")));
  const counters = (await metrics.text()).matchAll(/^avatar_keyframes_total\S* (\d+)$/gm);
  return sum([...counters].map(([, count]) => Number(count)));
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
 * @param {{ count: number, flood?: number, joinRate?: number }} options
 */
async function joined(server, options) {
  const crowd = new Crowd({ urls: server.urls, seconds: 60, ...options });
  await crowd.joined;
  return crowd;
}
