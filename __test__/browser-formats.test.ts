import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { VideoFrame } from "../index.js";
import { CHART, centres, chart, type Format } from "./support/chart.js";
import { launch, PATIENCE_MS, Viewer } from "./support/chromium.js";
import { cleanup, systemWith } from "./support.js";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** The stream's own size, an odd one beside it, and another one that is odd. */
const SIZES = [
  { width: 512, height: 512 },
  { width: 513, height: 513 },
  { width: 333, height: 333 },
];

describe("a colour chart in a browser", () => {
  it.each<Format>(["RGBA", "YUV", "NV12", "JPEG", "PNG"])(
    "has the colours that were pushed as %s",
    async (format) => {
      const system = await systemWith();
      await system.start();
      const maker = await browser.newPage();
      cleanup(() => maker.close());
      const black = { data: Buffer.alloc(4), width: 1, height: 1, format: "RGBA" as Format };
      let frame: Omit<VideoFrame, "timestamp"> = black;
      const timer = setInterval(() => {
        system.bridge.pushVideoFrame({ ...frame, timestamp: Date.now() });
      }, 40);
      cleanup(() => clearInterval(timer));
      const viewer = await Viewer.watching(browser, system.server.port ?? 0);
      for (const size of SIZES) {
        // Another picture between two charts: what is seen is not the one before.
        frame = black;
        const places = centres({ width: 512, height: 512 });
        const isBlack = async () => (await viewer.coloursAt(places)).flat().every((c) => c < 9);
        await expect.poll(isBlack, { timeout: PATIENCE_MS }).toBe(true);
        frame = { data: await chart(format, size, maker), ...size, format };
        const levelsOff = async () => {
          const shown = await viewer.coloursAt(places);
          const off = (patch: number) =>
            (shown[patch] ?? []).map((level, at) => Math.abs(level - (CHART[patch]?.[at] ?? 0)));
          return Math.max(...CHART.flatMap((_, patch) => off(patch)));
        };
        await expect
          .poll(levelsOff, { timeout: PATIENCE_MS, message: `${size.width}x${size.height}` })
          .toBeLessThanOrEqual(3);
      }
      expect(system.bridge.getMetrics()).toMatchObject({ invalidFrames: 0 });
    },
  );
});
