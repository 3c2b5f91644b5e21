import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AudioChunk, StreamingSystem, VideoFrame } from "../index.js";
import { launch, REAL_TIME, rateOf, Viewer } from "./support/chromium.js";
import { PATCH, picture, pushPictures, SIDE } from "./support/picture.mjs";
import { cleanup, join, systemWith } from "./support.js";

const SECOND = 1000;

let browser: Browser;
beforeAll(async () => {
  browser = await launch();
});
afterAll(() => browser.close());

/** A system that pushes pictures, and whatever it did wrong. */
async function streaming(): Promise<{ system: StreamingSystem; port: number; faults: unknown[] }> {
  const system = await systemWith();
  const faults: unknown[] = [];
  system.server.on("error", (error) => faults.push(error));
  system.server.on("warning", () => {});
  system.bridge.on("warning", () => {});
  const rejected = (reason: unknown) => faults.push(reason);
  process.on("unhandledRejection", rejected);
  cleanup(() => process.off("unhandledRejection", rejected));
  await system.start();
  return { system, port: system.server.port ?? 0, faults };
}

describe("two browsers beside a client that sends garbage", () => {
  const offer = (sdp: unknown) => ({ type: "offer", data: { type: "offer", sdp } });
  const candidate = (data: unknown) => ({ type: "ice-candidate", data });
  const NO_MEDIA = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";
  const GARBAGE: [string, string | Buffer][] = [
    ["not JSON", "{offer"],
    ["binary", Buffer.from([0, 255, 1, 254])],
    ["a number", "42"],
    ["an array", "[]"],
    ["no type", "{}"],
    ["an unknown type", JSON.stringify({ type: "dance" })],
    ["an offer without data", JSON.stringify({ type: "offer" })],
    ["an offer without SDP", JSON.stringify(offer(undefined))],
    ["an offer of a number", JSON.stringify(offer(7))],
    ["60 KB of junk as SDP", JSON.stringify(offer("junk ".repeat(12_000)))],
    ["an SDP without media", JSON.stringify(offer(NO_MEDIA))],
    ["a candidate without data", JSON.stringify({ type: "ice-candidate" })],
    ["a candidate of junk", JSON.stringify(candidate({ candidate: "candidate:x y z" }))],
  ];

  it("go on at full rate, and the client is told what is wrong in words", REAL_TIME, async () => {
    const { system, port, faults } = await streaming();
    cleanup(pushPictures(system.bridge).stop);
    const viewers = [await Viewer.watching(browser, port), await Viewer.watching(browser, port)];
    await Promise.all(viewers.map((viewer) => viewer.untilState("connected")));

    const replies = new Map<string, string>();
    const pester = async () => {
      for (const [kind, text] of GARBAGE) {
        const { client } = await join(port);
        client.sendText(text);
        const { type, error } = await client.receive();
        replies.set(kind, `${type}: ${error}`);
        client.socket.close();
        await client.closed;
      }
    };
    /** All of it on one connection after the other, as fast as it is answered. */
    const flood = async (over: () => boolean) => {
      while (!over()) {
        const { client } = await join(port);
        for (const [, text] of GARBAGE) client.sendText(text);
        await Promise.race([client.receive(), client.closed]);
        client.socket.terminate();
      }
    };
    await pester();
    let over = false;
    const flooding = flood(() => over);
    const seen = await Promise.all(viewers.map((viewer) => viewer.framesDuring(5 * SECOND)));
    over = true;
    await flooding;

    for (const [kind] of GARBAGE) {
      expect(replies.get(kind), kind).toMatch(/^error: \S.*[a-z]/);
    }
    for (const frames of seen) {
      expect(rateOf(frames, 5 * SECOND)).toBeGreaterThanOrEqual(28);
    }
    await expect.poll(() => system.server.getPeerCount(), { timeout: 10_000 }).toBe(2);
    expect(faults).toEqual([]);
  });
});

