// Speech from a synthesiser (XTTS, …): a service that emits 24 kHz PCM piece by piece, faster than real time.
//   node examples/synthesiser.mjs [--port N] [--seconds N]

import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { asset, options, readWav, startSystem, steadily, untilStopped } from "./support.mjs";

/** Speaks a recording as a streaming synthesiser does: 200 ms of sound every 50 ms. Emits `audio-chunk`. */
class Synthesiser extends EventEmitter {
  #sound = readWav(asset("speech-24k.wav"));

  /** @param {AbortSignal} signal */
  async speak(signal) {
    const { data, sampleRate, channels } = this.#sound;
    const bytes = (sampleRate / 5) * channels * 2;
    for (let at = 0; at < data.length; at += bytes) {
      this.emit("audio-chunk", data.subarray(at, at + bytes), sampleRate, channels);
      await delay(50, undefined, { signal });
    }
  }
}

const { port, seconds } = options();
const stopped = untilStopped(seconds); // from the start on, so that Ctrl-C always ends it cleanly
const system = await startSystem(port);

const picture = readFileSync(asset("talking-head/000.jpg"));
const endVideo = steadily(10, () => {
  system.bridge.pushVideoFrame({
    data: picture,
    width: 512,
    height: 512,
    timestamp: Date.now(),
    format: "JPEG",
  });
});

const synthesiser = new Synthesiser();
synthesiser.on("audio-chunk", (data, sampleRate, channels) => {
  // No pacing here: pieces are queued and played in real time, in order.
  system.bridge.pushAudioChunk({
    data,
    sampleRate,
    channels,
    timestamp: Date.now(),
    format: "PCM",
  });
});

const stopping = new AbortController();
const speaking = (async () => {
  while (!stopping.signal.aborted) {
    await synthesiser.speak(stopping.signal);
    await delay(10_000, undefined, { signal: stopping.signal }); // until it was heard, and a pause
  }
})().catch((error) => {
  if (error.name !== "AbortError") throw error;
});

await stopped;
stopping.abort();
await speaking;
endVideo();
await system.stop();
