// The microphone to a recogniser (Whisper, …): each utterance becomes a WAV file.
//   node examples/recogniser.mjs [FOLDER] [--port N] [--seconds N]
// With RECOGNISER_CMD set, that command gets the path of each file, and what it prints is shown:
//   RECOGNISER_CMD='whisper-cli -m model.bin -nt -np -f' node examples/recogniser.mjs

import { execFile } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { levelDb, options, startSystem, untilStopped, wavFile } from "./support.mjs";

const { port, seconds, positionals } = options();
const folder = positionals[0] ?? mkdtempSync(join(tmpdir(), "utterances-"));
await mkdir(folder, { recursive: true });
const command = process.env.RECOGNISER_CMD;

const stopped = untilStopped(seconds); // from the start on, so that Ctrl-C always ends it cleanly
const system = await startSystem(port);
console.log(`Utterances are written to ${folder}. Switch the microphone on and speak`);

let count = 0;
/** Utterances are recognised one after the other, in the order in which they were spoken. */
let queue = Promise.resolve();

system.bridge.on("utterance", (utterance) => {
  const path = join(folder, `${String(++count).padStart(3, "0")}.wav`);
  queue = queue
    .then(() => recognise(path, utterance))
    .catch((error) => console.error(error.message));
});

/**
 * @param {string} path
 * @param {import("./support.mjs").Sound & { durationMs: number }} utterance
 */
async function recognise(path, utterance) {
  await writeFile(path, wavFile(utterance));
  const length = (utterance.durationMs / 1000).toFixed(1);
  console.log(`${path}: ${length} s, ${levelDb(utterance.data).toFixed(0)} dB`);
  if (!command) return;
  const { stdout } = await promisify(execFile)("sh", ["-c", `${command} "$1"`, "sh", path]);
  console.log(`  ${stdout.trim()}`);
}

await stopped;
await system.stop();
await queue;
