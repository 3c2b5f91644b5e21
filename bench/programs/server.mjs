// The process that is measured: streaming systems and a renderer that feeds each at 30 fps. Its parent asks
// over IPC (`lib/server.mjs`); when the parent goes, it stops.

import { monitorEventLoopDelay } from "node:perf_hooks";
import { createStreamingSystem } from "avatar-webrtc-streaming";
import { asset, readWav, steadily } from "../../examples/support.mjs";
import { quantile } from "../lib/statistics.mjs";
import { FPS, jpegFrames, rgbaFrames, SIZE } from "./frames.mjs";

/** Of the timer that samples the event loop's delay, in ms. */
const LOOP_RESOLUTION_MS = 5;

const {
  format = "JPEG",
  maxClients = 100,
  systems: count = 1,
  host = "127.0.0.1",
  networkThreads,
  subscribe = false,
  watchLoop = false,
} = /** @type {import("../lib/server.mjs").ServerOptions} */ (JSON.parse(process.argv[2] ?? "{}"));

const speech = readWav(asset("speech-24k.wav"));
const frames = format === "JPEG" ? jpegFrames() : rgbaFrames();
const piece = (speech.sampleRate / 50) * speech.channels * 2;
const pieces = Math.floor(speech.data.length / piece);

/** @type {{ video: number[], chunk: number[] }} ms in each push */
const pushes = { video: [], chunk: [] };
const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
/** @type {import("avatar-webrtc-streaming").StreamingSystem[]} */
const systems = [];
for (let n = 0; n < count; n++) systems.push(await startSystem());
const first = /** @type {(typeof systems)[0]} */ (systems[0]);
let renderers = systems.map(render);

/** @type {Record<string, () => object>} */
const answers = { begin, report, pause, collect, utterances };
process.on("message", (/** @type {{ ask: string }} */ { ask }) => {
  process.send?.(answers[ask]?.() ?? {});
});
process.once("disconnect", async () => {
  pause();
  await Promise.all(systems.map((system) => system.stop()));
  process.exit();
});
process.send?.({ urls: systems.map(({ server }) => `ws://${host}:${server.port}`) });

async function startSystem() {
  const webrtc = {
    signalingPort: 0,
    signalingHost: host,
    listenIps: [host],
    iceServers: [],
    maxClients,
    ...(networkThreads && { networkThreads }),
  };
  const system = await createStreamingSystem({ webrtc });
  if (subscribe) system.bridge.on("incoming-audio", () => {}).on("utterance", () => {});
  await system.start();
  return system;
}

/**
 * Pushes pictures and sound, each system at its own moment, as renderers that know nothing of each other do.
 * @param {import("avatar-webrtc-streaming").StreamingSystem} system
 * @param {number} n
 */
function render({ bridge }, n) {
  /** @type {(() => void)[]} */
  const ends = [];
  const begin = setTimeout(
    () => {
      ends.push(
        steadily(FPS, (tick) => {
          const data = /** @type {Buffer} */ (frames[(tick + 7 * n) % frames.length]);
          const timestamp = Date.now();
          timed(pushes.video, () =>
            bridge.pushVideoFrame({ data, width: SIZE, height: SIZE, timestamp, format }),
          );
        }),
        steadily(50, (tick) => {
          const at = (tick % pieces) * piece;
          timed(pushes.chunk, () => say(bridge, speech.data.subarray(at, at + piece)));
        }),
      );
    },
    ((1000 / FPS) * n) / count,
  );
  return () => {
    clearTimeout(begin);
    for (const end of ends) end();
  };
}

/**
 * @param {number[]} times
 * @param {() => void} push
 */
function timed(times, push) {
  const start = performance.now();
  push();
  times.push(performance.now() - start);
}

/**
 * @param {import("avatar-webrtc-streaming").MediaBridge} bridge
 * @param {Buffer} data
 */
function say(bridge, data) {
  bridge.pushAudioChunk({ ...speech, data, timestamp: Date.now() });
}

/** Begins a window of measuring. */
function begin() {
  for (const times of Object.values(pushes)) times.length = 0;
  // Its timer wakes the process 200 times a second: only where that is what is asked for.
  if (watchLoop) loop.enable();
  loop.reset();
  return {};
}

/** What happened on the JavaScript thread in the window. */
function report() {
  return {
    pushes: Object.fromEntries(
      Object.entries(pushes).map(([kind, times]) => [
        kind,
        { count: times.length, p50: quantile(times, 0.5), p99: quantile(times, 0.99) },
      ]),
    ),
    // The histogram holds whole intervals of the timer that samples it.
    loopDelay: { p50: loopDelay(50), p99: loopDelay(99) },
    metrics: first.bridge.getMetrics(),
  };
}

/** @param {number} percentile @returns {number} ms */
function loopDelay(percentile) {
  return Math.max(0, loop.percentile(percentile) / 1e6 - LOOP_RESOLUTION_MS);
}

/** Pushes nothing more. */
function pause() {
  for (const end of renderers) end();
  renderers = [];
  return {};
}

/** Frees what JavaScript holds, before memory is measured. */
function collect() {
  globalThis.gc?.();
  return {};
}

/** The whole speech at once, eight times: 84 s, which still fit into the queue. */
function utterances() {
  /** @type {number[]} */
  const times = [];
  for (let n = 0; n < 8; n++) timed(times, () => say(first.bridge, speech.data));
  return { p50: quantile(times, 0.5), worst: Math.max(...times) };
}
