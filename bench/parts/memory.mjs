// Resident memory of the server: a viewer's share, and whether it comes back.

import { residentBytes } from "../lib/cpu.mjs";
import { Crowd } from "../lib/crowd.mjs";
import { delay } from "../lib/process.mjs";
import { Server } from "../lib/server.mjs";
import { leastSquares } from "../lib/statistics.mjs";

const VIEWERS = 1000;
const AIM_KIB = 200;
/** Viewers that come and go together in the churn. */
const ROUND = 100;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  const server = await Server.start({ maxClients: VIEWERS + 10 });
  try {
    // The first viewer starts what all share.
    await visit(server, 1);
    const empty = await memory(server);
    log(`${VIEWERS} viewers`);
    const full = await visit(server, VIEWERS);
    const left = await memory(server);
    const rounds = await churn(server, quick ? 6 : 100, log);
    // In the first half allocators and caches take what they need, in steps. A leak would go on in the second.
    const growth = leastSquares(rounds.slice(rounds.length / 2)).slope;
    const kib = (full - empty) / 1024 / VIEWERS;
    return {
      rows: [
        {
          what: `resident memory a viewer, ${VIEWERS} viewers`,
          measured: `${kib.toFixed(0)} KiB (process ${mib(empty)} before, ${mib(full)} with them, ${mib(left)} after)`,
          aim: `<= ${AIM_KIB} KiB`,
          met: kib <= AIM_KIB,
        },
        {
          what: `growth over the second half of ${rounds.length * ROUND} joins and leaves`,
          measured: `${growth.toFixed(0)} bytes a join (process ${mib(rounds.at(-1)?.[1] ?? Number.NaN)} at the end)`,
        },
      ],
      values: { empty, full, left, rounds },
    };
  } finally {
    await server.stop();
  }
}

/**
 * @param {Server} server
 * @param {number} count
 * @param {(text: string) => void} log
 * @returns {Promise<[joins: number, bytes: number][]>}
 */
async function churn(server, count, log) {
  /** @type {[number, number][]} */
  const rounds = [];
  for (let n = 1; n <= count; n++) {
    await visit(server, ROUND);
    rounds.push([n * ROUND, await memory(server)]);
    if (n % 10 === 0) log(`${n * ROUND} joined and left`);
  }
  return rounds;
}

/**
 * So many come, watch for a moment, and go.
 * @param {Server} server
 * @param {number} count
 * @returns {Promise<number>} resident bytes while all are there
 */
async function visit(server, count) {
  const crowd = new Crowd({ urls: [server.url], count, seconds: count > ROUND ? 5 : 0.5 });
  try {
    await crowd.joined;
    if (count > ROUND) await delay(2_000);
    const bytes = residentBytes(server.pid);
    await crowd.report;
    return bytes;
  } finally {
    await crowd.stop();
  }
}

/**
 * Once what JavaScript holds is freed.
 * @param {Server} server
 */
async function memory(server) {
  await delay(500);
  await server.ask("collect");
  return residentBytes(server.pid);
}

/** @param {number} bytes */
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
