import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readWav, wavFile } from "../examples/support.mjs";
import type { IncomingAudio, MicrophoneConfig, StreamingSystem, Utterance } from "../index.js";
import { fakeMicrophone, launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { pushPictures } from "./support/picture.mjs";
import { Relay } from "./support/relay.js";
import { samplesOf, understood, words } from "./support/sound.js";
import type { SeenFrame } from "./support/watch.js";
import { cleanup, systemWith } from "./support.js";

const RATE = 16_000;
const SPEECH_FILE = path.resolve("assets/speech-16k.wav");
const speech = samplesOf(readWav(SPEECH_FILE).data);
const speechMs = (speech.length * 1000) / RATE;
const spoken = words(speech, RATE);

type Network = Parameters<Relay["set"]>[0];

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const figure = (values: number[]) =>
  `${mean(values).toFixed(3)}, worst word ${Math.min(...values).toFixed(2)}`;

/** What the browser knows of the one stream of this type and kind. */
function statsOf(viewer: Viewer, type: string, kind: string): Promise<Record<string, number>> {
  return viewer.page.evaluate(
    async ([type, kind]) => {
      const report = await window.avatarClient.peerConnection?.getStats();
      const all = [...(report?.values() ?? [])];
      return all.find((stats) => stats.type === type && stats.kind === kind) ?? {};
    },
    [type, kind],
  );
}

describe("a microphone behind a bad network", () => {
  /** Silence before the speech in what the microphone plays, and behind it. */
  const BEFORE_MS = 1500;
  const AFTER_MS = 4000;
  /** So long after the speech the last word of it has been delivered. */
  const LAST_WORD_MS = 2000;
  const FILE = path.resolve(".cache/microphone-behind-a-bad-network.wav");

  beforeAll(() => {
    mkdirSync(path.dirname(FILE), { recursive: true });
    const silence = (ms: number) => Buffer.alloc(ms * (RATE / 1000) * 2);
    const { data } = readWav(SPEECH_FILE);
    const whole = Buffer.concat([silence(BEFORE_MS), data, silence(AFTER_MS)]);
    writeFileSync(FILE, wavFile({ data: whole, sampleRate: RATE, channels: 1 }));
  });

  interface Heard {
    chunks: IncomingAudio[];
    utterances: Utterance[];
    /** How much of what the browser sent was lost on its way, and how much it was told of, in percent. */
    lost: number;
    reported: number;
  }

  /** How well each word is understood. */
  function likenessOf({ chunks }: Heard): number[] {
    const sound = samplesOf(Buffer.concat(chunks.map(({ data }) => data)));
    return understood(sound, speech, RATE, spoken);
  }

  interface Speaker {
    system: StreamingSystem;
    relay: Relay;
    viewer: Viewer;
  }

  /** A browser that is connected, its microphone off. */
  async function speaker(microphone: MicrophoneConfig, network: Network): Promise<Speaker> {
    const system = await systemWith({}, { microphone });
    await system.start();
    const port = system.server.port ?? 0;
    const relay = await Relay.before(port);
    relay.set(network);
    // A browser of its own: the fake microphone plays its file once in a browser's life.
    const browser = await launch(...fakeMicrophone(FILE));
    cleanup(() => browser.close());
    const viewer = await Viewer.open(browser, port, { server: relay.url });
    await viewer.untilState("connected");
    return { system, relay, viewer };
  }

  /** What the server hears from its first chunk on, until the whole file has been played. */
  async function heard({ system, relay, viewer }: Speaker): Promise<Heard> {
    const chunks: IncomingAudio[] = [];
    const utterances: Utterance[] = [];
    system.bridge.on("incoming-audio", (chunk) => chunks.push(chunk as IncomingAudio));
    system.bridge.on("utterance", (utterance) => utterances.push(utterance));
    await viewer.page.click("#microphone");
    const ms = BEFORE_MS + speechMs + LAST_WORD_MS;
    const end = () => (chunks[0]?.timestamp ?? Date.now()) + ms;
    const left = () => end() - Date.now();
    await expect.poll(left, { timeout: 30_000, interval: 20 }).toBeLessThan(0);
    const { fractionLost = 0 } = await statsOf(viewer, "remote-inbound-rtp", "audio");
    return {
      chunks: chunks.filter(({ timestamp }) => timestamp < end()),
      utterances: [...utterances],
      lost: relay.toServer.lossPercent,
      reported: fractionLost * 100,
    };
  }

  it.each<[string, MicrophoneConfig]>([
    ["all the time", { voiceGating: false }],
    ["while somebody speaks", {}],
  ])("is heard %s without a gap, in order, word by word", REAL_TIME, async (_, microphone) => {
    const speakers = await Promise.all([
      speaker(microphone, {}),
      // In both directions: reports get lost too.
      speaker(microphone, { loss: 0.1, jitterMs: 40 }),
    ]);
    const [whole, holed] = (await Promise.all(speakers.map(heard))) as [Heard, Heard];
    // Not before both are done: it would hold up the relay.
    const [clear, likeness] = [likenessOf(whole), likenessOf(holed)];
    expect(whole.lost).toBe(0);
    expect(holed.lost).toBeGreaterThan(7);
    console.log(
      `likeness: loss-free ${figure(clear)}; with ${holed.lost.toFixed(1)} % lost (the browser was told of ${holed.reported.toFixed(1)} %) ${figure(likeness)}`,
    );

    // Sound that is missing adds up, to a second for all that is lost. The gate stays open: it takes longer to close
    // than any pause in the speech.
    for (const [how, { chunks }] of Object.entries({ whole, holed })) {
      const first = chunks[0]?.timestamp ?? 0;
      const late = chunks.map(({ timestamp }, at) => timestamp - first - 100 * at);
      const steps = chunks.slice(1).map((c, at) => c.timestamp - (chunks[at]?.timestamp ?? 0));
      console.log(
        `${how}: ${chunks.length} chunks, ${Math.min(...steps).toFixed(0)} to ${Math.max(...steps).toFixed(0)} ms apart, ${Math.min(...late).toFixed(0)} to ${Math.max(...late).toFixed(0)} ms from an even pace`,
      );
      expect(Math.max(...late.map(Math.abs))).toBeLessThan(60);
      expect(Math.min(...steps)).toBeGreaterThan(0);
    }
    const ratio = holed.chunks.length / whole.chunks.length;
    expect(ratio).toBeGreaterThan(0.95);
    expect(ratio).toBeLessThan(1.05);
    const [said, saidWhole] = [holed, whole].map(({ utterances }) =>
      utterances.reduce((sum, { durationMs }) => sum + durationMs, 0),
    ) as [number, number];
    console.log(`utterances: ${saidWhole} ms loss-free, ${said} ms on the bad network`);
    expect(said / saidWhole).toBeGreaterThan(0.95);
    expect(said / saidWhole).toBeLessThan(1.05);

    expect(mean(clear)).toBeGreaterThan(0.95);
    expect(mean(likeness)).toBeGreaterThanOrEqual(0.9 * mean(clear));
    const kept = likeness.map((value, word) => value / (clear[word] ?? 0));
    expect(Math.min(...kept)).toBeGreaterThan(0.6);
  });

  it("is understood word by word when packets come up to 100 ms late", REAL_TIME, async () => {
    const speakers = await Promise.all([
      speaker({ voiceGating: false }, {}),
      speaker({ voiceGating: false }, { jitterMs: 100 }),
    ]);
    const [whole, late] = (await Promise.all(speakers.map(heard))) as [Heard, Heard];
    const [clear, likeness] = [likenessOf(whole), likenessOf(late)];
    console.log(`likeness: in time ${figure(clear)}; late ${figure(likeness)}`);
    expect(mean(clear)).toBeGreaterThan(0.95);
    expect(mean(likeness)).toBeGreaterThanOrEqual(0.99 * mean(clear));
  });
});

describe("an avatar behind a bad network", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser.close());

  interface Stage {
    system: StreamingSystem;
    /** When each picture was pushed. */
    pushed: Map<number, number>;
    relay: Relay;
    viewer: Viewer;
  }

  /** A page that shows moving pictures, by way of a relay. */
  async function watching(): Promise<Stage> {
    const system = await systemWith();
    await system.start();
    const source = pushPictures(system.bridge);
    cleanup(source.stop);
    const port = system.server.port ?? 0;
    const relay = await Relay.before(port);
    const viewer = await Viewer.watching(browser, port, { server: relay.url });
    await viewer.untilState("connected");
    return { system, pushed: source.pushed, relay, viewer };
  }

  it("moves on and is understood", REAL_TIME, async () => {
    const { system, relay, viewer } = await watching();
    Object.assign(relay.toBrowser, { loss: 0.05, jitterMs: 20 });
    await viewer.listen();
    await viewer.until(() => window.watched.sound.length > 20);
    const { data, sampleRate, channels } = readWav(SPEECH_FILE);
    system.bridge.pushAudioChunk({ data, sampleRate, channels, timestamp: Date.now() });
    const frames = await viewer.framesDuring(10_000);
    await system.bridge.waitForPlayout();
    // What was played is heard a little later.
    const length = await viewer.page.evaluate(() => window.watched.sound.length);
    await viewer.until((more) => window.watched.sound.length > more, length + 100);

    const heard = await viewer.heard();
    expect(heard.sampleRate).toBe(48_000);
    const sound = thirdOf(heard.channels[0] ?? new Float32Array());
    const likeness = understood(sound, speech, RATE, spoken);
    const audio = await statsOf(viewer, "inbound-rtp", "audio");
    const video = await statsOf(viewer, "inbound-rtp", "video");
    const { concealedSamples = 0, silentConcealedSamples = 0 } = audio;
    const concealedMs = (concealedSamples - silentConcealedSamples) / 48;
    const numbers = frames.map(({ number }) => number);
    console.log(
      `${rateOf(frames, 10_000).toFixed(1)} frames a second with ${relay.toBrowser.lossPercent.toFixed(1)} % lost: ${video.nackCount} NACKs, ${video.retransmittedPacketsReceived} retransmissions, ${video.pliCount} PLIs, ${video.freezeCount} freezes`,
    );
    console.log(
      `likeness ${figure(likeness)}, ${audio.fecPacketsReceived} redundant copies, ${concealedMs.toFixed(0)} ms concealed`,
    );
    expect(relay.toBrowser.lossPercent).toBeGreaterThan(3);
    expect(numbers).toEqual(numbers.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
    expect(rateOf(frames, 10_000)).toBeGreaterThanOrEqual(27);
    expect(mean(likeness)).toBeGreaterThan(0.8);
  });

  it("is back soon after a black-out, on the same connection", REAL_TIME, async () => {
    const { pushed, relay, viewer } = await watching();
    await viewer.untilNumber(30);
    const age = ({ number, at }: SeenFrame) => at - (pushed.get(number ?? 0) ?? 0);
    const peerId = await viewer.page.evaluate(() => window.avatarClient.peerId);
    relay.set({ blackout: true });
    const isDark = Date.now();
    await expect
      .poll(() => Date.now(), { timeout: 10_000, interval: 10 })
      .toBeGreaterThanOrEqual(isDark + 2000);
    const before = (await viewer.frames()).length;
    relay.set({ blackout: false });
    const isLight = Date.now();
    await viewer.until((count) => window.watched.frames.length > count, before);
    await viewer.framesDuring(3000);
    const frames = await viewer.frames();
    const [last, back] = [frames[before - 1], frames[before]];
    const backAfter = (back?.at ?? Number.NaN) - isLight;
    const current = frames.findIndex((frame, at) => at >= before && age(frame) < 300);
    const currentAfter = (frames[current]?.at ?? Number.NaN) - isLight;
    const { pliCount, retransmittedPacketsReceived } = await statsOf(
      viewer,
      "inbound-rtp",
      "video",
    );
    console.log(
      `after ${last?.number}, ${back?.number} was back after ${backAfter.toFixed(0)} ms, ${frames[current]?.number} was up to date after ${currentAfter.toFixed(0)} ms; ${current - before} pictures in between, ${retransmittedPacketsReceived} retransmissions, ${pliCount} PLIs`,
    );
    // What had arrived by then was shown by then; and there is no other way.
    expect((last?.at ?? Number.NaN) - isDark).toBeLessThan(500);
    expect(backAfter).toBeLessThan(3000);
    expect(currentAfter).toBeLessThan(3000);
    const after = await viewer.framesDuring(3000);
    expect(rateOf(after, 3000)).toBeGreaterThanOrEqual(27);
    expect(Math.max(...after.map(age))).toBeLessThan(500);
    expect(await viewer.page.evaluate(() => window.avatarClient.peerId)).toBe(peerId);
    expect(relay.signallingConnections).toBe(1);
    expect(viewer.problems).toEqual([]);
  });
});

/** 48 kHz as 16 kHz. */
function thirdOf(samples: Float32Array): Float32Array {
  return Float32Array.from({ length: Math.floor(samples.length / 3) }, (_, at) =>
    mean([...samples.subarray(at * 3, at * 3 + 3)]),
  );
}
