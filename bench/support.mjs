// What the measurements share: the machine, quantiles, child processes that cannot outlive their time.

import { fork, spawn } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fail, output, ROOT, run } from "../scripts/run.mjs";

/** @typedef {{ what: string, measured: string, aim: string, values: unknown }} Row `values` holds each repetition */

export const machine = () => ({
  cores: cpus().length,
  model: cpus()[0]?.model.trim() ?? "unknown",
  load: loadavg().map((load) => Number(load.toFixed(2))),
  node: process.version,
});

/**
 * @param {number[]} values
 * @param {number} share 0 to 1
 * @returns {number} the nearest value
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN;
}

/**
 * The better and the worse of the repetitions, as text. Less is better.
 * @param {number[]} values
 * @param {number} [digits]
 */
export function range(values, digits = 1) {
  const [best, worst] = [Math.min(...values), Math.max(...values)].map((v) => v.toFixed(digits));
  return best === worst ? `${best}` : `${best} to ${worst}`;
}

/**
 * Runs `measure` so many times, one after the other.
 * @template T
 * @param {number} times
 * @param {() => Promise<T>} measure
 * @returns {Promise<T[]>}
 */
export async function repeat(times, measure) {
  const results = [];
  for (let n = 0; n < times; n++) results.push(await measure());
  return results;
}

/** Where cargo puts release programs. */
function releaseFolder() {
  const metadata = output("cargo", ["metadata", "--format-version=1", "--no-deps"]);
  return join(JSON.parse(metadata ?? "{}").target_directory ?? join(ROOT, "target"), "release");
}

/** Builds the native programs. */
export function buildPrograms() {
  const built =
    run("cargo", ["build", "--release", "-p", "avatar-viewer"]) &&
    run("cargo", ["build", "--release", "-p", "avatar-core", "--examples"]);
  if (!built) fail("The native programs could not be built: correct the error above");
}

/**
 * Runs a release program that prints JSON; it is killed when its time is over.
 * @param {string} program below cargo's release folder
 * @param {(string | number)[]} args
 * @param {number} seconds at most
 * @returns {Promise<any>}
 */
export async function nativeJson(program, args, seconds) {
  const child = spawn(join(releaseFolder(), program), args.map(String), {
    stdio: ["ignore", "pipe", "inherit"],
    timeout: seconds * 1000,
    killSignal: "SIGKILL",
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject).once("close", (...end) => resolve(end));
  });
  if (text === "") throw new Error(`${program} printed nothing (exit ${code ?? signal})`);
  return JSON.parse(text);
}

/**
 * `avatar-viewer` against a server on this machine.
 * @param {string} url
 * @param {number} count
 * @param {number} seconds to watch after the last one connected
 */
export function watch(url, count, seconds) {
  const args = ["--url", url, "--count", count, "--seconds", seconds, "--json"];
  return nativeJson("avatar-viewer", args, seconds + 60);
}

/** A process that runs nothing but the server and a renderer: `server.mjs`. */
export class Server {
  #child;
  url = "";

  /** @param {import("node:child_process").ChildProcess} child */
  constructor(child) {
    this.#child = child;
  }

  /** @param {{ format?: "JPEG" | "RGBA", maxClients?: number }} [options] */
  static async start(options = {}) {
    const child = fork(join(ROOT, "bench", "server.mjs"), [JSON.stringify(options)]);
    const server = new Server(child);
    server.url = (await server.#reply()).url;
    return server;
  }

  /**
   * @param {{ ask: "mark" | "report" | "peers" | "utterances" }} question
   * @returns {Promise<any>}
   */
  ask(question) {
    const reply = this.#reply();
    this.#child.send(question);
    return reply;
  }

  /**
   * Resolves once so many peers are connected.
   * @param {number} count
   */
  async until(count) {
    const deadline = performance.now() + 60_000;
    while ((await this.ask({ ask: "peers" })).connected < count) {
      if (performance.now() > deadline) throw new Error(`no ${count} peers within a minute`);
      await delay(100);
    }
  }

  stop() {
    const child = this.#child;
    return /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
        child.once("exit", () => {
          clearTimeout(timer);
          resolve();
        });
        if (child.connected) child.disconnect();
      })
    );
  }

  /** @returns {Promise<any>} */
  #reply() {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("the server does not answer")), 20_000);
      const onExit = () => reject(new Error("the server ended"));
      child.once("exit", onExit).once("message", (reply) => {
        clearTimeout(timer);
        child.off("exit", onExit);
        resolve(reply);
      });
    });
  }
}

/** @param {number} ms */
export const delay = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
