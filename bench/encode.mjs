// What a frame costs before the network.

import { nativeJson, range, repeat } from "./support.mjs";

const SECONDS = 8;

/**
 * @param {{ runs: number }} options
 * @returns {Promise<import("./support.mjs").Row[]>}
 */
export async function measure({ runs }) {
  const values = await repeat(runs, () =>
    nativeJson("examples/encode_cost", [SECONDS], 2 * SECONDS + 30),
  );
  return ["jpeg", "rgba"].map((format) => {
    const of = (/** @type {string} */ step, /** @type {string} */ share) =>
      range(
        values.map((value) => value[format][step][share]),
        2,
      );
    return {
      what: `encode, ${format.toUpperCase()} 512x512, 30 fps, 1 Mb/s`,
      measured:
        `p50 ${of("total", "p50")} ms, p99 ${of("total", "p99")} ms ` +
        `(p50: convert ${of("convert", "p50")}, encode ${of("encode", "p50")})`,
      aim: "p50 <= 1.5 ms",
      values: values.map((value) => value[format]),
    };
  });
}
