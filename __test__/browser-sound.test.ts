import { readFileSync } from "node:fs";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamingSystem } from "../index.js";
import { launch, REAL_TIME, Viewer } from "./support/chromium.js";
import {
  onset,
  pcmOf,
  resemblance,
  rms,
  SPUR_WINDOW,
  spurDb,
  sweep,
  tone,
} from "./support/sound.js";
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

/** The sweep as Opus packets of `packetMs`, made by the browser. */
async function opusPackets(viewer: Viewer, packetMs: number): Promise<Buffer[]> {
  const samples = sweep(HEARD_RATE, SECONDS);
  const packets = await viewer.page.evaluate(
    async ({ base64, rate, packetMs }) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const packets: string[] = [];
      const encoder = new AudioEncoder({
        output: (chunk) => {
          const packet = new Uint8Array(chunk.byteLength);
          chunk.copyTo(packet);
          packets.push(btoa(String.fromCharCode(...packet)));
        },
        error: (error) => {
          throw error;
        },
      });
      const opus = { frameDuration: packetMs * 1000 };
      encoder.configure({ codec: "opus", sampleRate: rate, numberOfChannels: 1, opus });
      encoder.encode(
        new AudioData({
          format: "f32",
          sampleRate: rate,
          numberOfChannels: 1,
          numberOfFrames: bytes.length / 4,
          timestamp: 0,
          data: bytes,
        }),
      );
      await encoder.flush();
      return packets;
    },
    { base64: Buffer.from(samples.buffer).toString("base64"), rate: HEARD_RATE, packetMs },
  );
  return packets.map((packet) => Buffer.from(packet, "base64"));
}

/** What is declared beside compressed sound does not count. */
const ANY = { sampleRate: 48_000, channels: 1 };

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

  it.each([10, 20, 60])("is that of Opus packets of %i ms", REAL_TIME, async (packetMs) => {
    const { system, viewer } = await listening();
    const packets = await opusPackets(viewer, packetMs);
    expect(packets.length).toBeGreaterThanOrEqual((SECONDS * 1000) / packetMs);
    for (const data of packets) {
      const chunk = { data, ...ANY, format: "OPUS" as const, timestamp: Date.now() };
      expect(await system.bridge.pushAudioChunk(chunk)).toMatchObject({ status: "queued" });
      data.fill(0x55);
    }
    const [heard = new Float32Array()] = await heardWhole(viewer);
    expectSweep(heard, `Opus packets of ${packetMs} ms`);
  });

  it.each([
    ["a whole file", "44k-joint-vbr.mp3", Number.POSITIVE_INFINITY],
    ["pieces of 1000 bytes", "24k-mono.mp3", 1000],
  ])("is that of MP3 in %s (%s)", REAL_TIME, async (how, name, size) => {
    const { system, viewer } = await listening();
    const file = readFileSync(new URL(`../assets/sweep/${name}`, import.meta.url));
    for (let at = 0; at < file.length; at += size) {
      const data = Buffer.from(file.subarray(at, at + size));
      const chunk = { data, ...ANY, format: "MP3" as const, timestamp: Date.now() };
      expect(await system.bridge.pushAudioChunk(chunk)).toMatchObject({ status: "queued" });
      data.fill(0x55);
    }
    const [heard = new Float32Array()] = await heardWhole(viewer);
    expectSweep(heard, `MP3, ${how}`);
  });

  it("is a clean tone at every rate, however the chunks are cut", REAL_TIME, async () => {
    const { system, viewer } = await listening();
    const hz = 1000;
    for (const sampleRate of [8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000]) {
      const before = (await viewer.heard()).channels[0]?.length ?? 0;
      const data = pcmOf(tone(sampleRate, 1, hz));
      for (
        let at = 0, size = 14;
        at < data.length;
        at += size, size = (((size * 31) % 4006) | 1) + 1
      ) {
        const piece = data.subarray(at, at + size);
        system.bridge.pushAudioChunk({
          data: piece,
          sampleRate,
          channels: 1,
          timestamp: Date.now(),
        });
      }
      const heardTone = async () => {
        const all = (await viewer.heard()).channels[0] ?? new Float32Array();
        const heard = all.subarray(before);
        return heard.subarray(onset(heard, HEARD_RATE));
      };
      const length = async () => (await heardTone()).length;
      await expect.poll(length, { timeout: 20_000 }).toBeGreaterThan(HEARD_RATE);
      const heard = await heardTone();
      // A jitter buffer may stretch or shorten somewhere: a border that clicks would be in every window.
      const spurs = [0.1, 0.3, 0.5, 0.7].map((from) => {
        const begin = Math.round(from * HEARD_RATE);
        return spurDb(heard.subarray(begin, begin + SPUR_WINDOW), HEARD_RATE, hz);
      });
      console.log(`${sampleRate} Hz: spurs ${spurs.map((spur) => spur.toFixed(1)).join(", ")} dB`);
      expect(Math.min(...spurs)).toBeLessThan(-55);
    }
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
