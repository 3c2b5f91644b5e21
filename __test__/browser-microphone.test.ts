import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readWav, wavFile } from "../examples/support.mjs";
import type { IncomingAudio, MicrophoneConfig, StreamingSystem, Utterance } from "../index.js";
import { fakeMicrophone, launch, REAL_TIME, Viewer } from "./support/chromium.js";
import { centred, correlation, envelope, samplesOf } from "./support/sound.js";
import { cleanup, systemWith } from "./support.js";

const RATE = 16_000;
const FRAME_MS = 20;
/** Silence before and after the speech in what the microphone plays. */
const BEFORE_MS = 3000;
const AFTER_MS = 6000;
/** From the moment that a browser's microphone hears something until its packet is here: Chromium's capture alone. */
const ONE_WAY_MS = 40;
const SILENCE_FILE = path.resolve(".cache/silence-then-speech.wav");

const speech = readWav(path.resolve("assets/speech-16k.wav")).data;
const speechMs = speech.length / 2 / (RATE / 1000);

beforeAll(() => {
  mkdirSync(path.dirname(SILENCE_FILE), { recursive: true });
  const silence = (ms: number) => Buffer.alloc(ms * (RATE / 1000) * 2);
  const data = Buffer.concat([silence(BEFORE_MS), speech, silence(AFTER_MS)]);
  writeFileSync(SILENCE_FILE, wavFile({ data, sampleRate: RATE, channels: 1 }));
});

interface Heard {
  system: StreamingSystem;
  viewer: Viewer;
  peerId: string;
  chunks: (IncomingAudio & { arrivedAt: number })[];
  utterances: Utterance[];
  /** When the microphone was switched on: its file plays from about then. */
  openedAt: number;
}

async function speaking(microphone: MicrophoneConfig): Promise<Heard> {
  const system = await systemWith({}, { microphone });
  await system.start();
  const chunks: Heard["chunks"] = [];
  const utterances: Utterance[] = [];
  system.bridge.on("incoming-audio", (chunk) => {
    chunks.push({ ...(chunk as IncomingAudio), arrivedAt: Date.now() });
  });
  system.bridge.on("utterance", (utterance) => utterances.push(utterance));
  return { system, chunks, utterances, ...(await microphoneOf(system)) };
}

/** Opens a browser's microphone, which plays the file. */
async function microphoneOf(
  system: StreamingSystem,
): Promise<Pick<Heard, "viewer" | "peerId" | "openedAt">> {
  // A browser of its own: the fake microphone plays its file once in a browser's life.
  const browser = await launch(...fakeMicrophone(SILENCE_FILE));
  cleanup(() => browser.close());
  const viewer = await Viewer.open(browser, system.server.port ?? 0);
  await viewer.untilState("connected");
  const [peer] = system.server.getPeers();
  const openedAt = Date.now();
  await viewer.page.click("#microphone");
  await viewer.page.waitForSelector('#microphone[aria-pressed="true"]');
  return { viewer, peerId: peer?.id ?? "", openedAt };
}

/** Puts the chunks where their timestamps say, from `fromMs` on, and silence in between. */
function timeline(chunks: IncomingAudio[], fromMs: number, lengthMs: number): Float32Array {
  const samples = new Float32Array((lengthMs * RATE) / 1000);
  for (const { data, timestamp } of chunks) {
    const at = Math.round(((timestamp - fromMs) * RATE) / 1000);
    if (at >= 0 && at + data.length / 2 <= samples.length) samples.set(samplesOf(data), at);
  }
  return samples;
}

/** Where in `heard` the file's rhythm is found, and how like it is. */
function align(heard: Float32Array): { likeness: number; startMs: number } {
  const wanted = centred(envelope(samplesOf(speech), RATE, FRAME_MS));
  const rhythm = envelope(heard, RATE, FRAME_MS);
  let best = { likeness: -1, startMs: 0 };
  for (let at = 0; at + wanted.length <= rhythm.length; at++) {
    const likeness = correlation(wanted, centred(rhythm.slice(at, at + wanted.length)));
    if (likeness > best.likeness) best = { likeness, startMs: at * FRAME_MS };
  }
  return best;
}

