import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readWav, wavFile } from "../examples/support.mjs";
import type { Utterance } from "../index.js";
import { fakeMicrophone, launch, PATIENCE_MS, REAL_TIME, Viewer } from "./support/chromium.js";
import { envelope, pcmOf, samplesOf, tone, toneLevel } from "./support/sound.js";
import { cleanup, next, systemWith } from "./support.js";

const OLD_HZ = 440;
const NEW_HZ = 1000;
const RATE = 48_000;
/** 10 ms. */
const WINDOW = RATE / 100;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

const voice = (hz: number, seconds: number) => ({
  data: pcmOf(tone(24_000, seconds, hz)),
  sampleRate: 24_000,
  channels: 1,
  timestamp: Date.now(),
});

describe("an interruption", () => {
  it("is heard at once, and what is said next is heard whole", REAL_TIME, async () => {
    const system = await systemWith();
    await system.start();
    const viewer = await Viewer.open(browser, system.server.port ?? 0);
    await viewer.untilState("connected");
    const levels = await levelsOf(viewer);
    const isHeard = (what: "old" | "new") => async () =>
      (await levels()).filter((level) => level[what] > 0.2).length;

    await system.bridge.pushAudioChunk(voice(OLD_HZ, 20));
    await expect.poll(isHeard("old"), { timeout: PATIENCE_MS }).toBeGreaterThan(100);
    const at = Date.now();
    const cut = await system.interrupt();
    const ended = next(system.bridge, "playout-ended");
    await system.bridge.pushAudioChunk(voice(NEW_HZ, 1));
    await expect.poll(isHeard("new"), { timeout: PATIENCE_MS }).toBeGreaterThan(90);
    await system.bridge.waitForPlayout();
    await ended;

    expect(cut.playedMs).toBeGreaterThan(1000);
    expect(cut.playedMs + cut.discardedMs).toBeGreaterThan(19_900);
    expect(cut.playedMs + cut.discardedMs).toBeLessThan(20_100);
    expect(system.bridge.queuedAudioMs).toBe(0);
    const heard = await levels();
    // The ends of the new tone have a little of every frequency in them.
    const isOld = (level: (typeof heard)[number]) => level.old > 0.02 && level.old > level.new;
    const last = Math.max(...heard.filter(isOld).map(({ at }) => at));
    const begins = heard.find((level) => level.new > 0.2)?.at ?? Number.NaN;
    console.log(
      `old voice gone after ${(last - at).toFixed(0)} ms, new one heard after ${(begins - at).toFixed(0)} ms`,
    );
    expect(last - at).toBeLessThan(150);
    expect(begins).toBeGreaterThan(last);
    // As loud as it was pushed, for as long: 100 windows, two of which are its ends.
    const whole = heard.filter((level) => level.new > 0.35).length;
    expect(whole).toBeGreaterThanOrEqual(94);
  });

  it("is what happens when somebody speaks while the avatar does", REAL_TIME, async () => {
    const file = path.resolve(".cache/barge-in.wav");
    mkdirSync(path.dirname(file), { recursive: true });
    const speech = readWav(path.resolve("assets/speech-16k.wav"));
    const silence = Buffer.alloc(2 * 2 * speech.sampleRate); // 2 s
    writeFileSync(file, wavFile({ ...speech, data: Buffer.concat([silence, speech.data]) }));
    const speaker = await launch(...fakeMicrophone(file));
    cleanup(() => speaker.close());

    const system = await systemWith();
    await system.start();
    let cutAt = 0;
    const cut = new Promise<{ playedMs: number }>((resolve) => {
      system.bridge.once("speech-start", ({ avatarSpeaking }) => {
        expect(avatarSpeaking).toBe(true);
        cutAt = Date.now();
        resolve(system.interrupt());
      });
    });
    const utterance = next(system.bridge, "utterance");
    const viewer = await Viewer.open(speaker, system.server.port ?? 0);
    await viewer.untilState("connected");
    const levels = await levelsOf(viewer);
    await system.bridge.pushAudioChunk(voice(OLD_HZ, 30));
    await viewer.page.click("#microphone");

    const { playedMs } = await cut;
    const { timestamp, data } = (await utterance) as Utterance;
    const loud = envelope(samplesOf(data), speech.sampleRate, 10).findIndex((db) => db > 25);
    const spokenAt = timestamp + loud * 10;
    const heard = (await levels()).filter(({ old }) => old > 0.02);
    const last = Math.max(...heard.map(({ at }) => at));
    console.log(
      `the avatar was silent ${(last - spokenAt).toFixed(0)} ms after somebody began to speak, ${(last - cutAt).toFixed(0)} ms after speech-start`,
    );
    expect(playedMs).toBeGreaterThan(1000);
    expect(last - cutAt).toBeLessThan(150);
    expect(last - spokenAt).toBeLessThan(300);
    expect(heard.length).toBeGreaterThan(100);
    expect(system.bridge.queuedAudioMs).toBe(0);
  });

  it("of nothing does nothing", async () => {
    const system = await systemWith();
    await system.start();
    expect(await system.interrupt()).toEqual({ playedMs: 0, discardedMs: 0 });
    await system.bridge.waitForPlayout();
    await system.bridge.pushAudioChunk(voice(OLD_HZ, 5));
    const waited = system.bridge.waitForPlayout();
    const cut = await system.bridge.interrupt();
    expect(cut.playedMs + cut.discardedMs).toBeCloseTo(5000, -2);
    await waited;
    await system.bridge.pushAudioChunk(voice(OLD_HZ, 5));
    const stopped = system.bridge.waitForPlayout();
    await system.stop();
    await stopped;
  });

  it("is what a server does that stops in mid-speech", async () => {
    const system = await systemWith();
    await system.start();
    await system.bridge.pushAudioChunk(voice(OLD_HZ, 30));
    const waited = system.bridge.waitForPlayout();
    await system.server.stop();
    await waited;
    expect(system.bridge.isStreaming).toBe(true);
  });
});

/** Records what a page plays, which is the track itself, since the client silences it; gives how loud either voice is each 10 ms. */
async function levelsOf(viewer: Viewer) {
  await viewer.page.evaluate(() => {
    const played: { at: number; samples: number[] }[] = [];
    Object.assign(window, { played });
    const [track] = window.avatarClient.stream?.getAudioTracks() ?? [];
    if (!track) throw new Error("no sound");
    const reader = new MediaStreamTrackProcessor<AudioData>({ track }).readable.getReader();
    void (async () => {
      for (;;) {
        const { value: data, done } = await reader.read();
        if (done) return;
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        played.push({
          at: performance.timeOrigin + performance.now(),
          samples: Array.from(samples),
        });
        data.close();
      }
    })();
  });
  return async () => {
    const played = await viewer.page.evaluate(
      () => (window as unknown as { played: Played[] }).played,
    );
    return played
      .filter(({ samples }) => samples.length === WINDOW)
      .map(({ at, samples }) => ({
        at,
        old: toneLevel(samples, RATE, OLD_HZ),
        new: toneLevel(samples, RATE, NEW_HZ),
      }));
  };
}

interface Played {
  at: number;
  samples: number[];
}
