import { EventEmitter } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import path from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { Dialogue, type Parts } from "../examples/conversation/dialogue.mjs";
import { face } from "../examples/conversation/face.mjs";
import { Portrait } from "../examples/conversation/portrait.mjs";
import { recogniser } from "../examples/conversation/recogniser.mjs";
import { post } from "../examples/conversation/remote.mjs";
import { replyAt } from "../examples/conversation/reply.mjs";
import { setUpConversation } from "../examples/conversation/setup.mjs";
import { synthesiser } from "../examples/conversation/synthesiser.mjs";
import { Voice } from "../examples/conversation/voice.mjs";
import { durationMs, parseWav, type Sound, wavFile } from "../examples/support.mjs";
import { fakeMicrophone, launch, REAL_TIME, Viewer } from "./support/chromium.js";
import { startExampleWith } from "./support/example.js";
import { correlation, envelope, pcmOf, samplesOf, tone, toneLevel } from "./support/sound.js";
import { cleanup, systemWith } from "./support.js";

/** What PocketSphinx understands of this voice, with every setting that was tried. */
const SAID = "I want to go to the beach.";
const ANSWER = ["You want to go to the beach.", "What would that give you?"];
/** Silence before and after what the microphone plays. */
const BEFORE_MS = 2000;
const AFTER_MS = 10_000;

/** Variables that would keep the stand-ins out. */
const LOCAL = { WHISPER_URL: "", XTTS_URL: "", LIVEPORTRAIT_URL: "" };
const speak = synthesiser("");

beforeAll(() => setUpConversation(LOCAL), 300_000);

describe("a conversation", () => {
  it("is heard, understood, answered and shown with the stand-ins", REAL_TIME, async () => {
    const example = startExampleWith(LOCAL, "conversation/main", "--port", "0");
    const { viewer, speechEndsAt } = await speaking(await example.port(), await speak(SAID));

    await example.printed(/: i want to go to the beach\n/);
    await example.printed(/Avatar: You want to go to the beach\. What would that give you\?\n/);
    await heardAnswer(viewer);

    // It is the sound of these sentences.
    const { sampleRate, channels } = await viewer.heard();
    const [first, second] = await Promise.all(ANSWER.map((sentence) => speak(sentence)));
    const expected = Buffer.concat([first?.data ?? Buffer.of(), second?.data ?? Buffer.of()]);
    const likeness = bestLikeness(
      envelope(channels[0] ?? new Float32Array(), sampleRate),
      envelope(samplesOf(expected), first?.sampleRate ?? 0),
    );

    // And the mouth is open while it is loud.
    const { openness, loudness, firstLoudAt } = await mouthAndSound(viewer);
    const quiet = openness.filter((_, at) => (loudness[at] ?? 0) < 0.05);
    const loud = openness.filter((_, at) => (loudness[at] ?? 0) > 0.6);
    const follows = bestShifted(openness, loudness, 6);
    console.log(
      `reply heard ${Math.round(firstLoudAt - speechEndsAt)} ms after the end of the speech; ` +
        `likeness ${likeness.toFixed(2)}; mouth follows the sound ${follows.toFixed(2)}: ` +
        `${mean(quiet).toFixed(0)} when quiet, ${mean(loud).toFixed(0)} when loud; ` +
        example.output.match(/begins to speak .*/)?.[0],
    );
    expect(likeness).toBeGreaterThan(0.7);
    expect(follows).toBeGreaterThan(0.6);
    expect(mean(loud) - mean(quiet)).toBeGreaterThan(25);
    expect(viewer.problems).toEqual([]);
  });

  it("asks Whisper, XTTS and LivePortrait when it is told where they are", REAL_TIME, async () => {
    const sentence: Sound = { data: pcmOf(tone(24_000, 1, 700)), sampleRate: 24_000, channels: 1 };
    const services = await Services.start({
      "/transcribe": () => Response.json({ text: ` ${SAID} ` }),
      "/synthesize": () => new Response(new Uint8Array(wavFile(sentence))),
      "/api/render": () => new Response(new Uint8Array(JPEG)),
    });
    const { url } = services;
    const env = {
      WHISPER_URL: `${url}/`,
      XTTS_URL: url,
      LIVEPORTRAIT_URL: url,
      PATH: "", // no stand-in can be run, and none is looked for
    };
    const example = startExampleWith(env, "conversation/main", "--port", "0");
    const { viewer } = await speaking(await example.port(), await speak(SAID));
    await example.printed(/: I want to go to the beach\.\nAvatar: You want to go to the beach\. /);
    await heardAnswer(viewer);

    const [transcribe] = services.requests("/transcribe");
    const form = await transcribe?.formData();
    const file = form?.get("file") as File;
    expect(file.type).toBe("audio/wav");
    expect(file.name).toMatch(/\.wav$/);
    const { data, ...format } = parseWav(Buffer.from(await file.arrayBuffer()), "the utterance");
    expect(format).toEqual({ sampleRate: 16_000, channels: 1 });
    expect(data.length).toBeGreaterThan(16_000);
    expect(form?.get("language")).toBe("en");

    const texts = services.requests("/synthesize");
    expect(texts[0]?.headers.get("content-type")).toBe("application/json");
    expect(await Promise.all(texts.map((request) => request.json()))).toEqual(
      ANSWER.map((text) => ({ text, language: "en" })),
    );

    const pictures = await Promise.all(
      services.requests("/api/render").map((request) => request.formData()),
    );
    const source = pictures[0]?.get("source_image") as File;
    expect(source.type).toBe("image/jpeg");
    expect(Buffer.from(await source.arrayBuffer()).subarray(0, 2)).toEqual(Buffer.of(0xff, 0xd8));
    const expressions = pictures.map((picture) => picture.get("expression"));
    const mouths = pictures.map((picture) => Number(picture.get("mouth_open")));
    expect(expressions[0]).toBe("neutral");
    expect(expressions).toContain("happy");
    expect(mouths[0]).toBe(0);
    expect(Math.max(...mouths)).toBeGreaterThan(0.9);

    const { sampleRate, channels } = await viewer.heard();
    const heard = channels[0] ?? new Float32Array();
    const levels = Array.from({ length: Math.floor(heard.length / sampleRate / 0.1) }, (_, at) =>
      toneLevel(heard.slice(at * 0.1 * sampleRate, (at + 1) * 0.1 * sampleRate), sampleRate, 700),
    );
    expect(levels.filter((level) => level > 0.2).length).toBeGreaterThan(17); // two of a second
    expect(viewer.problems).toEqual([]);
  });

  it("shows the portrait of its own when LivePortrait is not there", REAL_TIME, async () => {
    const env = { ...LOCAL, LIVEPORTRAIT_URL: await deadUrl() };
    const example = startExampleWith(env, "conversation/main", "Hello", "--port", "0");
    const browser = await launch();
    cleanup(() => browser.close());
    const viewer = await Viewer.watching(browser, await example.port());
    await example.printed(/LivePortrait at .* cannot be reached \(ECONNREFUSED\)/);
    await example.printed(/begins to speak/); // the text of the command line
    const frames = (await viewer.frames()).length;
    await viewer.until((more) => window.watched.frames.length > more, frames + 30);
    expect(example.output.match(/LivePortrait/g)).toHaveLength(1);
  });
});

