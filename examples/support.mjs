// What the examples share, none of it about streaming: options, a steady clock, WAV files.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createStreamingSystem } from "avatar-webrtc-streaming";

/** @typedef {{ data: Buffer, sampleRate: number, channels: number }} Sound 16-bit PCM */

/** @param {string} name a file of the assets folder */
export const asset = (name) => fileURLToPath(new URL(`../assets/${name}`, import.meta.url));

/**
 * The command line: `--port N` (or the PORT variable; 0 takes a free port), `--seconds N` to end by
 * itself, and what else was given.
 */
export function options() {
  const { values, positionals } = parseArgs({
    options: { port: { type: "string" }, seconds: { type: "string" } },
    allowPositionals: true,
  });
  const port = Number(values.port ?? process.env.PORT ?? 8081);
  const seconds = Number(values.seconds ?? Infinity);
  if (!(seconds > 0)) {
    console.error(`--seconds takes a number above 0, not ${values.seconds}`);
    process.exit(1);
  }
  return { port, seconds, positionals };
}

/**
 * A started system; when it cannot start, says why and exits with 1.
 * @param {number} port
 */
export async function startSystem(port) {
  try {
    const system = await createStreamingSystem({ webrtc: { signalingPort: port } });
    await system.start();
    console.log(`Open http://localhost:${system.server.port}`);
    return system;
  } catch (error) {
    const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
    console.error(
      code === "EADDRINUSE"
        ? `Port ${port} is in use. Choose another one: --port ${port + 1}`
        : `Cannot start: ${message}`,
    );
    process.exit(1);
  }
}

/**
 * Resolves on Ctrl-C, on SIGTERM, or after so many seconds.
 * @param {number} seconds
 * @returns {Promise<void>}
 */
export function untilStopped(seconds) {
  return new Promise((resolve) => {
    // A system keeps the process alive; a timer must not, but Infinity is no timer.
    const timer = Number.isFinite(seconds) ? setTimeout(stop, seconds * 1000) : undefined;
    function stop() {
      clearTimeout(timer);
      process.off("SIGINT", stop).off("SIGTERM", stop);
      resolve();
    }
    process.on("SIGINT", stop).on("SIGTERM", stop);
  });
}

/**
 * Calls `onTick(n)` so many times a second. Deadlines count from the start, so that it does not drift;
 * ticks that are late by a whole interval are skipped.
 * @param {number} perSecond
 * @param {(n: number) => void} onTick
 * @returns {() => void} ends it
 */
export function steadily(perSecond, onTick) {
  const interval = 1000 / perSecond;
  const start = performance.now();
  /** @type {NodeJS.Timeout} */
  let timer;
  const tick = (/** @type {number} */ n) => {
    onTick(n);
    const now = performance.now() - start;
    const next = Math.max(n + 1, Math.floor(now / interval));
    timer = setTimeout(tick, next * interval - now, next);
  };
  tick(0);
  return () => clearTimeout(timer);
}

/**
 * @param {string} path a WAV file of 16-bit PCM
 * @returns {Sound}
 */
export const readWav = (path) => parseWav(readFileSync(path), path);

/**
 * @param {Buffer} file a WAV file of 16-bit PCM; of one that was cut off, what is there
 * @param {string} name what an error calls it
 * @returns {Sound}
 */
export function parseWav(file, name) {
  /** @type {Omit<Sound, "data"> | undefined} */
  let format;
  // RIFF: an id, a length and a body, one after the other, from byte 12 on.
  for (let at = 12; at + 8 <= file.length; ) {
    const id = file.toString("latin1", at, at + 4);
    const length = file.readUInt32LE(at + 4);
    const body = file.subarray(at + 8, at + 8 + length);
    if (id === "fmt ") {
      if (body.readUInt16LE(0) !== 1 || body.readUInt16LE(14) !== 16) break;
      format = { channels: body.readUInt16LE(2), sampleRate: body.readUInt32LE(4) };
    }
    if (id === "data" && format) return { ...format, data: body };
    at += 8 + length + (length % 2);
  }
  throw new Error(`${name} is not a WAV file of 16-bit PCM`);
}

/**
 * @param {Sound} sound
 * @returns {Buffer} the WAV file
 */
export function wavFile({ data, sampleRate, channels }) {
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(channels, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * channels * 2, 28);
  header.writeUInt16LE(channels * 2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

/**
 * @param {Sound} sound
 * @returns {number} its length in ms
 */
export const durationMs = ({ data, sampleRate, channels }) =>
  (data.length / 2 / channels / sampleRate) * 1000;

/**
 * @param {Buffer} pcm signed 16-bit little-endian
 * @returns {number} its mean level in dB below full scale; -Infinity for silence
 */
export function levelDb(pcm) {
  let sum = 0;
  for (let at = 0; at + 1 < pcm.length; at += 2) sum += pcm.readInt16LE(at) ** 2;
  return 10 * Math.log10(sum / Math.max(1, pcm.length / 2) / 32768 ** 2);
}

/**
 * Cuts speech into what lies between its pauses.
 * @param {Sound} sound
 * @param {{ silenceDb?: number, pauseMs?: number }} [limits] what counts as a pause
 * @returns {Buffer[]}
 */
export function utterances(sound, { silenceDb = -44, pauseMs = 300 } = {}) {
  const windowMs = 20;
  const bytes = Math.round((sound.sampleRate * windowMs) / 1000) * sound.channels * 2;
  /** @type {{ from: number, to: number }[]} */
  const voiced = [];
  for (let at = 0; at < sound.data.length; at += bytes) {
    if (levelDb(sound.data.subarray(at, at + bytes)) < silenceDb) continue;
    const last = voiced.at(-1);
    if (last && at - last.to < (pauseMs / windowMs) * bytes) last.to = at + bytes;
    else voiced.push({ from: at, to: at + bytes });
  }
  return voiced.map(({ from, to }) => sound.data.subarray(from, to));
}
