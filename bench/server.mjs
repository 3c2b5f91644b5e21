// The process that is measured: a streaming system on 127.0.0.1 and a renderer that feeds it at 30 fps.
// Its parent asks over IPC; when the parent goes, it stops.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createStreamingSystem } from "avatar-webrtc-streaming";
import { asset, readWav, steadily } from "../examples/support.mjs";
import { quantile } from "./support.mjs";

const SIZE = 512;
const FPS = 30;

/** @type {{ format?: "JPEG" | "RGBA", maxClients?: number }} */
const { format = "JPEG", maxClients = 100 } = JSON.parse(process.argv[2] ?? "{}");
const speech = readWav(asset("speech-24k.wav"));
const frames = format === "JPEG" ? jpegFrames() : rgbaFrames();

const system = await createStreamingSystem({
  webrtc: {
    signalingPort: 0,
    signalingHost: "127.0.0.1",
    listenIps: ["127.0.0.1"],
    iceServers: [],
    maxClients,
  },
});
await system.start();
const { bridge, server } = system;

/** @type {{ video: number[], chunk: number[] }} ms in each push */
const pushes = { video: [], chunk: [] };
const loop = monitorEventLoopDelay({ resolution: 5 });
let since = mark();

/** @type {Record<string, () => object>} */
const answers = { mark: begin, report, peers, utterances };

const endVideo = steadily(FPS, (n) => {
  const data = /** @type {Buffer} */ (frames[n % frames.length]);
  timed(pushes.video, () =>
    bridge.pushVideoFrame({ data, width: SIZE, height: SIZE, timestamp: Date.now(), format }),
  );
});

const piece = (speech.sampleRate / 50) * speech.channels * 2;
const pieces = Math.floor(speech.data.length / piece);
const endAudio = steadily(50, (n) => {
  const at = (n % pieces) * piece;
  timed(pushes.chunk, () => say(speech.data.subarray(at, at + piece)));
});

process.on("message", (/** @type {{ ask: string }} */ { ask }) => {
  process.send?.(answers[ask]?.() ?? {});
});
process.once("disconnect", async () => {
  endVideo();
  endAudio();
  await system.stop();
  process.exit();
});
process.send?.({ url: `ws://127.0.0.1:${server.port}` });

/**
 * @param {number[]} times
 * @param {() => void} push
 */
function timed(times, push) {
  const start = performance.now();
  push();
  times.push(performance.now() - start);
}

/** @param {Buffer} data */
function say(data) {
  bridge.pushAudioChunk({ ...speech, data, timestamp: Date.now() });
}

/** The whole speech at once, eight times: 84 s, which still fit into the queue. */
function utterances() {
  /** @type {number[]} */
  const times = [];
  for (let n = 0; n < 8; n++) timed(times, () => say(speech.data));
  return { p50: quantile(times, 0.5), worst: Math.max(...times) };
}

/** Begins a window of measuring. */
function begin() {
  since = mark();
  return {};
}

function mark() {
  for (const times of Object.values(pushes)) times.length = 0;
  loop.enable();
  loop.reset();
  return { at: performance.now(), cpu: process.cpuUsage(), threads: threadTimes() };
}

/** What happened in the window. */
function report() {
  const seconds = (performance.now() - since.at) / 1000;
  const { user, system } = process.cpuUsage(since.cpu);
  /** @type {Record<string, number>} */
  const threads = {};
  for (const [id, { name, ms }] of threadTimes()) {
    const spent = ms - (since.threads.get(id)?.ms ?? 0);
    threads[name] = (threads[name] ?? 0) + spent / 1000;
  }
  return {
    seconds,
    cpuSeconds: (user + system) / 1e6,
    systemSeconds: system / 1e6,
    threads,
    pushes: Object.fromEntries(
      Object.entries(pushes).map(([kind, times]) => [
        kind,
        { count: times.length, p50: quantile(times, 0.5), p99: quantile(times, 0.99) },
      ]),
    ),
    // The histogram holds whole intervals of the timer that samples it.
    loopDelay: { p50: loop.percentile(50) / 1e6 - 5, p99: loop.percentile(99) / 1e6 - 5 },
    metrics: bridge.getMetrics(),
  };
}

function peers() {
  return { connected: server.getPeers().filter(({ state }) => state === "connected").length };
}

/** Each thread's time on a CPU: `/proc/self/task/ID/schedstat`, first field, in ns. */
function threadTimes() {
  /** @type {Map<string, { name: string, ms: number }>} */
  const times = new Map();
  for (const id of readdirSync("/proc/self/task")) {
    try {
      const name = readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim();
      const [ns] = readFileSync(`/proc/self/task/${id}/schedstat`, "utf8").split(" ");
      times.set(id, { name, ms: Number(ns) / 1e6 });
    } catch {
      // It ended meanwhile.
    }
  }
  return times;
}

function jpegFrames() {
  const folder = asset("talking-head");
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name)));
}

/** A second of a drifting gradient: 30 MB, so that no frame is still in a cache when its turn comes. */
function rgbaFrames() {
  return Array.from({ length: FPS }, (_, n) => {
    const pixels = new Uint32Array(SIZE * SIZE);
    for (let at = 0; at < pixels.length; at++) {
      const [x, y] = [at % SIZE, Math.floor(at / SIZE)];
      const wave = (x + 17 * n) % SIZE;
      const red = wave < 256 ? wave : 511 - wave;
      pixels[at] = 0xff000000 | ((y >> 1) << 16) | red; // little-endian: A B G R
    }
    return Buffer.from(pixels.buffer);
  });
}