describe("a service that fails", () => {
  it("is told of, and the conversation goes on", async () => {
    let calls = 0;
    const works = () => ++calls > 1;
    const services = await Services.start({
      "/transcribe": () =>
        works()
          ? Response.json({ text: "thanks" })
          : new Response("out of memory", { status: 500 }),
    });
    const { errors, dialogue } = await dialogueWith({
      recognise: recogniser(services.url),
      synthesise: synthesiser(await deadUrl()),
    });
    await dialogue.hear(UTTERANCE);
    expect(errors.pop()).toMatch(
      /^Whisper at http.*\/transcribe answered 500 out of memory\. .*WHISPER_URL/,
    );
    await dialogue.hear(UTTERANCE);
    expect(errors.pop()).toMatch(/^XTTS at .* cannot be reached \(ECONNREFUSED\)\. .*XTTS_URL/);
    // What was not heard was not said.
    expect(dialogue.history).toEqual([{ role: "user", text: "thanks" }]);
  });

  it.each([
    ["no JSON", new Response("<html>")],
    ["JSON without a text", Response.json({ error: 1 })],
  ])("is told of when Whisper answers with %s", async (_, answer) => {
    const services = await Services.start({ "/transcribe": () => answer });
    await expect(recogniser(services.url)(UTTERANCE)).rejects.toThrow(/answered without a "text"/);
  });

  it("is told of when XTTS answers with something else than a WAV file", async () => {
    const services = await Services.start({ "/synthesize": () => Response.json({ detail: "no" }) });
    await expect(synthesiser(services.url)("Hello.")).rejects.toThrow(/XTTS.* is not a WAV file/);
  });

  it("is given up when it does not answer", async () => {
    const services = await Services.start({ "/": () => new Promise(() => {}) });
    const service = { name: "It", url: services.url, variable: "ITS_URL" };
    await expect(post(service, "/", {}, undefined, 200)).rejects.toThrow(/did not answer within/);
  });

  it("is asked again a while after LivePortrait failed", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    vi.spyOn(console, "log").mockImplementation(() => {});
    let works = false;
    const services = await Services.start({
      "/api/render": () =>
        works ? new Response(new Uint8Array(JPEG)) : new Response("", { status: 503 }),
    });
    const draw = face(services.url);
    const silent = { opening: 0, speaking: false };
    expect((await draw(silent)).format).toBe("RGBA");
    expect((await draw(silent)).format).toBe("RGBA");
    expect(services.requests("/api/render")).toHaveLength(1);
    works = true;
    const now = performance.now();
    vi.spyOn(performance, "now").mockReturnValue(now + 5_100);
    expect((await draw(silent)).format).toBe("JPEG");
  });
});

