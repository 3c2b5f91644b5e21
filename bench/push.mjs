// What a push takes from the JavaScript thread while viewers watch.

import { delay, range, repeat, Server, watch } from "./support.mjs";

const VIEWERS = 10;
const SECONDS = 12;

/**
 * @param {{ runs: number }} options
 * @returns {Promise<import("./support.mjs").Row[]>}
 */
export async function measure({ runs }) {
  const rows = [];
  for (const format of /** @type {const} */ (["RGBA", "JPEG"])) {
    const values = await repeat(runs, () => once(format));
    const of = (/** @type {(value: any) => number} */ pick, digits = 3) =>
      range(values.map(pick), digits);
    rows.push({
      what: `pushVideoFrame ${format} 512x512, ${VIEWERS} viewers`,
      measured: `p50 ${of((v) => v.pushes.video.p50)} ms, p99 ${of((v) => v.pushes.video.p99)} ms`,
      aim: `p50 <= ${format === "RGBA" ? 0.5 : 0.1} ms`,
      values,
    });
    if (format === "RGBA") continue;
    rows.push(
      {
        what: "pushAudioChunk 20 ms of 24 kHz",
        measured: `p50 ${of((v) => v.pushes.chunk.p50)} ms, p99 ${of((v) => v.pushes.chunk.p99)} ms`,
        aim: "-",
        values: values.map((v) => v.pushes.chunk),
      },
      {
        what: "pushAudioChunk 10.5 s of 24 kHz",
        measured: `p50 ${of((v) => v.utterances.p50)} ms, worst ${of((v) => v.utterances.worst)} ms`,
        aim: "-",
        values: values.map((v) => v.utterances),
      },
      {
        what: `event-loop delay, JPEG, ${VIEWERS} viewers`,
        measured: `p50 ${of((v) => v.loopDelay.p50, 2)} ms, p99 ${of((v) => v.loopDelay.p99, 2)} ms`,
        aim: "-",
        values: values.map((v) => v.loopDelay),
      },
    );
  }
  return rows;
}

/** @param {"RGBA" | "JPEG"} format */
async function once(format) {
  const server = await Server.start({ format });
  try {
    const watching = watch(server.url, VIEWERS, SECONDS + 3);
    watching.catch(() => {});
    await server.until(VIEWERS);
    await delay(500);
    await server.ask({ ask: "mark" });
    await delay(SECONDS * 1000);
    const report = await server.ask({ ask: "report" });
    const utterances = await server.ask({ ask: "utterances" });
    const { fps_min } = await watching;
    return { ...report, utterances, fpsMin: fps_min };
  } finally {
    await server.stop();
  }
}
