// The handle of `programs/server.mjs`: a process that runs nothing but the server and its renderers.

import { join } from "node:path";
import { ROOT } from "../../scripts/run.mjs";
import { start, stop, within } from "./process.mjs";

/**
 * @typedef {object} ServerOptions
 * @property {"JPEG" | "RGBA"} [format] of the pushed pictures, JPEG
 * @property {number} [maxClients] of each system, 100
 * @property {number} [systems] avatars in the process, 1
 * @property {string} [host] address of signalling and media, 127.0.0.1
 * @property {number} [networkThreads] `webrtc.networkThreads`; the engine's default otherwise
 * @property {boolean} [subscribe] whether somebody listens to the microphones
 * @property {boolean} [watchLoop] whether the delay of the event loop is measured, which itself costs about 1 % of a core
 */

/** No server lives longer than the longest measurement. */
const LIFETIME_SECONDS = 900;

export class Server {
  #child;
  /** One of each system. @type {string[]} */
  urls = [];

  /** @param {import("node:child_process").ChildProcess} child */
  constructor(child) {
    this.#child = child;
  }

  /**
   * @param {ServerOptions} [options]
   * @param {import("./namespaces.mjs").Namespace} [namespace]
   */
  static async start(options = {}, namespace) {
    const program = join(ROOT, "bench", "programs", "server.mjs");
    const child = start(
      process.execPath,
      ["--expose-gc", program, JSON.stringify({ host: namespace?.address, ...options })],
      { seconds: LIFETIME_SECONDS, namespace, stdio: ["ignore", "inherit", "inherit", "ipc"] },
    );
    const server = new Server(child);
    server.urls = (await server.#reply()).urls;
    return server;
  }

  get url() {
    return /** @type {string} */ (this.urls[0]);
  }

  get pid() {
    return /** @type {number} */ (this.#child.pid);
  }

  /**
   * @param {"begin" | "report" | "pause" | "collect" | "utterances"} question
   * @returns {Promise<any>}
   */
  ask(question) {
    const reply = this.#reply();
    this.#child.send({ ask: question });
    return reply;
  }

  stop() {
    const child = this.#child;
    return stop(child, () => child.connected && child.disconnect());
  }

  /** @returns {Promise<any>} */
  #reply() {
    const child = this.#child;
    /** @type {() => void} */
    let onExit = () => {};
    const reply = new Promise((resolve, reject) => {
      onExit = () => reject(new Error("the server ended"));
      child.once("exit", onExit).once("message", resolve);
    });
    return within(reply, 30, "an answer of the server").finally(() => child.off("exit", onExit));
  }
}
