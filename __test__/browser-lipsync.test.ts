import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashAndBeep } from "../bench/lib/flash-and-beep.mjs";
import { notePlayback, playback, skews } from "../bench/lib/playback.mjs";
import { leastSquares, quantile } from "../bench/lib/statistics.mjs";
import { launch, PATIENCE_MS, REAL_TIME, Viewer } from "./support/chromium.js";
import { pcmOf, tone } from "./support/sound.js";
import { cleanup, systemWith } from "./support.js";

/** So much of the beginning does not count: a browser brings the tracks together by steps of 80 ms a second. */
const SETTLING_S = 8;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

async function watched(media: Parameters<typeof systemWith>[1]) {
  const system = await systemWith({}, { videoWidth: 64, videoHeight: 64, ...media });
  await system.start();
  const viewer = await Viewer.open(browser, system.server.port ?? 0);
  await viewer.untilState("connected");
  await notePlayback(viewer.page);
  return { system, viewer };
}

/** The skew of each beep once the tracks have come together, over so many of them. */
async function measured(viewer: Viewer, beeps: number) {
  const noted = async () => skews(await playback(viewer.page));
  const timeout = (SETTLING_S + 2 * beeps) * 1000 + PATIENCE_MS;
  await expect
    .poll(async () => (await noted()).length, { timeout })
    .toBeGreaterThan(SETTLING_S + beeps);
  return (await noted()).slice(SETTLING_S);
}

describe("the lips and the voice", () => {
  it.each([
    { what: "20 ms of sound at a time, 25 fps", fps: 25, chunkMs: 20 },
    {
      what: "100 ms of sound at a time, 30 fps, 150 ms of jitter",
      fps: 30,
      chunkMs: 100,
      jitterMs: 150,
    },
    {
      what: "whole utterances, 10 fps, 150 ms of jitter",
      fps: 10,
      chunkMs: 3000,
      everyMs: 4000,
      jitterMs: 150,
    },
  ])("are together: $what", REAL_TIME, async ({ what, ...how }) => {
    const { system, viewer } = await watched({ videoFps: how.fps });
    cleanup(flashAndBeep(system.bridge, how));
    const offsets = (await measured(viewer, 12)).map(({ ms }) => ms);
    const worst = quantile(offsets.map(Math.abs), 0.95);
    console.log(
      `${what}: the beep comes ${quantile(offsets, 0.5).toFixed(0)} ms after its flash in the middle, |skew| p95 ${worst.toFixed(0)} ms`,
    );
    expect(worst).toBeLessThan(40);
  });

  it("stay together for a minute, and do not drift", { retry: 2, timeout: 120_000 }, async () => {
    const { system, viewer } = await watched({ videoFps: 25 });
    cleanup(flashAndBeep(system.bridge, { fps: 25, chunkMs: 20 }));
    const offsets = await measured(viewer, 60);
    const worst = quantile(
      offsets.map(({ ms }) => Math.abs(ms)),
      0.95,
    );
    const { slope: drift } = leastSquares(offsets.map(({ at, ms }) => [at / 60_000, ms]));
    console.log(
      `a minute: |skew| p95 ${worst.toFixed(0)} ms, drift ${drift.toFixed(1)} ms a minute`,
    );
    expect(worst).toBeLessThan(40);
    // A clock that is wrong by a thousandth would drift by 60; what is left is the noise of 60 beeps.
    expect(Math.abs(drift)).toBeLessThan(15);
  });

  it.each([
    { what: "jumps ahead by an hour", shift: (ms: number) => (ms < 8000 ? 0 : 3_600_000) },
    { what: "jumps back by an hour", shift: (ms: number) => (ms < 8000 ? 0 : -3_600_000) },
    { what: "stands still", shift: (ms: number) => (ms < 8000 ? 0 : 8000 - ms) },
  ])("go on when the application's clock $what", REAL_TIME, async ({ what, shift }) => {
    const { system, viewer } = await watched({ videoFps: 25 });
    const begun = Date.now();
    const how = { fps: 25, chunkMs: 20, shift: () => shift(Date.now() - begun) };
    cleanup(flashAndBeep(system.bridge, how));
    await expect
      .poll(async () => skews(await playback(viewer.page)).length, { timeout: 40_000 })
      .toBeGreaterThan(16);
    const { flashes, beeps } = await playback(viewer.page);
    const longest = (times: number[]) =>
      Math.max(...times.slice(1).map((time, at) => time - (times[at] ?? 0)));
    const shortest = (times: number[]) =>
      Math.min(...times.slice(1).map((time, at) => time - (times[at] ?? 0)));
    console.log(
      `${what}: flashes ${shortest(flashes).toFixed(0)} to ${longest(flashes).toFixed(0)} ms apart, beeps ${shortest(beeps).toFixed(0)} to ${longest(beeps).toFixed(0)} ms`,
    );
    // Once a second; none is missing for longer than a second more, and none comes in a burst.
    for (const times of [flashes, beeps]) {
      expect(longest(times)).toBeLessThan(2000);
      expect(shortest(times)).toBeGreaterThan(500);
    }
    const after = skews(await playback(viewer.page)).slice(-4);
    expect(
      quantile(
        after.map(({ ms }) => Math.abs(ms)),
        0.5,
      ),
    ).toBeLessThan(60);
  });
});