describe("the microphone of a browser", () => {
  it("is heard while somebody speaks, and only then", REAL_TIME, async () => {
    const { peerId, chunks, utterances, openedAt } = await speaking({});
    const fileEndsAt = openedAt + BEFORE_MS + speechMs;
    await expect
      .poll(() => Date.now(), { timeout: 30_000, interval: 100 })
      .toBeGreaterThan(fileEndsAt + 3000);

    expect(chunks.length).toBeGreaterThan(40);
    for (const { data, sampleRate, channels, format, peerId: from } of chunks) {
      expect({ bytes: data.length, sampleRate, channels, format, from }).toEqual({
        bytes: 3200,
        sampleRate: RATE,
        channels: 1,
        format: "PCM",
        from: peerId,
      });
    }
    const heard = timeline(chunks, openedAt, BEFORE_MS + speechMs + AFTER_MS);
    const { likeness, startMs } = align(heard);
    const startsAt = openedAt + startMs;
    const endsAt = startsAt + speechMs;
    const first = chunks[0]?.arrivedAt ?? 0;
    const last = chunks.at(-1)?.arrivedAt ?? 0;
    console.log(
      `speech: likeness ${likeness.toFixed(2)}, first chunk ${first - startsAt} ms after its start, last ${(last - endsAt).toFixed(0)} ms after its end, ${chunks.length} chunks, ${utterances.length} utterances`,
    );
    expect(likeness).toBeGreaterThanOrEqual(0.8);
    // Nothing in the silence before; the pre-roll is delivered with the first syllable.
    expect(first).toBeGreaterThan(startsAt);
    expect(chunks[0]?.timestamp).toBeGreaterThan(startsAt - 1000);
    expect(last).toBeLessThan(endsAt + 1500);

    // The utterances are the same sound, whole.
    expect(utterances.length).toBeGreaterThan(0);
    expect(utterances.every((utterance) => utterance.peerId === peerId)).toBe(true);
    for (const { data, durationMs } of utterances)
      expect(data.length / 32).toBeCloseTo(durationMs, 0);
    const whole = align(timeline(utterances, openedAt, BEFORE_MS + speechMs + AFTER_MS));
    expect(whole.likeness).toBeGreaterThanOrEqual(0.8);
  });

  it("is decoded only while it speaks and somebody listens", REAL_TIME, async () => {
    const system = await systemWith();
    await system.start();
    const { openedAt, peerId } = await microphoneOf(system);
    const speechBeginsAt = openedAt + BEFORE_MS;
    await expect
      .poll(() => Date.now(), { timeout: 30_000, interval: 50 })
      .toBeGreaterThan(speechBeginsAt + 1500);
    expect(system.server.getMicrophoneUsage().packets).toBe(0);

    // In mid-speech somebody begins to listen.
    const chunks: IncomingAudio[] = [];
    const take = (chunk: IncomingAudio) => void chunks.push(chunk);
    system.bridge.on("incoming-audio", take);
    await expect.poll(() => chunks.length, { timeout: 10_000, interval: 20 }).toBeGreaterThan(5);
    expect(chunks.every((chunk) => chunk.peerId === peerId)).toBe(true);
    expect(system.server.getMicrophoneUsage().decoders).toBe(1);
    system.bridge.off("incoming-audio", take);
    const decoders = () => system.server.getMicrophoneUsage().decoders;
    await expect.poll(decoders, { timeout: 10_000, interval: 20 }).toBe(0);

    // After the speech the microphone is open, and silent.
    system.bridge.on("incoming-audio", take);
    const speechEndsAt = speechBeginsAt + speechMs;
    await expect
      .poll(() => Date.now(), { timeout: 30_000, interval: 50 })
      .toBeGreaterThan(speechEndsAt + 1500);
    await expect.poll(decoders, { timeout: 10_000, interval: 20 }).toBe(0);
  });

  it(
    "says within 100 ms that somebody speaks, and within 600 ms that they stopped",
    REAL_TIME,
    async () => {
      const system = await systemWith();
      await system.start();
      const told: { what: string; at: number; avatarSpeaking?: boolean; peerId: string }[] = [];
      const utterances: Utterance[] = [];
      system.bridge.on("speech-start", (speech) =>
        told.push({ what: "start", at: Date.now(), ...speech }),
      );
      system.bridge.on("speech-end", (speech) =>
        told.push({ what: "end", at: Date.now(), ...speech }),
      );
      system.bridge.on("utterance", (utterance) => utterances.push(utterance));
      const { peerId } = await microphoneOf(system);
      await expect
        .poll(() => told.at(-1)?.what === "end" && utterances.length, { timeout: 40_000 })
        .toBeTruthy();
      const [first] = utterances;
      const sound = samplesOf((first as Utterance).data);
      const at = (index: number) => (first?.timestamp ?? 0) + (index * 1000) / RATE;
      // By the sound itself, in pieces of 10 ms: when it becomes as loud as speech, and when it last was.
      const loud = envelope(sound, RATE, 10).map((db) => (db > 25 ? 1 : 0));
      const spoken = { from: at(loud.indexOf(1) * 160), to: at((loud.lastIndexOf(1) + 1) * 160) };
      const begun = (told[0]?.at ?? 0) - spoken.from;
      const ended = (told.find(({ what }) => what === "end")?.at ?? 0) - spoken.to;
      console.log(
        `told ${begun.toFixed(0)} ms after the first sound, ${ended.toFixed(0)} ms after the last`,
      );
      expect(told.map(({ what }) => what).slice(0, 2)).toEqual(["start", "end"]);
      expect(told[0]).toMatchObject({ peerId, avatarSpeaking: false });
      expect(begun).toBeLessThan(100 + ONE_WAY_MS);
      expect(ended).toBeLessThan(600);
    },
  );

  it(
    "says whether the avatar may be heard in it, and is not heard while it is muted",
    REAL_TIME,
    async () => {
      const { system, chunks, peerId } = await speaking({});
      const avatarSpeaks = system.bridge.pushAudioChunk({
        data: speech,
        sampleRate: RATE,
        channels: 1,
        timestamp: Date.now(),
      });
      expect(await avatarSpeaks).toMatchObject({ status: "queued" });
      await expect.poll(() => chunks.length, { timeout: 20_000, interval: 20 }).toBeGreaterThan(5);
      expect(chunks.every(({ avatarSpeaking }) => avatarSpeaking)).toBe(true);
      await system.interrupt();
      const later = () => chunks.filter(({ timestamp }) => timestamp > interruptedAt + 500);
      const interruptedAt = Date.now();
      await expect.poll(() => later().length, { timeout: 10_000, interval: 20 }).toBeGreaterThan(5);
      expect(later().some(({ avatarSpeaking }) => avatarSpeaking)).toBe(false);

      const [peer] = system.server.getPeers();
      expect(peer?.id).toBe(peerId);
      expect(peer?.muteMicrophone?.()).toBe(true);
      expect(peer?.muteMicrophone?.()).toBe(false);
      await expect.poll(() => system.server.getMicrophoneUsage().decoders).toBe(0);
      const heard = chunks.length;
      const { packets } = system.server.getMicrophoneUsage();
      await expect.poll(() => Date.now(), { timeout: 5000 }).toBeGreaterThan(interruptedAt + 3000);
      expect(chunks.length - heard).toBeLessThan(3);
      expect(system.server.getMicrophoneUsage().packets - packets).toBeLessThan(5);
      expect(peer?.muteMicrophone?.(false)).toBe(true);
      await expect
        .poll(() => chunks.length, { timeout: 10_000, interval: 20 })
        .toBeGreaterThan(heard + 5);
      expect(system.server.muteMicrophone("nobody")).toBe(false);
    },
  );

  it("is heard all the time without voice gating", REAL_TIME, async () => {
    const { chunks, viewer, openedAt } = await speaking({ voiceGating: false });
    await expect.poll(() => chunks.length, { timeout: 10_000, interval: 20 }).toBeGreaterThan(20);
    // 1.5 s of sound before the first word can have come, and no gap.
    expect(chunks[14]?.arrivedAt).toBeLessThan(openedAt + BEFORE_MS);
    const stamps = chunks.map(({ timestamp }) => timestamp);
    const steps = stamps.slice(1).map((stamp, at) => stamp - (stamps[at] ?? 0));
    expect(Math.max(...steps)).toBeLessThan(150);

    const pressed = '#microphone[aria-pressed="false"]';
    await viewer.page.click("#microphone");
    await viewer.page.waitForSelector(pressed);
    expect(viewer.problems).toEqual([]);
  });
});
