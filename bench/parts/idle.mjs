// What connected viewers cost while nothing is pushed: consent checks, reports, timers.

import { coreShare, measurePoint } from "../lib/point.mjs";
import { delay } from "../lib/process.mjs";

const VIEWERS = 1000;
const AIM_PERCENT = 3;

/** The WebSocket's pings come each 30 s, all at the time of day at which their viewers joined. */
const PERIOD_SECONDS = 30;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ log }) {
  log(`${VIEWERS} viewers`);
  const seconds = QUIET_SECONDS + PERIOD_SECONDS;
  const point = await measurePoint({ viewers: VIEWERS, seconds, settle: quiet });
  const share = coreShare(point);
  const threads = Object.entries(point.spent.threads)
    .map(([name, spent]) => /** @type {const} */ ([name, (100 * spent) / point.spent.seconds]))
    .filter(([, of]) => of >= 0.05)
    .map(([name, of]) => `${name} ${of.toFixed(2)}`);
  return {
    rows: [
      {
        what: `${VIEWERS} connected viewers, nothing pushed`,
        measured: `${share.toFixed(2)} % of a core (${threads.join(", ")})`,
        aim: `< ${AIM_PERCENT} %`,
        met: share < AIM_PERCENT,
      },
    ],
    values: point,
  };
}

/** How long {@link quiet} takes: after 15 s of silence packets of silence become rare. */
export const QUIET_SECONDS = 17;

/**
 * Ends the pushes and lets what they caused run out.
 * @param {import("../lib/server.mjs").Server} server
 */
export async function quiet(server) {
  await server.ask("pause");
  await delay(QUIET_SECONDS * 1000);
}