describe("a cue", () => {
  it("happens in the page when its moment of the sound is heard", REAL_TIME, async () => {
    const { system, viewer } = await watched({});
    const rate = 24_000;
    const moments = [400, 1100, 1900, 2600];
    const samples = new Float32Array(3 * rate);
    for (const ms of moments) samples.set(tone(rate, 0.1, 1000), (ms * rate) / 1000);
    await system.bridge.pushAudioChunk({
      data: pcmOf(samples),
      sampleRate: rate,
      channels: 1,
      timestamp: Date.now(),
    });
    for (const at of [...moments].reverse()) {
      expect(await system.bridge.pushCue({ at, data: { caption: at } })).toEqual({
        status: "queued",
      });
    }
    await expect
      .poll(async () => (await playback(viewer.page)).cues.length, { timeout: PATIENCE_MS })
      .toBe(moments.length);
    const { beeps, cues } = await playback(viewer.page);
    expect(cues.map(({ data }) => data)).toEqual(moments.map((caption) => ({ caption })));
    const late = cues.map(({ at }, n) => at - (beeps[n] ?? Number.NaN));
    console.log(`cues ${late.map((ms) => ms.toFixed(0)).join(", ")} ms after their beeps`);
    for (const ms of late) expect(Math.abs(ms)).toBeLessThan(50);
  });

  it("is dropped by an interruption, and another one is not", REAL_TIME, async () => {
    const { system, viewer } = await watched({});
    const speech = (hz: number) => ({
      data: pcmOf(tone(24_000, 5, hz)),
      sampleRate: 24_000,
      channels: 1,
      timestamp: Date.now(),
    });
    await system.bridge.pushAudioChunk(speech(300));
    await system.bridge.pushCue({ at: 800, data: "cut off" });
    await system.bridge.pushCue({ at: 4500, data: "never sent" });
    await expect
      .poll(async () => (await playback(viewer.page)).beeps.length, { timeout: PATIENCE_MS })
      .toBeGreaterThan(0);
    await system.interrupt();
    await system.bridge.pushAudioChunk(speech(500));
    await system.bridge.pushCue({ timestamp: Date.now() + 300, data: "heard" });
    await expect
      .poll(async () => (await playback(viewer.page)).cues.map(({ data }) => data), {
        timeout: PATIENCE_MS,
      })
      .toEqual(["heard"]);
    await system.interrupt();
  });

  it("without a time is refused, and so is one that is too long", async () => {
    const system = await systemWith();
    const cue = { at: 0, data: "x".repeat(20_000) };
    await expect(system.bridge.pushCue(cue)).rejects.toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
    await expect(system.bridge.pushCue({ data: 1 })).rejects.toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
    expect(await system.bridge.pushCue({ at: 0 })).toMatchObject({
      status: "dropped",
      reason: "not-started",
    });
    await system.start();
    expect(await system.bridge.pushCue({ at: 0 })).toMatchObject({ reason: "no-sound" });
    expect(await system.bridge.pushCue({ at: Number.NaN })).toMatchObject({
      reason: "bad-timestamp",
    });
  });
});
