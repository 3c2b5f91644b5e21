import { readFileSync } from "node:fs";
import { createMediaBridge, MediaBridge, type VideoFrame } from "avatar-webrtc-streaming";
import { describe, expect, it, vi } from "vitest";
import { cleanup, pcm, rgba } from "./support.js";

async function started(config = {}): Promise<MediaBridge> {
  const bridge = new MediaBridge(config);
  cleanup(() => bridge.stop());
  await bridge.start();
  return bridge;
}

describe("a bridge's life", () => {
  it("emits started and stopped once each", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = createMediaBridge();
    const seen: string[] = [];
    bridge.on("started", () => seen.push("started"));
    bridge.on("stopped", () => seen.push("stopped"));
    await bridge.start();
    expect(bridge.getMetrics().isStreaming).toBe(true);
    expect(warn).not.toHaveBeenCalled();
    await bridge.start();
    expect(warn).toHaveBeenCalledTimes(1);
    await bridge.stop();
    await bridge.stop();
    expect(seen).toEqual(["started", "stopped"]);
    expect(bridge.getMetrics().isStreaming).toBe(false);
  });

  it("can be started again", async () => {
    const bridge = await started();
    await bridge.stop();
    await bridge.start();
    expect(await bridge.pushVideoFrame(rgba())).toMatchObject({ status: "queued" });
  });
});

describe("a push before start", () => {
  it("warns, emits nothing and resolves", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = new MediaBridge();
    const emitted = vi.fn();
    bridge.on("video-frame", emitted);
    bridge.on("audio-chunk", emitted);
    expect(await bridge.pushVideoFrame(rgba())).toMatchObject({
      status: "dropped",
      reason: "not-started",
    });
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]?.[0]).toMatch(/^\[MediaBridge\] .*not started/);
    expect(await bridge.pushAudioChunk(pcm())).toMatchObject({ reason: "not-started" });
    expect(warn).toHaveBeenCalledTimes(2);
    expect(emitted).not.toHaveBeenCalled();
    expect(bridge.getMetrics()).toMatchObject({ videoFrames: 0, audioChunks: 0, droppedFrames: 0 });
  });
});

describe("a push while streaming", () => {
  it("emits the very object before the promise resolves", async () => {
    const bridge = await started();
    const frame = rgba();
    const chunk = pcm();
    const seen: unknown[] = [];
    bridge.on("video-frame", (pushed) => seen.push(pushed));
    bridge.on("audio-chunk", (pushed) => seen.push(pushed));
    const pushes = [bridge.pushVideoFrame(frame), bridge.pushAudioChunk(chunk)];
    expect(seen[0]).toBe(frame);
    expect(seen[1]).toBe(chunk);
    expect(await Promise.all(pushes)).toMatchObject([{ status: "queued" }, { status: "queued" }]);
  });

  it("takes formats by default, any view of bytes and shared memory", async () => {
    const bridge = await started();
    const { data, width, height, timestamp } = rgba();
    const views = [
      data,
      new Uint8ClampedArray(data),
      new DataView(new ArrayBuffer(data.length)),
      new Uint8Array(new SharedArrayBuffer(data.length)),
    ];
    for (const view of views) {
      const frame = { data: view, width, height, timestamp };
      expect(await bridge.pushVideoFrame(frame)).toMatchObject({ status: "queued" });
    }
    const samples = { data: new Int16Array(320), sampleRate: 24000, channels: 1, timestamp };
    expect(await bridge.pushAudioChunk(samples)).toMatchObject({ status: "queued" });
  });

  it.each<[NonNullable<VideoFrame["format"]>, number, number, number]>([
    ["YUV", 64, 48, 4608],
    ["I420", 65, 49, 4835],
    ["NV12", 65, 49, 4835],
    ["NV12", 1, 1, 3],
  ])("takes %s of %i x %i, which is %i bytes, no fewer and no more", async (...expected) => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const [format, width, height, length] = expected;
    const bridge = await started();
    const push = (length: number) =>
      bridge.pushVideoFrame({ ...rgba(width, height), data: Buffer.alloc(length), format });
    expect(await push(length)).toMatchObject({ status: "queued" });
    expect(await push(length - 1)).toMatchObject({
      reason: "short-buffer",
      message: expect.stringContaining(`needs ${length}`),
    });
    expect(await push(length + 1)).toMatchObject({
      reason: "bad-length",
      message: expect.stringContaining(`is ${length}`),
    });
  });

  it("takes one Opus packet a chunk, and MP3 cut anywhere, whatever is declared beside them", async () => {
    const bridge = await started();
    const any = { sampleRate: 0, channels: 0, timestamp: Date.now() };
    const opus = Buffer.from([0xf8, 0xff, 0xfe]);
    expect(await bridge.pushAudioChunk({ ...any, data: opus, format: "OPUS" })).toMatchObject({
      status: "queued",
    });
    const file = readFileSync(new URL("../assets/sweep/44k-joint-vbr.mp3", import.meta.url));
    for (let at = 0; at < file.length; at += 999) {
      const data = file.subarray(at, at + 999);
      expect(await bridge.pushAudioChunk({ ...any, data, format: "MP3" })).toMatchObject({
        status: "queued",
      });
    }
    expect(bridge.getMetrics()).toMatchObject({ droppedChunks: 0, invalidChunks: 0 });
  });

  it.each([8000, 11_025, 16000, 22050, 24000, 44100, 48000])(
    "takes speech at %i Hz",
    async (sampleRate) => {
      const bridge = await started();
      expect(await bridge.pushAudioChunk({ ...pcm(), sampleRate })).toMatchObject({
        status: "queued",
      });
    },
  );

  it("survives listeners that throw", async () => {
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    const bridge = await started();
    bridge.on("video-frame", () => {
      throw new Error("from a listener");
    });
    bridge.on("incoming-audio", () => {
      throw new Error("from a listener");
    });
    expect(await bridge.pushVideoFrame(rgba())).toMatchObject({ status: "queued" });
    expect(() => bridge.handleIncomingAudio(pcm())).not.toThrow();
    expect(error).toHaveBeenCalledTimes(2);
    expect(bridge.getMetrics()).toMatchObject({ videoFrames: 1, invalidFrames: 0 });
  });
});

