// The synthesiser: text to speech. XTTS over HTTP, or eSpeak NG on this machine.
//
//   POST {XTTS_URL}/synthesize   JSON: { "text": "…", "language": "en" }
//   200                          a WAV file of 16-bit PCM, of any sample rate (XTTS: 24 kHz mono)

import { execFile } from "node:child_process";
import { parseWav } from "../support.mjs";
import { post } from "./remote.mjs";

/**
 * @callback Synthesise
 * @param {string} text a sentence
 * @param {AbortSignal} [signal]
 * @returns {Promise<import("../support.mjs").Sound>}
 */

/** @returns {Synthesise} */
export function synthesiser(url = process.env.XTTS_URL) {
  return url ? xtts(url) : espeak;
}

/**
 * @param {string} url
 * @returns {Synthesise}
 */
function xtts(url) {
  const service = { name: "XTTS", url, variable: "XTTS_URL" };
  return async (text, signal) => {
    const response = await post(service, "/synthesize", { text, language: "en" }, signal);
    return parseWav(Buffer.from(await response.arrayBuffer()), `What XTTS at ${url} answered`);
  };
}

/** @type {Synthesise} */
function espeak(text, signal) {
  return new Promise((resolve, reject) => {
    const voice = ["-v", "en-us+f2", "-s", "150"]; // a woman, as in the portrait; words a minute
    const speaking = execFile(
      "espeak-ng",
      [...voice, "--stdin", "--stdout"],
      { encoding: "buffer", maxBuffer: 2 ** 26, signal },
      (error, wav) => {
        try {
          if (error) throw error;
          resolve(parseWav(wav, "What espeak-ng wrote"));
        } catch (failure) {
          reject(signal?.aborted ? signal.reason : failure);
        }
      },
    );
    speaking.stdin?.on("error", () => {}); // told by the exit code
    speaking.stdin?.end(text);
  });
}
