// How far the voice is from the lips, and whether that drifts: flashes and beeps through Chromium with the real page.

import { createStreamingSystem } from "avatar-webrtc-streaming";
import { launchChromium, withPage } from "../lib/chromium.mjs";
import { flashAndBeep } from "../lib/flash-and-beep.mjs";
import { loopback } from "../lib/loopback.mjs";
import { notePlayback, playback, skews } from "../lib/playback.mjs";
import { delay } from "../lib/process.mjs";
import { leastSquares, quantile } from "../lib/statistics.mjs";

const AIM_SKEW_MS = 40;
const AIM_DRIFT_MS = 1;
/** The page brings the tracks together first. */
const SETTLING_MS = 8_000;

/**
 * @param {import("../lib/report.mjs").Context} context
 * @returns {Promise<import("../lib/report.mjs").Result>}
 */
export async function measure({ quick, log }) {
  const minutes = quick ? 1 : 10;
  log(`${minutes} min of flashes and beeps`);
  const system = await createStreamingSystem({
    webrtc: loopback,
    media: { videoWidth: 64, videoHeight: 64, videoFps: 25 },
  });
  const browser = await launchChromium();
  try {
    await system.start();
    const url = `ws://127.0.0.1:${system.server.port}`;
    const seen = await withPage(
      browser,
      url,
      () => {},
      async (page) => {
        await page.waitForSelector('html[data-state="connected"]');
        await notePlayback(page);
        const end = flashAndBeep(system.bridge, { fps: 25, chunkMs: 20 });
        await delay(SETTLING_MS + minutes * 60_000);
        end();
        return playback(page);
      },
    );
    const from = (seen.flashes[0] ?? 0) + SETTLING_MS;
    const offsets = skews(seen).filter(({ at }) => at > from);
    const worst = quantile(
      offsets.map(({ ms }) => Math.abs(ms)),
      0.95,
    );
    const { slope } = leastSquares(offsets.map(({ at, ms }) => [at / 60_000, ms]));
    return {
      rows: [
        {
          what: `|skew| p95 of ${offsets.length} beeps`,
          measured: `${worst.toFixed(0)} ms`,
          aim: `<= ${AIM_SKEW_MS} ms`,
          met: worst <= AIM_SKEW_MS,
        },
        {
          what: `drift over ${minutes} min`,
          measured: `${slope.toFixed(2)} ms a minute`,
          aim: `<= ${AIM_DRIFT_MS} ms`,
          met: Math.abs(slope) <= AIM_DRIFT_MS,
        },
      ],
      values: offsets,
    };
  } finally {
    await browser.close();
    await system.stop();
  }
}
