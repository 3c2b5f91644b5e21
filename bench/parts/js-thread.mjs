// What the JavaScript thread gives away: time in each push, and the delay of its event loop.

import { measurePoint } from "../lib/point.mjs";
import { range } from "../lib/statistics.mjs";

const VIEWERS = 500;
const AIM_MS = 5;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ runs, quick, log }) {
  /** @type {import("../lib/report.mjs").Row[]} */
  const rows = [];
  /** @type {Record<string, any[]>} */
  const values = {};
  for (const format of /** @type {const} */ (["JPEG", "RGBA"])) {
    log(`${format}, ${VIEWERS} viewers`);
    const reports = [];
    for (let n = 0; n < runs; n++) reports.push(await once(format, quick ? 6 : 12));
    values[format] = reports;
    rows.push(...rowsOf(format, reports));
  }
  return { rows, values };
}

/**
 * @param {"JPEG" | "RGBA"} format
 * @param {number} seconds
 */
async function once(format, seconds) {
  const server = { format, watchLoop: true };
  const { report } = await measurePoint({ viewers: VIEWERS, seconds, server });
  return report;
}

/**
 * @param {"JPEG" | "RGBA"} format
 * @param {any[]} reports
 * @returns {import("../lib/report.mjs").Row[]}
 */
function rowsOf(format, reports) {
  const of = (/** @type {(report: any) => number} */ pick) => range(reports.map(pick), 3);
  const delayP99 = Math.max(...reports.map(({ loopDelay }) => loopDelay.p99));
  return [
    {
      what: `pushVideoFrame ${format} 512x512`,
      measured: `p50 ${of((r) => r.pushes.video.p50)} ms, p99 ${of((r) => r.pushes.video.p99)} ms`,
      aim: `p50 <= ${format === "RGBA" ? 0.5 : 0.1} ms`,
      met: reports.every((r) => r.pushes.video.p50 <= (format === "RGBA" ? 0.5 : 0.1)),
    },
    {
      what: `pushAudioChunk 20 ms (beside ${format})`,
      measured: `p50 ${of((r) => r.pushes.chunk.p50)} ms, p99 ${of((r) => r.pushes.chunk.p99)} ms`,
    },
    {
      what: `event-loop delay, ${format}, ${VIEWERS} viewers`,
      measured: `p50 ${of((r) => r.loopDelay.p50)} ms, p99 ${of((r) => r.loopDelay.p99)} ms`,
      aim: `p99 < ${AIM_MS} ms`,
      met: delayP99 < AIM_MS,
    },
  ];
}
