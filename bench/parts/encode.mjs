// What a frame costs before the network.

import { release, runJson } from "../lib/process.mjs";
import { range } from "../lib/statistics.mjs";

const AIM_MS = 1.5;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ runs, quick }) {
  const seconds = quick ? 3 : 8;
  const program = release("examples/encode_cost");
  /** @type {any[]} */
  const values = [];
  for (let n = 0; n < runs; n++) {
    values.push(await runJson(program, [seconds], { seconds: 2 * seconds + 30 }));
  }
  const rows = ["jpeg", "rgba"].map((format) => {
    const of = (/** @type {string} */ step, /** @type {string} */ share) =>
      range(
        values.map((value) => value[format][step][share]),
        2,
      );
    return {
      what: `${format.toUpperCase()} 512x512, 30 fps, 1 Mb/s`,
      measured:
        `p50 ${of("total", "p50")} ms, p99 ${of("total", "p99")} ms ` +
        `(p50: convert ${of("convert", "p50")}, encode ${of("encode", "p50")})`,
      aim: `p50 <= ${AIM_MS} ms`,
      met: values.every((value) => value[format].total.p50 <= AIM_MS),
    };
  });
  return { rows, values };
}
