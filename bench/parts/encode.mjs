// What a frame costs before the network.

import { release, runJson } from "../lib/process.mjs";
import { range } from "../lib/statistics.mjs";

/** Of each step, in ms a frame. */
const AIMS = { convert: 1.0, H264: 1.2, VP8: 2.5 };

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
    values.push(await runJson(program, [seconds], { seconds: 9 * seconds + 60 }));
  }
  const rows = Object.keys(values[0]).map((way) => {
    const [format, codec] = way.split(" into ");
    const of = (/** @type {string} */ step, /** @type {string} */ share) =>
      range(
        values.map((value) => value[way][step][share]),
        2,
      );
    const isWithin = (/** @type {string} */ step, /** @type {number | undefined} */ aim) =>
      aim === undefined || values.every((value) => value[way][step].p50 <= aim);
    // A PNG is unpacked in as long as it takes.
    const convertAim = format === "PNG" ? undefined : AIMS.convert;
    const encodeAim = codec === "H264" || codec === "VP8" ? AIMS[codec] : undefined;
    const aims = [
      convertAim && `convert <= ${convertAim}`,
      encodeAim && `encode <= ${encodeAim} ms`,
    ].filter(Boolean);
    return {
      what: `${way}, 512x512, 30 fps, 1 Mb/s`,
      measured:
        `p50: convert ${of("convert", "p50")}, encode ${of("encode", "p50")} ms; ` +
        `p99 of both ${of("total", "p99")} ms`,
      aim: aims.join(", "),
      met: isWithin("convert", convertAim) && isWithin("encode", encodeAim),
    };
  });
  return { rows, values };
}
