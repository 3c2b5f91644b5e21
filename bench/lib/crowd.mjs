// The load generator: `avatar-crowd` of crates/viewer. Every viewer has ICE, DTLS and SRTP of its own.

import { ended, jsonLines, release, start, stop, within } from "./process.mjs";

/**
 * @typedef {object} CrowdOptions
 * @property {string[]} urls viewers are dealt out to them in turn
 * @property {number} count viewers
 * @property {number} seconds of watching, once all have a picture
 * @property {number} [joinRate] joins a second, 150
 * @property {number} [decrypt] share of packets that is decrypted and authenticated, `LIGHT.decrypt`
 * @property {number} [inspect] share of viewers whose packets are read and timed, `LIGHT.inspect`
 * @property {number} [decode] viewers that decode their pictures, 0
 * @property {"h264" | "vp8" | "vp9"} [codec]
 * @property {boolean} [waitForOffer] whether the server makes the offer
 * @property {"silent" | "noise" | "speech"} [microphone] none otherwise
 * @property {number} [flood] packets of NACK and PLI that the first viewer sends in a second
 * @property {import("./namespaces.mjs").Namespace} [namespace]
 */

/** What a capacity run asks of the generator: the headers of all, and a sample of the seals. */
export const LIGHT = { decrypt: 1 / 64, inspect: 1 };

/** Half as much: where it finds the same, the generator was not the limit. */
export const HALF = { decrypt: 1 / 128, inspect: 0.5 };

/** As many as come in the first second after a link was posted. */
const JOIN_RATE = 150;

/** From a viewer's start to its first picture; more is a failure of its own. */
const JOIN_SECONDS = 10;

/** For its report and for leaving. */
const LEAVE_SECONDS = 30;

export class Crowd {
  #child;
  #events;
  /** What it saw; rejects if it ends before. @type {Promise<any>} */
  report;
  /** Resolves once all have a picture. @type {Promise<any>} */
  joined;

  /** @param {CrowdOptions} options */
  constructor(options) {
    const { seconds, count, joinRate = JOIN_RATE } = options;
    const joinSeconds = count / joinRate + JOIN_SECONDS + 5;
    this.#child = start(release("avatar-crowd"), commandLine(options), {
      seconds: joinSeconds + seconds + LEAVE_SECONDS,
      namespace: options.namespace,
    });
    this.#events = collect(this.#child);
    this.joined = within(this.#events.joined, joinSeconds, `${count} viewers with a picture`);
    this.report = this.#events.report;
    // Whoever waits for one of them learns of its failure; nobody has to.
    this.joined.catch(() => {});
    this.report.catch(() => {});
  }

  /** Its process ends with its report; this ends one whose report is not waited for. */
  async stop() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await stop(this.#child);
  }
}

/** @param {import("node:child_process").ChildProcess} child */
function collect(child) {
  /** @type {Record<string, { resolve: (event: any) => void, reject: (error: Error) => void }>} */
  const waiting = {};
  const event = (/** @type {string} */ name) =>
    new Promise((resolve, reject) => {
      waiting[name] = { resolve, reject };
    });
  const events = { joined: event("joined"), report: event("report") };
  const read = async () => {
    const end = ended(child);
    for await (const line of jsonLines(child)) waiting[line.event]?.resolve(line);
    const error = new Error(`avatar-crowd ended (${await end})`);
    for (const { reject } of Object.values(waiting)) reject(error);
  };
  read().catch((error) => {
    for (const { reject } of Object.values(waiting)) reject(error);
  });
  return events;
}

/** @param {CrowdOptions} options */
function commandLine(options) {
  const { urls, count, seconds, joinRate = JOIN_RATE, namespace } = options;
  const { decrypt = LIGHT.decrypt, inspect = LIGHT.inspect, decode = 0 } = options;
  return [
    ...urls.flatMap((url) => ["--url", url]),
    ...["--count", count, "--seconds", seconds, "--join-rate", joinRate],
    ...["--connect-timeout", JOIN_SECONDS],
    ...["--decrypt", decrypt, "--inspect", inspect, "--decode", decode, "--json"],
    ...(options.codec ? ["--codec", options.codec] : []),
    ...(options.waitForOffer ? ["--wait-for-offer"] : []),
    ...(options.microphone ? ["--microphone", options.microphone] : []),
    ...(options.flood ? ["--flood", options.flood] : []),
    ...(namespace ? ["--address", namespace.address] : []),
  ];
}