describe("the picture", () => {
  it("is told to have stalled when no usable frame comes for a second, and to go on", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = await started();
    const told: string[] = [];
    for (const event of ["video-stalled", "video-resumed"] as const) {
      bridge.on(event, () => told.push(event));
    }
    vi.advanceTimersByTime(5000);
    expect(told).toEqual([]); // Nothing was there yet.
    for (let n = 0; n < 5; n++) {
      bridge.pushVideoFrame(rgba());
      vi.advanceTimersByTime(999);
    }
    expect(told).toEqual([]);
    bridge.pushVideoFrame({ ...rgba(), data: Buffer.alloc(3) });
    vi.advanceTimersByTime(1);
    expect(told).toEqual(["video-stalled"]);
    vi.advanceTimersByTime(60_000);
    bridge.pushVideoFrame(rgba());
    bridge.pushVideoFrame(rgba());
    expect(told).toEqual(["video-stalled", "video-resumed"]);
    await bridge.stop();
    vi.advanceTimersByTime(5000);
    expect(told).toHaveLength(2);
  });
});

const hostile = {
  get data(): Buffer {
    throw new Error("a getter that throws");
  },
};
const detached = new Uint8Array(64 * 64 * 4);
structuredClone(detached, { transfer: [detached.buffer] });
const numbers = [
  "1",
  "",
  true,
  null,
  undefined,
  {},
  Number.NaN,
  Infinity,
  -Infinity,
  -1,
  0.5,
  2 ** 53,
];
const badFrames: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["a string", "frame"],
  ["an empty object", {}],
  ["a getter that throws", hostile],
  ["no data", { ...rgba(), data: undefined }],
  ["a string as data", { ...rgba(), data: "x".repeat(64 * 64 * 4) }],
  ["an array as data", { ...rgba(), data: new Array(64 * 64 * 4).fill(0) }],
  ["too few bytes", { ...rgba(), data: Buffer.alloc(100) }],
  ["a detached buffer", { ...rgba(), data: detached }],
  ["no bytes", { ...rgba(), data: Buffer.alloc(0) }],
  ["an unknown format", { ...rgba(), format: "BMP" }],
  ["a number as format", { ...rgba(), format: 7 }],
  ["RGBA as YUV", { ...rgba(), format: "YUV" }],
  ["a huge NV12", { ...rgba(5000, 1), format: "NV12" }],
  ["a JPEG that is none", { ...rgba(), format: "JPEG", data: Buffer.from("not a jpeg") }],
  ["a PNG that is none", { ...rgba(), format: "PNG", data: Buffer.from("not a png") }],
  ["a JPEG as PNG", { ...rgba(), format: "PNG", data: Buffer.from([0xff, 0xd8, 0xff, 0xe0]) }],
  ["a width of 0", { ...rgba(), width: 0 }],
  ["a huge width", { ...rgba(), width: 1e9 }],
  ...numbers.map((bad): [string, unknown] => [
    `a width of ${show(bad)}`,
    { ...rgba(), width: bad },
  ]),
  ...numbers
    .slice(0, 9)
    .map((bad): [string, unknown] => [
      `a timestamp of ${show(bad)}`,
      { ...rgba(), timestamp: bad },
    ]),
];
const badChunks: [string, unknown][] = [
  ["undefined", undefined],
  ["null", null],
  ["a number", 7],
  ["a getter that throws", hostile],
  ["a string as data", { ...pcm(), data: "samples" }],
  ["a detached buffer", { ...pcm(), data: detached }],
  ["no bytes", { ...pcm(), data: Buffer.alloc(0) }],
  ["half a sample", { ...pcm(), data: Buffer.alloc(641) }],
  ["an unknown format", { ...pcm(), format: "WAV" }],
  ["an Opus packet of no bytes", { ...pcm(), format: "OPUS", data: Buffer.alloc(0) }],
  ["an Ogg file as OPUS", { ...pcm(), format: "OPUS", data: Buffer.from("OggS".padEnd(64, "\0")) }],
  ["an Opus packet that is too long", { ...pcm(), format: "OPUS", data: Buffer.alloc(1181, 8) }],
  ["PCM as MP3", { ...pcm(), format: "MP3" }],
  ["a JPEG as MP3", { ...pcm(), format: "MP3", data: Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 0]) }],
  ["three channels", { ...pcm(), channels: 3 }],
  ["a rate of 1 MHz", { ...pcm(), sampleRate: 1e6 }],
  ...numbers.map((bad): [string, unknown] => [
    `a rate of ${show(bad)}`,
    { ...pcm(), sampleRate: bad },
  ]),
  ...numbers
    .filter((bad) => bad !== 1)
    .map((bad): [string, unknown] => [`${show(bad)} channels`, { ...pcm(), channels: bad }]),
  ...numbers
    .slice(0, 9)
    .map((bad): [string, unknown] => [`a timestamp of ${show(bad)}`, { ...pcm(), timestamp: bad }]),
];