describe("barge-in", () => {
  it(
    "cuts the avatar off, drops the sentences to come and keeps what was heard",
    REAL_TIME,
    async () => {
      const synthesised: string[] = [];
      const { system, dialogue } = await dialogueWith({
        reply: async () => "One two three four five six seven eight. Nine ten. Eleven twelve.",
        synthesise: async (text, signal) => {
          synthesised.push(text);
          // The first is there at once; the second takes until it is not wanted any more.
          if (synthesised.length > 1) await aborted(signal);
          return sound(4);
        },
      });
      const turn = dialogue.hear(UTTERANCE);
      await vi.waitFor(() => expect(dialogue.voice.isSpeaking).toBe(true));
      expect(dialogue.history.at(-1)?.text).toBe("One two three four five six seven eight.");
      // Two of four seconds later, four of eight words have been heard.
      await vi.waitFor(() => expect(system.bridge.queuedAudioMs).toBeLessThan(1900), {
        timeout: 10_000,
        interval: 10,
      });
      speechStart(system);
      await turn;
      await vi.waitFor(() => expect(dialogue.voice.isSpeaking).toBe(false));
      await vi.waitFor(() =>
        expect(dialogue.history).toEqual([
          { role: "user", text: "hello" },
          { role: "avatar", text: "One two three four…" },
        ]),
      );
      expect(synthesised).toEqual(["One two three four five six seven eight.", "Nine ten."]);
    },
  );

  it("keeps a sentence back while somebody speaks", async () => {
    let made = (_: Sound) => {};
    const { system, dialogue } = await dialogueWith({
      synthesise: () =>
        new Promise((resolve) => {
          made = resolve;
        }),
    });
    const push = vi.spyOn(system.bridge, "pushAudioChunk");
    const turn = dialogue.hear(UTTERANCE);
    await vi.waitFor(() => expect(dialogue.history).toHaveLength(1));
    speechStart(system);
    made(sound(1));
    await new Promise(setImmediate);
    expect(push).not.toHaveBeenCalled();
    emit(system, "speech-end"); // a cough: no utterance comes
    await turn;
    expect(push).toHaveBeenCalledTimes(1);
  });

  it("answers the newest of two utterances only", async () => {
    const signals: (AbortSignal | undefined)[] = [];
    const { system, dialogue } = await dialogueWith({
      recognise: async ({ data }, signal) => {
        signals.push(signal);
        if (data.length === 2) await aborted(signal);
        return data.length === 2 ? "first" : "second";
      },
    });
    const push = vi.spyOn(system.bridge, "pushAudioChunk");
    emit(system, "utterance", { ...UTTERANCE, data: Buffer.alloc(2) });
    await dialogue.hear({ ...UTTERANCE, data: Buffer.alloc(4) });
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, false]);
    expect(dialogue.history.map(({ text }) => text)).toEqual(["second", "Yes."]);
    expect(push).toHaveBeenCalledTimes(1);
  });

  it("is made up for when only the utterance comes", async () => {
    const { dialogue } = await dialogueWith({ synthesise: async () => sound(10) });
    await dialogue.hear(UTTERANCE);
    await dialogue.hear(UTTERANCE);
    // Nothing of the first was heard, or one word's part of it was.
    expect(
      dialogue.history.filter(({ role, text }) => role === "avatar" && text === "Yes."),
    ).toHaveLength(1);
  });
});

