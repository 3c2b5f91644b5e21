// The most avatars with one viewer each in one process that stay in time, and what one costs.

import { findCapacity } from "../lib/capacity.mjs";
import { residentBytes } from "../lib/cpu.mjs";
import { microsecondsPerViewer } from "../lib/point.mjs";

const LIMIT = 160;
const AIM = 40;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  /** @type {import("../lib/report.mjs").Row[]} */
  const rows = [];
  /** @type {Record<string, unknown>} */
  const values = {};
  for (const format of /** @type {const} */ (["JPEG", "RGBA"])) {
    const found = await findCapacity({
      point: (systems) => ({
        viewers: systems,
        server: { systems, format },
        during: async ({ pid }) => residentBytes(pid),
      }),
      start: 32,
      limit: LIMIT,
      resolution: quick ? 0.2 : 0.08,
      patient: !quick,
      confirmSeconds: quick ? 10 : 25,
      log: (text) => log(`${format}: ${text}`),
    });
    values[format] = found;
    rows.push({
      what: `avatars in time, ${format} frames`,
      measured:
        `${found.most}` +
        (found.point
          ? `; one costs ${(microsecondsPerViewer(found.point) / 1e4).toFixed(1)} % of a core; ` +
            `the process takes ${(found.point.extra / 2 ** 20).toFixed(0)} MiB`
          : ""),
      aim: `>= ${AIM} (50)`,
      met: found.most >= AIM,
    });
  }
  return { rows, values };
}