function show(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

describe("invalid content", () => {
  it.each(badFrames)("in a frame (%s) is emitted, counted and dropped", async (_what, frame) => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = await started();
    const emitted = vi.fn();
    bridge.on("video-frame", emitted);
    const outcome = await bridge.pushVideoFrame(frame as ReturnType<typeof rgba>);
    expect(outcome).toMatchObject({ status: "dropped", reason: expect.any(String) });
    expect(outcome.message).toBeTruthy();
    expect(emitted).toHaveBeenCalledTimes(1);
    expect(emitted.mock.calls[0]?.[0]).toBe(frame);
    expect(bridge.getMetrics()).toMatchObject({
      videoFrames: 1,
      invalidFrames: 1,
      droppedFrames: 1,
      lastFrameError: outcome.reason,
    });
  });

  it.each(badChunks)("in a chunk (%s) is emitted, counted and dropped", async (_what, chunk) => {
    vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = await started();
    const emitted = vi.fn();
    bridge.on("audio-chunk", emitted);
    const outcome = await bridge.pushAudioChunk(chunk as ReturnType<typeof pcm>);
    expect(outcome).toMatchObject({ status: "dropped", reason: expect.any(String) });
    expect(emitted).toHaveBeenCalledTimes(1);
    expect(emitted.mock.calls[0]?.[0]).toBe(chunk);
    expect(bridge.getMetrics()).toMatchObject({
      audioChunks: 1,
      invalidChunks: 1,
      droppedChunks: 1,
      lastChunkError: outcome.reason,
    });
  });

  it("is reported at most once a second, and at once", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = await started();
    const bad = { ...rgba(), data: Buffer.alloc(3) };
    for (let frame = 0; frame < 31; frame++) await bridge.pushVideoFrame(bad);
    expect(warn).toHaveBeenCalledTimes(1);
    expect(warn.mock.calls[0]?.[0]).toMatch(/^\[MediaBridge\] video frame dropped: .*3 bytes/);
    vi.setSystemTime(1_700_000_001_000);
    await bridge.pushVideoFrame(bad);
    expect(warn).toHaveBeenCalledTimes(2);
    expect(warn.mock.calls[1]?.[0]).toMatch(/30 more/);
  });

  it("goes to a listener of warning rather than to the console", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const bridge = await started();
    const listener = vi.fn();
    bridge.on("warning", listener);
    await bridge.pushVideoFrame({ ...rgba(), data: Buffer.alloc(3) });
    expect(listener).toHaveBeenCalledTimes(1);
    expect(warn).not.toHaveBeenCalled();
  });
});

