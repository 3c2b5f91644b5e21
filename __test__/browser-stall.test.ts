import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readWav, wavFile } from "../examples/support.mjs";
import {
  fakeMicrophone,
  launch,
  PATIENCE_MS,
  REAL_TIME,
  rateOf,
  Viewer,
} from "./support/chromium.js";
import { picture, pushPictures, SIDE } from "./support/picture.mjs";
import { cleanup, systemWith } from "./support.js";

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** The numbers that an idle loop shows. */
const IDLE = [2000, 2001, 2002, 2003, 2004];
const idleFrames = () =>
  IDLE.map((number) => ({ data: picture(number), width: SIDE, height: SIDE }));

const isIdle = (number: number | null) => number !== null && IDLE.includes(number);

describe("an avatar whose renderer has stopped", () => {
  it(
    "shows the idle loop before the first frame and after the last one, to who joins too",
    REAL_TIME,
    async () => {
      const system = await systemWith({}, { idleFrames: idleFrames() });
      await system.start();
      const told: string[] = [];
      for (const event of ["video-stalled", "video-resumed"] as const) {
        system.bridge.on(event, () => told.push(event));
      }
      const viewer = await Viewer.watching(browser, system.server.port ?? 0);
      const before = await viewer.framesDuring(2000);
      expect(new Set(before.map(({ number }) => number))).toEqual(new Set(IDLE));
      expect(before.length).toBeGreaterThan(50);

      const pictures = pushPictures(system.bridge);
      await viewer.untilNumber(10);
      const during = await viewer.framesDuring(1500);
      expect(during.filter(({ number }) => isIdle(number))).toEqual([]);
      expect(rateOf(during, 1500)).toBeGreaterThan(25);
      pictures.stop();
      const stoppedAt = Date.now();
      await viewer.until(() => (window.watched.frames.at(-1)?.number ?? 0) >= 2000);
      const joiner = await Viewer.watching(browser, system.server.port ?? 0);
      await joiner.until(() => window.watched.frames.length > 20);
      expect((await joiner.frames()).every(({ number }) => isIdle(number))).toBe(true);
      const resumed = (await viewer.frames()).find(
        ({ at, number }) => at > stoppedAt && isIdle(number),
      );
      const after = (resumed?.at ?? 0) - stoppedAt;
      console.log(`the loop is there ${after.toFixed(0)} ms after the last frame`);
      expect(after).toBeGreaterThan(900);
      expect(after).toBeLessThan(1400);

      const again = pushPictures(system.bridge, { from: 500 });
      cleanup(() => again.stop());
      await viewer.untilNumber(500);
      await vi.waitFor(() => expect(told).toEqual(["video-stalled", "video-resumed"]));
    },
  );

  it("has an idle loop that can be shown, or is not made", async () => {
    const of = (idleFrames: unknown) => systemWith({}, { idleFrames: idleFrames as never });
    const [frame] = idleFrames();
    await expect(of([frame, { ...frame, width: SIDE + 1 }])).rejects.toThrow(
      expect.objectContaining({
        code: "ERR_INVALID_ARG_VALUE",
        message: expect.stringContaining("media.idleFrames[1]"),
      }),
    );
    for (const wrong of [7, "x", [null], [{}], {}]) {
      await expect(of(wrong)).rejects.toThrow(
        expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
      );
    }
  });
});

describe("an application that keeps the JavaScript thread busy for twelve seconds", () => {
  it(
    "does not stop what its viewers see and hear, and costs little memory",
    REAL_TIME,
    async () => {
      const file = path.resolve(".cache/half-a-minute-of-speech.wav");
      mkdirSync(path.dirname(file), { recursive: true });
      const speech = readWav(path.resolve("assets/speech-16k.wav"));
      writeFileSync(
        file,
        wavFile({ ...speech, data: Buffer.concat([speech.data, speech.data, speech.data]) }),
      );

      const program = fileURLToPath(new URL("./support/busy.mjs", import.meta.url));
      const child = fork(program);
      cleanup(() => child.kill("SIGKILL"));
      const told = async () => (await once(child, "message"))[0];
      const { port } = await told();
      const speaking = await launch(...fakeMicrophone(file));
      cleanup(() => speaking.close());
      const viewer = await Viewer.watching(speaking, port);
      await viewer.untilState("connected");
      await viewer.page.click("#microphone");
      await viewer.page.waitForSelector('#microphone[aria-pressed="true"]');
      child.send("speak");
      expect(await told()).toEqual({ heard: true });

      await viewer.listen();
      child.send("block");
      expect(await told()).toEqual({ blocked: true });
      const cost = told();
      const frames = await viewer.framesDuring(8000);
      const { sampleRate, channels } = await viewer.heard();
      const { blockedMs, grownMiB, dropped } = await cost;

      const second = (n: number) =>
        (channels[0] ?? new Float32Array()).subarray(n * sampleRate, (n + 1) * sampleRate);
      const levels = Array.from({ length: 7 }, (_, n) => Math.max(...second(n).map(Math.abs)));
      console.log(
        `busy for ${blockedMs} ms: ${(frames.length / 8).toFixed(1)} frames a second, ${grownMiB.toFixed(1)} MiB more, ${dropped.audio} chunks and utterances missed`,
      );
      expect(blockedMs).toBeGreaterThan(11_900);
      expect(frames.length / 8).toBeGreaterThan(25);
      expect(Math.min(...levels)).toBeGreaterThan(0.1);
      expect(grownMiB).toBeLessThan(32);
      expect(dropped.audio).toBeGreaterThan(0);
      await expect
        .poll(() => viewer.page.evaluate(() => window.avatarClient.state), { timeout: PATIENCE_MS })
        .toBe("connected");
    },
  );
});
