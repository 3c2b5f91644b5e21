import { once } from "node:events";
import { connect } from "node:net";
import { Worker } from "node:worker_threads";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { cleanup, resources, settled, systemWith } from "./support.js";

const STREAMING = new URL("support/streaming-worker.mjs", import.meta.url);

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

it(
  "a worker thread that is terminated while a browser watches takes its stream with it and no other",
  REAL_TIME,
  async () => {
    const system = await systemWith();
    await system.start();
    cleanup(pushPictures(system.bridge).stop);
    const port = system.server.port ?? 0;
    const viewer = await Viewer.watching(browser, port);
    const before = resources();

    for (let round = 0; round < 3; round++) {
      const worker = new Worker(STREAMING);
      cleanup(() => worker.terminate());
      const [workerPort] = await once(worker, "message");
      const other = await Viewer.watching(browser, workerPort);
      await other.untilNumber(10);
      await worker.terminate();
      await other.untilState("reconnecting");
      const [error] = await once(connect(workerPort, "127.0.0.1"), "error");
      expect(error).toMatchObject({ code: "ECONNREFUSED" });
      await other.context.close();
      await settled(before);
    }

    const frames = await viewer.framesDuring(2000);
    expect(rateOf(frames, 2000)).toBeGreaterThanOrEqual(28);
    await viewer.context.close();
  },
);