describe("metrics", () => {
  it("count what is pushed", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 });
    const bridge = await started();
    expect(bridge.getMetrics()).toEqual({
      videoFrames: 0,
      audioChunks: 0,
      droppedFrames: 0,
      droppedChunks: 0,
      avgLatency: 0,
      lastFrameTime: 0,
      fps: 0,
      isStreaming: true,
      invalidFrames: 0,
      invalidChunks: 0,
      supersededFrames: 0,
      encodedFrames: 0,
      keyframes: 0,
      keyframeReasons: { joined: 0, asked: 0, leftOut: 0, began: 0 },
      encodeMs: { p50: 0, p99: 0 },
      lateFrames: 0,
      queuedAudioMs: 0,
    });
    await bridge.pushVideoFrame(rgba());
    await bridge.pushAudioChunk(pcm());
    await bridge.pushAudioChunk(pcm());
    expect(bridge.getMetrics()).toMatchObject({
      videoFrames: 1,
      audioChunks: 2,
      lastFrameTime: 1_700_000_000_000,
    });
  });

  it("average the latency with weight 0.1", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 });
    const bridge = await started();
    await bridge.pushVideoFrame({ ...rgba(), timestamp: Date.now() - 100 });
    expect(bridge.getMetrics().avgLatency).toBeCloseTo(100);
    await bridge.pushVideoFrame({ ...rgba(), timestamp: Date.now() - 50 });
    expect(bridge.getMetrics().avgLatency).toBeCloseTo(95);
  });

  it("count a frame as dropped when it is later than 1.5 intervals, but not the first", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 });
    const bridge = await started({ videoFps: 10 });
    const late = (ms: number) => bridge.pushVideoFrame({ ...rgba(), timestamp: Date.now() - ms });
    expect(await late(1000)).toMatchObject({ status: "queued" });
    expect(bridge.getMetrics().droppedFrames).toBe(0);
    await late(150);
    expect(bridge.getMetrics().droppedFrames).toBe(0);
    expect(await late(151)).toMatchObject({ status: "queued" });
    expect(bridge.getMetrics()).toMatchObject({ droppedFrames: 1, lateFrames: 1 });
  });

  it("measure fps over the last second", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 });
    const bridge = await started();
    for (let frame = 0; frame < 60; frame++) {
      vi.setSystemTime(1_700_000_000_000 + frame * 40);
      await bridge.pushVideoFrame(rgba());
    }
    expect(bridge.getMetrics().fps).toBe(25);
    vi.setSystemTime(1_700_000_100_000);
    expect(bridge.getMetrics().fps).toBe(0);
  });

  it("go back to zero on resetMetrics", async () => {
    const bridge = await started();
    const zero = bridge.getMetrics();
    await bridge.pushVideoFrame(rgba());
    await bridge.pushAudioChunk(pcm());
    bridge.resetMetrics();
    expect(bridge.getMetrics()).toEqual(zero);
  });
});

it("passes incoming audio on as it is", () => {
  const bridge = new MediaBridge();
  const listener = vi.fn();
  bridge.on("incoming-audio", listener);
  const chunk = pcm();
  bridge.handleIncomingAudio(chunk);
  expect(listener.mock.calls[0]?.[0]).toBe(chunk);
});
