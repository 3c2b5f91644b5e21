// Child processes that cannot outlive their time or ours.

import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fail, output, ROOT, run } from "../../scripts/run.mjs";

/** @typedef {import("node:child_process").ChildProcess} ChildProcess */

/** What must be undone when this process ends, however it ends. Synchronous. @type {Set<() => void>} */
const cleanups = new Set();

process.once("exit", () => {
  for (const cleanup of cleanups) cleanup();
});
for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
  process.once(signal, () => process.exit(128));
}

/**
 * @param {() => void} cleanup run at the end of this process, unless the returned function ran it before
 * @returns {() => void}
 */
export function atEnd(cleanup) {
  const once = () => {
    if (cleanups.delete(once)) cleanup();
  };
  cleanups.add(once);
  return once;
}

/** @param {number} ms @returns {Promise<void>} */
export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} seconds
 * @param {string} what for the error
 * @returns {Promise<T>}
 */
export async function within(promise, seconds, what) {
  /** @type {NodeJS.Timeout | undefined} */
  let timer;
  const timeout = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)), seconds * 1000);
  });
  try {
    return await /** @type {Promise<T>} */ (Promise.race([promise, timeout]));
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @typedef {object} Options
 * @property {number} seconds it is killed after so many
 * @property {import("./namespaces.mjs").Namespace} [namespace] the network namespace that it runs in
 * @property {import("node:child_process").StdioOptions} [stdio]
 */

/**
 * @param {string} program
 * @param {(string | number)[]} args
 * @param {Options} options
 */
export function start(
  program,
  args,
  { seconds, namespace, stdio = ["ignore", "pipe", "inherit"] },
) {
  const [command, ...rest] = [...(namespace?.command ?? []), program, ...args.map(String)];
  const child = spawn(/** @type {string} */ (command), rest, {
    cwd: ROOT,
    stdio,
    timeout: Math.ceil(seconds * 1000),
    killSignal: "SIGKILL",
  });
  const kill = atEnd(() => child.kill("SIGKILL"));
  child.once("error", kill).once("exit", kill);
  return child;
}

/**
 * @param {ChildProcess} child
 * @returns {Promise<string>} its exit code or signal
 */
export function ended(child) {
  if (child.exitCode !== null || child.signalCode !== null) {
    return Promise.resolve(String(child.exitCode ?? child.signalCode));
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject).once("exit", (code, signal) => resolve(String(code ?? signal)));
  });
}

/**
 * Ends a child gently, and by force when that takes longer than 10 s.
 * @param {ChildProcess} child
 * @param {() => void} [ask] how; SIGTERM otherwise
 */
export async function stop(child, ask = () => child.kill("SIGTERM")) {
  const end = ended(child);
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  ask();
  await end;
  clearTimeout(timer);
}

/**
 * What a child prints, one JSON value a line.
 * @param {ChildProcess} child
 * @returns {AsyncGenerator<any>}
 */
export async function* jsonLines(child) {
  if (!child.stdout) return;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith("{")) yield JSON.parse(line);
  }
}

/**
 * Runs a program to its end and returns the last JSON value that it printed.
 * @param {string} program
 * @param {(string | number)[]} args
 * @param {Options} options
 * @returns {Promise<any>}
 */
export async function runJson(program, args, options) {
  const child = start(program, args, options);
  const end = ended(child);
  end.catch(() => {});
  let last;
  for await (const value of jsonLines(child)) last = value;
  const status = await end;
  if (last === undefined) throw new Error(`${program} printed nothing (${status})`);
  return last;
}

/** @param {string} name a program of crates/viewer, or an example of crates/core as `examples/NAME` */
export const release = (name) => join(releaseFolder(), name);

/** @type {string | undefined} */
let folder;

/** Where cargo puts release programs. */
function releaseFolder() {
  if (!folder) {
    const metadata = output("cargo", ["metadata", "--format-version=1", "--no-deps"]);
    folder = join(JSON.parse(metadata ?? "{}").target_directory ?? join(ROOT, "target"), "release");
  }
  return folder;
}

/** Builds the native programs. */
export function buildPrograms() {
  const built =
    run("cargo", ["build", "--release", "-p", "avatar-viewer"]) &&
    run("cargo", ["build", "--release", "-p", "avatar-core", "--examples"]);
  if (!built) fail("The native programs could not be built: correct the error above");
}
