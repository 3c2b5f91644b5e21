// The line to the server, over one WebSocket after the other: who we are to it, what it can do, whether it still answers.
// Knows no DOM and no media, and does not decide when there is to be another WebSocket.

import { Heartbeat, ServerClock } from "./clock.js";
import { Signalling, socketUrl } from "./signalling.js";

/** The newest wire protocol that this client speaks. */
const PROTOCOL = 1;
/** When the network may have changed, or the media are lost, a server that does not answer by then is not there. */
const ANSWER_MS = 1_500;
/** Of the WebSockets that were given up, how many are left open. */
const MAX_ABANDONED = 4;

/**
 * @typedef {object} Listener
 * @property {(config: {resumed: boolean, keepsPeer: boolean}) => void} welcome
 * @property {(reason: string) => void} foreign the server speaks a protocol that is newer than ours
 * @property {(message: any) => void} message any but `config`, `clock` and `ping`
 * @property {(end: import("./signalling.js").End) => void} closed
 * @property {() => void} alive the server answers
 * @property {() => void} silent it does not
 * @property {(text: string) => void} warn
 */

export class Link {
  clock = new ServerClock();
  /** The id that the server gave us. @type {string | null} */ peerId = null;
  /** @type {RTCIceServer[]} */ iceServers = [];
  /** Of the wire protocol: what this server has. @type {string[]} */ #extensions = [];
  /** With this the next WebSocket is the same peer. */
  #resumeToken = "";

  /** @type {Signalling | null} */ #signalling = null;
  /** Those before it, which the server may still take for alive. */
  /** @type {Signalling[]} */ #abandoned = [];
  /** @type {Heartbeat | null} */ #heartbeat = null;
  /** @type {{url: string, token?: string | undefined}} */ #server;
  /** @type {Listener} */ #listener;

  /** @param {{url: string, token?: string | undefined}} server @param {Listener} listener */
  constructor(server, listener) {
    this.#server = server;
    this.#listener = listener;
  }

  /**
   * Opens a WebSocket in the place of any other.
   * @throws for an address that no WebSocket can have
   */
  open() {
    this.abandon();
    const { url, token } = this.#server;
    this.#signalling = new Signalling(socketUrl(url, { token, resume: this.#resumeToken }), {
      message: (message) => this.#receive(message),
      closed: (end) => {
        this.#heartbeat?.close();
        this.#listener.closed(end);
      },
      warn: this.#listener.warn,
    });
  }

  /** @param {object} message lost while no WebSocket is open */
  send(message) {
    this.#signalling?.send(message);
  }

  /** @param {Record<string, number | string>} data for a server that wants to know */
  report(data) {
    if (this.#extensions.includes("statistics")) this.send({ type: "statistics", data });
  }

  /** Whether only another WebSocket brings credentials for TURN that are still good. */
  get isExpired() {
    return areExpired(this.iceServers, this.clock.at(performance.now()) ?? Date.now());
  }

  /** Finds out whether the server answers; one that cannot be asked is taken at its word. */
  look() {
    if (this.#heartbeat) this.#heartbeat.look(ANSWER_MS);
    else this.#listener.alive();
  }

  /** Hears the WebSocket no more; the peer lives on. */
  abandon() {
    this.#heartbeat?.close();
    this.#heartbeat = null;
    if (this.#signalling?.abandon()) this.#abandoned.push(this.#signalling);
    this.#signalling = null;
    // Each took the place of the one before it: the server hears the oldest no more.
    while (this.#abandoned.length > MAX_ABANDONED) this.#abandoned.shift()?.close();
  }

  /** Ends the peer, if the server can be told; if not, the next connection is to take its place over. */
  close() {
    if (this.#signalling?.isOpen) this.#resumeToken = "";
    this.abandon();
    this.#closeAbandoned();
    this.clock.forget();
    this.peerId = null;
    this.iceServers = [];
    this.#extensions = [];
  }

  #closeAbandoned() {
    for (const signalling of this.#abandoned.splice(0)) signalling.close();
  }

  /** @param {any} message */
  #receive(message) {
    if (message.type === "config") this.#welcome(message.peerId ?? null, message.data ?? {});
    else if (message.type === "clock") this.#heartbeat?.answer(message.data ?? {});
    else this.#listener.message(message);
  }

  /** @param {string | null} peerId @param {any} config */
  #welcome(peerId, { iceServers = [], protocol = 0, extensions = [], resumeToken, resumed }) {
    if (protocol > PROTOCOL) {
      return this.#listener.foreign(
        `the server speaks protocol ${protocol}, and this client ${PROTOCOL}`,
      );
    }
    // The server has taken the new WebSocket in their place.
    this.#closeAbandoned();
    this.peerId = peerId;
    this.iceServers = iceServers;
    this.#extensions = extensions;
    this.#resumeToken = resumeToken ?? "";
    if (!resumed) this.clock.forget();
    this.#heartbeat?.close();
    this.#heartbeat = extensions.includes("clock") ? this.#beat() : null;
    const keepsPeer = extensions.includes("resume");
    this.#listener.welcome({ resumed: resumed === true, keepsPeer });
  }

  #beat() {
    return new Heartbeat(this.clock, {
      send: (message) => this.send(message),
      alive: () => this.#listener.alive(),
      silent: () => this.#listener.silent(),
    });
  }
}

/**
 * Credentials of coturn's REST scheme say until when they are good: seconds since 1970, before the first ":" of the name.
 * @param {RTCIceServer[]} iceServers
 * @param {number} now in ms since 1970
 */
export function areExpired(iceServers, now) {
  return iceServers.some(({ username = "" }) => {
    // Fewer digits are no time of today, but part of a name.
    const until = /^(\d{10,}):/.exec(username)?.[1];
    return until !== undefined && Number(until) * 1000 <= now;
  });
}
