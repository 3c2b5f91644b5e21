// The recogniser: speech to text. Whisper over HTTP, or PocketSphinx in a Python process of our own.
//
//   POST {WHISPER_URL}/transcribe   multipart: file = utterance.wav (16-bit PCM), language = en
//   200                             JSON: { "text": "…" }

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { wavFile } from "../support.mjs";
import { post } from "./remote.mjs";
import { PYTHON } from "./setup.mjs";

/**
 * @callback Recognise
 * @param {import("../support.mjs").Sound} utterance
 * @param {AbortSignal} [signal]
 * @returns {Promise<string>} what was said; empty when nothing was understood
 */

/** @returns {Recognise} */
export function recogniser(url = process.env.WHISPER_URL) {
  return url ? whisper(url) : pocketSphinx();
}

/**
 * @param {string} url
 * @returns {Recognise}
 */
function whisper(url) {
  const service = { name: "Whisper", url, variable: "WHISPER_URL" };
  return async (utterance, signal) => {
    const form = new FormData();
    const file = new Blob([new Uint8Array(wavFile(utterance))], { type: "audio/wav" });
    form.append("file", file, "utterance.wav");
    form.append("language", "en");
    const response = await post(service, "/transcribe", form, signal);
    const { text } = await response.json().catch(() => ({}));
    if (typeof text !== "string") throw new Error(`Whisper at ${url} answered without a "text"`);
    return text.trim();
  };
}

/** @returns {Recognise} */
function pocketSphinx() {
  /** @type {Promise<unknown>} one utterance after the other: there is one decoder */
  let last = Promise.resolve();
  let start = startDecoder();
  return ({ data, sampleRate, channels }, signal) => {
    const text = last.then(async () => {
      if (signal?.aborted) throw signal.reason;
      if (sampleRate !== 16_000 || channels !== 1)
        throw new Error("PocketSphinx hears 16 kHz mono");
      try {
        return await start(data);
      } catch (error) {
        start = startDecoder(); // for the next one
        throw error;
      }
    });
    last = text.catch(() => {});
    return text;
  };
}

/** Begins at once: the model takes a moment to load. */
function startDecoder() {
  const script = fileURLToPath(new URL("recogniser.py", import.meta.url));
  const python = spawn(PYTHON, [script], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: python.stdout })[Symbol.asyncIterator]();
  const failed = once(python, "error").then(([error]) => {
    throw new Error(
      `PocketSphinx cannot be started: ${error.message}. Delete .cache and try again`,
    );
  });
  failed.catch(() => {});
  python.stdin.on("error", () => {}); // told by the answer that does not come
  // It ends when its input does: with this process, which it must not keep alive.
  python.unref();
  /** @type {unknown[]} */
  const pipes = [python.stdin, python.stdout];
  for (const pipe of pipes) /** @type {import("node:net").Socket} */ (pipe).unref();

  return async (/** @type {Buffer} */ pcm) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(pcm.length);
    python.stdin.write(Buffer.concat([length, pcm]));
    const { value, done } = await Promise.race([lines.next(), failed]);
    if (done) throw new Error("PocketSphinx ended: see its message above");
    return String(JSON.parse(value).text);
  };
}