describe("its parts", () => {
  it("open the mouth as far as what is played is loud", () => {
    const player = { queuedAudioMs: 0, pushAudioChunk: () => {}, pushCue: () => {} };
    const voice = new Voice(player);
    expect(voice.opening).toBe(0);
    const [loud, soft, none] = [1, 0.1, 0].map((level) =>
      tone(16_000, 0.5, 300).map((sample) => sample * level),
    );
    const data = pcmOf(Float32Array.of(...(loud ?? []), ...(none ?? []), ...(soft ?? [])));
    voice.begin();
    voice.say("One two.", { data, sampleRate: 16_000, channels: 1 });
    const openingAt = (ms: number) => {
      player.queuedAudioMs = 1500 - ms;
      return voice.opening;
    };
    expect(openingAt(250)).toBeCloseTo(1, 1);
    expect(openingAt(750)).toBe(0);
    expect(openingAt(1250)).toBeCloseTo(0.2, 1); // 20 of 25 dB down
    expect(openingAt(1500)).toBe(0);
  });

  it("draw a mouth that is the wider the further it is to open", () => {
    const portrait = new Portrait();
    const dark = [0, 0.25, 0.5, 0.75, 1].map((opening) => {
      const { data, width } = portrait.draw(opening, 1000);
      let count = 0;
      for (let y = 130; y < 170; y++) {
        for (let x = 195; x < 245; x++) if ((data[(y * width + x) * 4] ?? 0) < 80) count++;
      }
      return count;
    });
    for (let at = 1; at < dark.length; at++)
      expect(dark[at], String(dark)).toBeGreaterThan((dark[at - 1] ?? 0) + 10);
  });

  it.each([
    ["What time is it?", "It is 9:05 PM."],
    ["good morning", "Good evening. What would you like to talk about?"],
    ["My name is robert.", "Nice to meet you, Robert. What shall we talk about?"],
    ["what is my name", "You are Ada. I remember that."],
    ["I want my dog to like me", "You want your dog to like you. What would that give you?"],
    [
      "Why is the sky blue?",
      "That is a good question. I do not know the answer. What do you think?",
    ],
    ["green cheese", "I heard: green cheese. Tell me more about that."],
  ])("reply to %j", (text, answer) => {
    const history = [{ role: "user" as const, text: "my name is ada" }];
    expect(replyAt(new Date(2026, 0, 5, 21, 5), text, history).replaceAll(" ", " ")).toBe(answer);
  });
});

const JPEG = readFileSync("assets/talking-head/000.jpg");
const UTTERANCE = {
  peerId: "a-peer-of-a-test",
  data: Buffer.alloc(2),
  sampleRate: 16_000,
  channels: 1,
};

const sound = (seconds: number): Sound => ({
  data: pcmOf(tone(16_000, seconds, 400)),
  sampleRate: 16_000,
  channels: 1,
});

/** Rejects once the signal aborts. */
const aborted = (signal?: AbortSignal) =>
  new Promise<never>((_, reject) => {
    signal?.addEventListener("abort", () => reject(signal.reason));
  });

type System = Awaited<ReturnType<typeof systemWith>>;

/** Emits an event of the bridge by hand. */
const emit = (
  system: System,
  event: string,
  payload: object = { peerId: "somebody", timestamp: 0 },
) => EventEmitter.prototype.emit.call(system.bridge, event, payload);
const speechStart = (system: System) => emit(system, "speech-start");

/** A dialogue on a real system, without browsers; its parts are these. */
async function dialogueWith(parts: Partial<Parts>) {
  const errors: string[] = [];
  vi.spyOn(console, "log").mockImplementation(() => {});
  vi.spyOn(console, "error").mockImplementation((text) => void errors.push(text));
  const system = await systemWith();
  await system.start();
  const dialogue = new Dialogue(system, {
    recognise: async () => "hello",
    reply: async () => "Yes.",
    synthesise: async () => sound(1),
    ...parts,
  });
  cleanup(() => dialogue.stop());
  return { system, dialogue, errors };
}

/** A browser that watches, and whose microphone plays this; and when that was said. */
async function speaking(port: number, said: Sound) {
  const file = path.resolve(".cache/conversation.wav");
  mkdirSync(path.dirname(file), { recursive: true });
  const silence = (ms: number) => Buffer.alloc(Math.round((ms * said.sampleRate) / 1000) * 2);
  const data = Buffer.concat([silence(BEFORE_MS), said.data, silence(AFTER_MS)]);
  writeFileSync(file, wavFile({ ...said, data }));

  const browser = await launch(...fakeMicrophone(file));
  cleanup(() => browser.close());
  const viewer = await Viewer.open(browser, port);
  await viewer.untilState("connected");
  await viewer.listen();
  await viewer.page.evaluate(() => {
    window.watched.keepEvery = 1;
  });
  const openedAt = Date.now();
  await viewer.page.click("#microphone");
  await viewer.page.waitForSelector('#microphone[aria-pressed="true"]');
  return { viewer, speechEndsAt: openedAt + BEFORE_MS + durationMs(said) };
}

