import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launch, REAL_TIME, Viewer } from "./support/chromium.js";
import { onset, pcmOf, resemblance, rms, sweep } from "./support/sound.js";
import { cleanup, systemWith } from "./support.js";

const HEARD_RATE = 48_000;
const SECONDS = 3;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function listening(): Promise<{ system: StreamingSystem; viewer: Viewer }> {
  const system = await systemWith();
  await system.start();
  const viewer = await Viewer.open(browser, system.server.port ?? 0);
  await viewer.untilState("connected");
  await viewer.listen();
  // Playback has settled when samples come in: what is pushed now is heard from its first moment.
  await viewer.until(() => window.watched.sound.length > 20);
  return { system, viewer };
}

/** Waits until the sweep has been heard whole. */
async function heardWhole(viewer: Viewer): Promise<Float32Array[]> {
  for (;;) {
    const { sampleRate, channels } = await viewer.heard();
    expect(sampleRate).toBe(HEARD_RATE);
    const [first = new Float32Array()] = channels;
    if (first.length - onset(first, HEARD_RATE) >= (SECONDS + 0.5) * HEARD_RATE) return channels;
    const length = await viewer.page.evaluate(() => window.watched.sound.length);
    await viewer.until((more) => window.watched.sound.length > more, length + 20);
  }
}

/** Samples that the browser made up for packets that it missed. */
function concealed(viewer: Viewer): Promise<number> {
  return viewer.page.evaluate(async () => {
    const report = await window.watched.connections[0]?.getStats();
    const inbound = [...(report?.values() ?? [])].find(
      ({ type, kind }) => type === "inbound-rtp" && kind === "audio",
    );
    return inbound?.concealedSamples ?? 0;
  });
}

function expectSweep(heard: Float32Array, how: string): void {
  const found = resemblance(heard, sweep(HEARD_RATE, SECONDS), HEARD_RATE);
  const mean = found.reduce((sum, value) => sum + value, 0) / found.length;
  console.log(
    `${how}: correlation ${mean.toFixed(3)}, worst window ${Math.min(...found).toFixed(3)}`,
  );
  expect(mean).toBeGreaterThanOrEqual(0.8);
  // A window that holds a seam of the jitter buffer is less alike.
  expect(found.filter((value) => value < 0.8).length).toBeLessThanOrEqual(found.length / 5);
}

describe("the sound in a browser", () => {
  it(
    "is a whole utterance of 24 kHz that was pushed at once, in real time",
    REAL_TIME,
    async () => {
      const { system, viewer } = await listening();
      const data = pcmOf(sweep(24_000, SECONDS));
      system.bridge.pushAudioChunk({
        data,
        sampleRate: 24_000,
        channels: 1,
        timestamp: Date.now(),
      });
      data.fill(0x55); // The buffer is ours again.
      const [heard = new Float32Array()] = await heardWhole(viewer);
      expectSweep(heard, "24 kHz, at once");
    },
  );

  it("is what was pushed in chunks of 20 ms of 16 kHz", REAL_TIME, async () => {
    const { system, viewer } = await listening();
    const data = pcmOf(sweep(16_000, SECONDS));
    const start = performance.now();
    let at = 0;
    const timer = setInterval(() => {
      const due = Math.floor((performance.now() - start) / 20) + 1;
      for (; at < Math.min(due * 640, data.length); at += 640) {
        system.bridge.pushAudioChunk({
          data: data.subarray(at, at + 640),
          sampleRate: 16_000,
          channels: 1,
          timestamp: Date.now(),
        });
      }
    }, 10);
    cleanup(() => clearInterval(timer));
    const [heard = new Float32Array()] = await heardWhole(viewer);
    expectSweep(heard, "16 kHz, 20 ms chunks");
  });

  it("is not concealed like a loss where an utterance ends", REAL_TIME, async () => {
    const { system, viewer } = await listening();
    // The browser hears that nothing is said before the utterance comes: only its end is looked at.
    const settled = async () => {
      let last = -1;
      const grows = async () => {
        const before = last;
        last = await concealed(viewer);
        return last !== before;
      };
      await expect.poll(grows, { interval: 600, timeout: 10_000 }).toBe(false);
      return last;
    };
    const before = await settled();
    const data = pcmOf(sweep(24_000, SECONDS));
    system.bridge.pushAudioChunk({ data, sampleRate: 24_000, channels: 1, timestamp: Date.now() });
    await heardWhole(viewer);
    const samples = (await settled()) - before;
    console.log(`concealed: ${((samples * 1000) / HEARD_RATE).toFixed(0)} ms`);
    expect(samples).toBeLessThan(0.1 * HEARD_RATE);
  });

  it("stays on the side that it was pushed on", REAL_TIME, async () => {
    const { system, viewer } = await listening();
    const left = sweep(48_000, SECONDS);
    const data = pcmOf(left, new Float32Array(left.length));
    system.bridge.pushAudioChunk({ data, sampleRate: 48_000, channels: 2, timestamp: Date.now() });
    const [heard = new Float32Array(), silent = new Float32Array()] = await heardWhole(viewer);
    expect(silent.length).toBe(heard.length);
    expectSweep(heard, "left of stereo");
    console.log(
      `right of left-only stereo: ${(20 * Math.log10(rms(silent) / rms(heard))).toFixed(1)} dB`,
    );
    expect(rms(silent)).toBeLessThan(rms(heard) / 10);
  });
});
