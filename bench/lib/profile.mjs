// Where the CPU goes: `perf record` on a process, each sample sorted by thread and symbols.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { isInstalled, output } from "../../scripts/run.mjs";
import { ended, start } from "./process.mjs";

/** A prime, so that it does not beat with the timers of 30 and 50 Hz that are looked at. */
const SAMPLES_PER_SECOND = 997;

/** Works on virtual machines too, which often have no hardware counters. */
const EVENT = "cpu-clock";

/** The system calls in a kernel stack, outermost reason first. @type {[RegExp, string][]} */
const SYSTEM_CALLS = [
  [/sys_send(m?msg|to)/, "send"],
  [/sys_recv(m?msg|from)/, "receive"],
  [/sys_(epoll|futex|poll|ppoll|nanosleep|clock_nanosleep|timerfd|eventfd|write|read)/, "timers"],
];

/** User code of the network threads. @type {[RegExp, string][]} */
const NETWORK = [
  [/gcm|ghash|aes|poly1305|chacha|seal/i, "seal"],
  [/timer|timeout|BinaryHeap|Instant|clock_gettime|vdso/i, "timers"],
  [/recv|receive|decrypt|stun|rtcp|dtls|sctp|Agent|handle_|deliver|settle/i, "receive"],
];

/** User code of the encoders' threads. @type {[RegExp, string][]} */
const ENCODE = [[/yuv|rgba|jpeg|jsimd|tj[A-Z]|convert|memcpy|memmove/i, "conversion"]];

/** @returns {string | undefined} why there is no profile here */
export function whyNoProfile() {
  if (!isInstalled("perf")) return "no perf (Debian: linux-perf)";
  const probe = ["record", "-q", "-e", EVENT, "-o", "/dev/null", "--", "true"];
  return output("perf", probe) === undefined
    ? "perf may not record here (kernel.perf_event_paranoid)"
    : undefined;
}

/**
 * Samples a process for some seconds.
 * @param {number} pid
 * @param {number} seconds
 * @returns {Promise<Record<string, number>>} the share of each category in all samples, 0 to 1
 */
export async function profile(pid, seconds) {
  const folder = mkdtempSync(join(tmpdir(), "avatar-bench-"));
  try {
    const file = join(folder, "perf.data");
    const frequency = String(SAMPLES_PER_SECOND);
    const record = start(
      "perf",
      [
        "record",
        "-q",
        "-g",
        "-e",
        EVENT,
        "-F",
        frequency,
        "-p",
        pid,
        "-o",
        file,
        "--",
        "sleep",
      ].concat(String(seconds)),
      { seconds: seconds + 30, stdio: "ignore" },
    );
    await ended(record);
    return await categories(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {string} file */
async function categories(file) {
  const script = start("perf", ["script", "-i", file, "-F", "comm,ip,sym"], {
    seconds: 60,
    stdio: ["ignore", "pipe", "ignore"],
  });
  /** @type {Record<string, number>} */
  const counts = {};
  let total = 0;
  if (!script.stdout) throw new Error("unreachable");
  for await (const { thread, symbols } of samples(createInterface({ input: script.stdout }))) {
    const category = classify(thread, symbols);
    counts[category] = (counts[category] ?? 0) + 1;
    total++;
  }
  return Object.fromEntries(
    Object.entries(counts)
      .map(([name, count]) => /** @type {[string, number]} */ ([name, count / total]))
      .sort(([, a], [, b]) => b - a),
  );
}

/**
 * The samples in what `perf script` prints: the thread's name, its stack from the innermost frame on, an empty
 * line.
 * @param {AsyncIterable<string>} lines
 */
export async function* samples(lines) {
  let thread = "";
  /** @type {string[]} */
  let symbols = [];
  for await (const line of lines) {
    if (line.trim() === "") {
      if (thread) yield { thread, symbols };
      thread = "";
      symbols = [];
    } else if (/^\s/.test(line)) {
      symbols.push(line.trim().replace(/^[0-9a-f]+ /, ""));
    } else {
      thread = line.trim();
    }
  }
  if (thread) yield { thread, symbols };
}

/**
 * What a sample was about. The kernel's part goes to the system call that it was in, the rest to the innermost
 * symbol: release builds keep no frame pointers, so that outer frames of user code are not to be trusted.
 * @param {string} thread
 * @param {string[]} symbols innermost first
 */
export function classify(thread, symbols) {
  const inner = symbols[0] ?? "";
  const first = (/** @type {[RegExp, string][]} */ table, /** @type {string} */ text) =>
    table.find(([pattern]) => pattern.test(text))?.[1];
  const call = symbols.map((symbol) => first(SYSTEM_CALLS, symbol)).find(Boolean);
  if (thread.startsWith("avatar-network")) return call ?? first(NETWORK, inner) ?? "fan-out";
  if (/^avatar-(encode|playout|media)/.test(thread)) {
    return call ? "timers" : (first(ENCODE, inner) ?? "encode");
  }
  if (thread.startsWith("avatar-microphone")) return "microphones";
  if (thread.startsWith("avatar-signal")) return "signalling";
  return "JavaScript and push";
}