/** Waits until something was heard, and a second of silence after it. */
async function heardAnswer(viewer: Viewer) {
  await viewer.page.waitForFunction(
    () => {
      const { sound } = window.watched;
      const loud = sound.findLast(({ channels: [first] }) =>
        first?.some((s) => Math.abs(s) > 0.02),
      );
      return loud !== undefined && (sound.at(-1)?.at ?? 0) > loud.at + 1000;
    },
    undefined,
    { polling: 200, timeout: 30_000 },
  );
}

/** For each picture how dark the mouth is, and how loud it was then, 0 to 1. */
async function mouthAndSound(viewer: Viewer) {
  const { pictures, sounds } = await viewer.page.evaluate(() => ({
    pictures: window.watched.luma.map(({ at, width, data }) => {
      let sum = 0;
      const scale = width / 512;
      for (let y = 147; y < 155; y++) {
        for (let x = 212; x < 228; x++)
          sum += 255 - (data[Math.round(y * scale) * width + Math.round(x * scale)] ?? 0);
      }
      return { at, dark: sum / 8 / 16 };
    }),
    sounds: window.watched.sound.map(({ at, channels: [first = new Float32Array()] }) => {
      const power = first.reduce((sum, sample) => sum + sample * sample, 0) / first.length;
      return { at, level: 10 * Math.log10(power + 1e-9) };
    }),
  }));
  const loudest = Math.max(...sounds.map(({ level }) => level));
  const loudness = pictures.map(({ at }) => {
    const near = sounds.filter((sound) => Math.abs(sound.at - at) < 30);
    return Math.max(0, 1 + (mean(near.map(({ level }) => level)) - loudest) / 25) || 0;
  });
  const first = sounds.find(({ level }) => level > loudest - 25);
  return {
    openness: pictures.map(({ dark }) => dark),
    loudness,
    firstLoudAt: first?.at ?? Number.NaN,
  };
}

const mean = (values: number[]) =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

/** Pearson's correlation. */
function alike(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const centred = (values: ArrayLike<number>) => {
    const middle = mean(Array.from(values));
    return Float32Array.from(values, (value) => value - middle);
  };
  return correlation(centred(a), centred(b));
}

/** The best of all places at which `wanted` may begin in `heard`. */
function bestLikeness(heard: Float32Array, wanted: Float32Array): number {
  let best = -1;
  for (let at = 0; at + wanted.length <= heard.length; at++)
    best = Math.max(best, alike(wanted, heard.subarray(at, at + wanted.length)));
  return best;
}

/** How alike two series are when one is shifted by up to so many pictures: the two are decoded apart. */
function bestShifted(a: number[], b: number[], most: number): number {
  let best = -1;
  for (let shift = -most; shift <= most; shift++) {
    const from = Math.max(0, shift);
    const length = Math.min(a.length, b.length) - Math.abs(shift);
    best = Math.max(
      best,
      alike(a.slice(from, from + length), b.slice(from - shift, from - shift + length)),
    );
  }
  return best;
}

async function deadUrl(): Promise<string> {
  const server = createServer();
  const url = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return url;
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** Real HTTP services on one port, which keep what they were asked. */
class Services {
  #requests: { path: string; request: Request }[] = [];

  private constructor(readonly url: string) {}

  static async start(
    routes: Record<string, () => Response | Promise<Response>>,
  ): Promise<Services> {
    const server = createServer();
    const services = new Services(await listening(server));
    cleanup(() => {
      server.closeAllConnections();
      server.close();
    });
    server.on("request", async (message: IncomingMessage, answer) => {
      const at = message.url ?? "";
      const body: Buffer[] = [];
      for await (const piece of message) body.push(piece);
      const headers = { "content-type": message.headers["content-type"] ?? "" };
      const init = { method: message.method ?? "", headers, body: Buffer.concat(body) };
      services.#requests.push({ path: at, request: new Request(services.url + at, init) });
      const response = (await routes[at]?.()) ?? new Response("", { status: 404 });
      answer.writeHead(response.status, Object.fromEntries(response.headers));
      answer.end(Buffer.from(await response.arrayBuffer()));
    });
    return services;
  }

  /** What was posted there. */
  requests(at: string): Request[] {
    return this.#requests
      .filter(({ path, request }) => path === at && request.method === "POST")
      .map(({ request }) => request);
  }
}
