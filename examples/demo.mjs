// The demo that `npm start` runs: a talking head that says a few sentences, and repeats what it hears.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  asset,
  durationMs,
  options,
  readWav,
  startSystem,
  steadily,
  untilStopped,
  utterances,
} from "./support.mjs";

const FPS = 30;
const PAUSE_MS = 4_000; // between two sentences
const LISTEN_MS = 8_000; // without a canned sentence, after somebody spoke

const frames = readdirSync(asset("talking-head"))
  .sort()
  .map((name) => readFileSync(join(asset("talking-head"), name)));
const speech = readWav(asset("speech-24k.wav"));
const sentences = utterances(speech);

const { port, seconds } = options();
const stopped = untilStopped(seconds); // from the start on, so that Ctrl-C always ends it cleanly
const system = await startSystem(port);
const { bridge } = system;

const endVideo = steadily(FPS, (n) => {
  const data = /** @type {Buffer} */ (frames[n % frames.length]);
  bridge.pushVideoFrame({ data, width: 512, height: 512, timestamp: Date.now(), format: "JPEG" });
});

let said = 0;
/** @type {NodeJS.Timeout | undefined} */
let nextSentence;

/** @param {import("./support.mjs").Sound} sound */
function say(sound) {
  bridge.pushAudioChunk({ ...sound, timestamp: Date.now(), format: "PCM" });
  return durationMs(sound);
}

/** @param {number} ms */
function saySentenceIn(ms) {
  clearTimeout(nextSentence);
  nextSentence = setTimeout(() => {
    const data = /** @type {Buffer} */ (sentences[said++ % sentences.length]);
    saySentenceIn(say({ ...speech, data }) + PAUSE_MS);
  }, ms);
}

saySentenceIn(1_000);
bridge.on("incoming-audio", () => saySentenceIn(LISTEN_MS));
bridge.on("utterance", ({ peerId, data, sampleRate, channels }) => {
  const ms = say({ data, sampleRate, channels });
  console.log(`Repeating ${(ms / 1000).toFixed(1)} s of what ${peerId} said`);
  saySentenceIn(ms + LISTEN_MS);
});

const status = setInterval(() => {
  const { peerCount, metrics } = system.getStatus();
  console.log(
    `${peerCount} watching, ${metrics.fps.toFixed(1)} fps, latency ${metrics.avgLatency.toFixed(1)} ms, ` +
      `${metrics.droppedFrames} frames dropped`,
  );
}, 10_000);

await stopped;
endVideo();
clearInterval(status);
await system.stop();
clearTimeout(nextSentence); // last: what is heard until the end sets it again
console.log("Stopped");