describe("a browser while garbage is pushed", () => {
  it("sees none of it", REAL_TIME, async () => {
    const { system, port, faults } = await streaming();
    const { bridge } = system;
    const source = pushPictures(bridge);
    cleanup(source.stop);
    const viewer = await Viewer.watching(browser, port);
    await viewer.untilState("connected");

    const timestamp = Date.now();
    const white = Buffer.alloc(SIDE * SIDE * 4, 255);
    const good: VideoFrame = { data: white, width: SIDE, height: SIDE, timestamp };
    const frames: unknown[] = [
      { ...good, data: white.subarray(0, 1000) },
      { ...good, data: Buffer.alloc(0) },
      { ...good, data: "text" },
      { ...good, data: null },
      { ...good, width: 0 },
      { ...good, width: 0, height: 0 },
      { ...good, width: -512 },
      { ...good, width: 4097, height: 1 },
      { ...good, width: 1.5 },
      { ...good, width: Number.NaN },
      { ...good, timestamp: Number.NaN },
      { ...good, timestamp: Number.POSITIVE_INFINITY },
      { ...good, format: "JPEG" },
      { ...good, format: "JPEG", data: Buffer.from([0xff, 0xd8, 0xff, 0xe0, 1, 2]) },
      { ...good, format: "PNG" },
      { ...good, format: "BMP" },
      { ...good, format: 7 },
      null,
      undefined,
      "frame",
    ];
    const sound: AudioChunk = {
      data: Buffer.alloc(640, 0x7f),
      sampleRate: 16_000,
      channels: 1,
      timestamp,
    };
    const chunks: unknown[] = [
      { ...sound, data: sound.data.subarray(0, 639) },
      { ...sound, sampleRate: 0 },
      { ...sound, sampleRate: -1 },
      { ...sound, sampleRate: Number.NaN },
      { ...sound, channels: 0 },
      { ...sound, channels: 3 },
      { ...sound, timestamp: Number.NaN },
      { ...sound, format: "OPUS", data: Buffer.from([0xff, 0xff, 0xff]) },
      { ...sound, format: "MP3" },
      { ...sound, data: null },
      null,
    ];
    await viewer.listen();
    const outcomes: Promise<{ status: string }>[] = [];
    const pushAll = () => {
      for (const frame of frames) outcomes.push(bridge.pushVideoFrame(frame as VideoFrame));
      for (const chunk of chunks) outcomes.push(bridge.pushAudioChunk(chunk as AudioChunk));
    };
    const timer = setInterval(pushAll, 200);
    cleanup(() => clearInterval(timer));
    const seen = await viewer.framesDuring(3 * SECOND);
    clearInterval(timer);

    // A white or a grey picture would have no number.
    expect(seen.filter(({ number }) => number === null)).toEqual([]);
    expect(rateOf(seen, 3 * SECOND)).toBeGreaterThanOrEqual(28);
    const [heard = new Float32Array()] = (await viewer.heard()).channels;
    expect(heard.length).toBeGreaterThan(2 * 48_000);
    expect(heard.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0)).toBeLessThan(0.01);
    const queued = (await Promise.all(outcomes)).filter(({ status }) => status !== "dropped");
    expect(queued).toEqual([]);
    expect(faults).toEqual([]);
  });
});

describe("a picture of another shape than the stream", () => {
  /** One colour, with odd sides or declared wrongly; pushed until a browser shows it. */
  async function shows(frame: Omit<VideoFrame, "timestamp">, [r, g, b]: number[]): Promise<void> {
    const { system, port, faults } = await streaming();
    const push = () => system.bridge.pushVideoFrame({ ...frame, timestamp: Date.now() });
    expect(await push()).toMatchObject({ status: "queued" });
    const timer = setInterval(push, 33);
    cleanup(() => clearInterval(timer));
    const viewer = await Viewer.watching(browser, port);
    await viewer.until(() => (document.querySelector("video")?.videoWidth ?? 0) > 0);
    await expect
      .poll(async () => {
        const [shown = []] = await viewer.coloursAt([{ x: SIDE / 2, y: SIDE / 2 }]);
        return Math.max(...[r, g, b].map((level = 0, at) => Math.abs(level - (shown[at] ?? 0))));
      })
      .toBeLessThanOrEqual(6);
    expect(faults).toEqual([]);
  }

  it("is shown when its sides are odd", async () => {
    const data = Buffer.alloc(513 * 511 * 4);
    new Uint32Array(data.buffer, data.byteOffset, 513 * 511).fill(0xff3cb428);
    await shows({ data, width: 513, height: 511 }, [40, 180, 60]);
  });

  it("is shown when a JPEG's own size is not the declared one", async () => {
    // A viewer's own canvas makes the JPEG: 320x240 of one colour.
    const maker = await browser.newPage();
    cleanup(() => maker.close());
    const base64 = await maker.evaluate(async () => {
      const canvas = new OffscreenCanvas(320, 240);
      const context = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
      context.fillStyle = "rgb(200 40 40)";
      context.fillRect(0, 0, 320, 240);
      const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
      return btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())));
    });
    const data = Buffer.from(base64, "base64");
    await shows({ data, width: SIDE, height: SIDE, format: "JPEG" }, [200, 40, 40]);
  });
});

describe("a buffer that is overwritten right after the push", () => {
  it("does not show in the browser what it was overwritten with", async () => {
    const { system, port } = await streaming();
    const data = picture(7);
    const push = () => {
      picture(7, data);
      system.bridge.pushVideoFrame({ data, width: SIDE, height: SIDE, timestamp: Date.now() });
      data.fill(255);
    };
    const timer = setInterval(push, 33);
    cleanup(() => clearInterval(timer));
    const viewer = await Viewer.watching(browser, port);
    const frames = await viewer.framesDuring(2 * SECOND);
    expect(frames.length).toBeGreaterThan(40);
    expect(new Set(frames.map(({ number }) => number))).toEqual(new Set([7]));
    const [red = []] = await viewer.coloursAt([{ x: PATCH / 2, y: SIDE - PATCH / 2 }]);
    expect(red[0]).toBeGreaterThan(150);
    expect(red[1]).toBeLessThan(90);
  });
});
