// The avatar's viewer: a connection that keeps itself alive. Knows no DOM but the video element that `watch` is given.
// Its parts are in client/:
//   link.js, signalling.js, clock.js      the line to the server: one WebSocket after the other, and the server's clock
//   connection.js, lip-sync.js, playout.js  one RTCPeerConnection, and what of it is played when
//   recovery.js, steps.js, situation.js   the rules: when to open, offer, restart ICE, give up
//   monitor.js, snapshot.js, statistics.js, latency.js  readings
//   surroundings.js                       signs that the network may be another one

import { Connection, describe } from "./client/connection.js";
import { Link } from "./client/link.js";
import { Monitor } from "./client/monitor.js";
import { recover } from "./client/recovery.js";
import { signallingUrl } from "./client/signalling.js";
import { atRest, deadline } from "./client/situation.js";
import { onNewSurroundings } from "./client/surroundings.js";

export { signallingUrl };

/** @typedef {"idle" | "connecting" | "connected" | "reconnecting" | "disconnected" | "failed"} ClientState */
/**
 * What is wrong. `no-media-path`: signalling works, but no packet of the media gets through; `refused`: the
 * server's application has turned this viewer away.
 * @typedef {"unreachable" | "server-full" | "no-media-path" | "no-shared-codec" | "version-mismatch" | "no-webrtc" |
 *   "bad-address" | "refused"} Problem
 */
/** @typedef {"info" | "warn" | "error"} LogLevel */
/** @typedef {import("./client/situation.js").Happening} Happening */
/** @typedef {import("./client/situation.js").Action} Action */

/**
 * @typedef {object} Options
 * @property {string} url of the signalling server: ws: or wss:
 * @property {string} [token] for the server's application, sent as the query `token`
 * @property {MediaStream | MediaStreamTrack | null} [microphone] as for `setMicrophone`
 * @property {RTCIceTransportPolicy} [iceTransportPolicy] "relay": by way of TURN servers only
 * @property {(level: LogLevel, text: string) => void} [log]
 */

/**
 * A connection to the avatar that keeps itself alive.
 *
 * Events (CustomEvent, `detail` in braces):
 * - `state` {state, previous, reason, problem, retryInMs}: `problem` is a code, null for what has none (of `refused`
 *   the reason is the server's own words, if it gave any); `retryInMs` while
 *   waiting for the next try, else null
 * - `stream` {stream}: a MediaStream with the avatar's picture and sound; again when a new connection replaces the old one
 * - `stats` {metrics}: once a second while connected; see `Metrics` in statistics.js
 * - `command` {command, data}: what the server sent over the data channel
 * - `cue` {data}: what the server's application has happen at this moment of the sound
 * - `interrupt` {}: the avatar was cut off; what of its voice is still buffered is not heard
 * - `message` {source: "signalling" | "data-channel", data}: anything else that the server sent
 * - `error` {message}: the server's complaints and failures to connect
 * - `log` {level, text}
 */
export class AvatarClient extends EventTarget {
  /** @type {Options} */ #options;
  #situation = atRest();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** What happened while something else was being dealt with. */
  /** @type {Happening[]} */ #happenings = [];
  #isDealing = false;

  /** @type {Link} */ #link;
  /** @type {Connection | null} */ #connection = null;
  /** @type {MediaStreamTrack | null} */ #microphone;
  /** @type {Monitor} */ #monitor;
  #surroundings = new AbortController();

  /** @param {Options} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#microphone = audioTrackOf(options.microphone ?? null);
    this.#link = new Link(options, {
      welcome: (config) => this.#happen({ type: "config", ...config }),
      foreign: (reason) => this.#cannot("version-mismatch", reason),
      message: (message) => this.#receive(message),
      closed: (end) => this.#happen({ type: "closed", ...end }),
      alive: () => this.#happen({ type: "alive", isExpired: this.#link.isExpired }),
      silent: () => this.#happen({ type: "silent" }),
      warn: (text) => this.#log("warn", text),
    });
    this.#monitor = new Monitor(this.#link.clock, {
      heard: () => this.#happen({ type: "heard" }),
      measured: (metrics) => {
        if (this.state === "connected") this.#emit("stats", { metrics });
      },
      report: (data) => this.#link.report(data),
    });
  }

  get state() {
    return this.#situation.state;
  }

  /** The id that the server gave this connection, or null. */
  get peerId() {
    return this.#link.peerId;
  }

  /** The avatar's picture and sound (without a track until the server has answered), or null without a connection. */
  get stream() {
    return this.#connection?.stream ?? null;
  }

  get peerConnection() {
    return this.#connection?.pc ?? null;
  }

  /** Connects, and stays connected until `disconnect()`. While waiting for the next try, tries at once. */
  connect() {
    this.#surroundings.abort();
    this.#surroundings = new AbortController();
    onNewSurroundings(() => this.#happen({ type: "look" }), this.#surroundings.signal);
    this.#happen({ type: "connect" });
  }

  /** Ends the connection, or the attempts to get one. */
  disconnect() {
    this.#happen({ type: "disconnect" });
  }

  /**
   * Sends this to the avatar as the microphone, also after a reconnection. The caller owns the track
   * and stops it.
   * @param {MediaStream | MediaStreamTrack | null} source null for silence
   */
  async setMicrophone(source) {
    this.#microphone = audioTrackOf(source);
    await this.#connection?.setMicrophone(this.#microphone);
  }

  /**
   * Which element shows the stream: what is measured is what it shows.
   * @param {HTMLVideoElement | null} video
   */
  watch(video) {
    this.#monitor.watch(video);
  }

  /**
   * Sends `{command, data}` over the data channel.
   * @param {string} command
   * @param {unknown} [data]
   * @returns {boolean} false when the channel is not open, and nothing was sent
   */
  sendCommand(command, data = {}) {
    const channel = this.#connection?.channel;
    if (channel?.readyState !== "open") return false;
    channel.send(JSON.stringify({ command, data }));
    return true;
  }

  /** @param {Happening} event */
  #happen(event) {
    this.#happenings.push(event);
    if (this.#isDealing) return;
    this.#isDealing = true;
    try {
      for (let next = this.#happenings.shift(); next; next = this.#happenings.shift()) {
        const { situation, actions } = recover(this.#situation, next, performance.now());
        this.#situation = situation;
        for (const action of actions) this.#act(action);
      }
    } finally {
      this.#isDealing = false;
    }
    clearTimeout(this.#timer);
    const ms = deadline(this.#situation) - performance.now();
    if (ms < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(() => this.#happen({ type: "time" }), Math.max(0, Math.ceil(ms)));
  }

  /** @param {Action} action */
  #act(action) {
    switch (action.do) {
      case "open":
        return this.#open();
      case "abandon":
        return this.#link.abandon();
      case "offer":
        return this.#offer();
      case "restart":
        return this.#connection?.restartIce(this.#link.iceServers);
      case "look":
        return this.#link.look();
      case "drop":
        this.#drop();
        // The next WebSocket takes the peer over from this one; without that it is to end with it.
        return this.#situation.keepsPeer ? this.#link.abandon() : this.#link.close();
      case "end":
        this.#surroundings.abort();
        this.#drop();
        return this.#link.close();
      case "log":
        return this.#log(action.level, action.text);
      case "tell": {
        const { do: _, ...detail } = action;
        this.#emit("state", detail);
      }
    }
  }

  #open() {
    this.#log("info", `Connecting to ${this.#options.url}`);
    if (typeof RTCPeerConnection === "undefined")
      return this.#cannot("no-webrtc", "this browser has no WebRTC");
    try {
      this.#link.open();
    } catch (error) {
      // A malformed address, or ws: from an https: page: trying again would change nothing.
      this.#cannot("bad-address", describe(error));
    }
  }

  /** @param {Problem} problem @param {string} reason */
  #cannot(problem, reason) {
    this.#emit("error", { message: reason });
    this.#log("error", `Cannot connect: ${reason}`);
    this.#happen({ type: "unusable", reason, problem });
  }

  #offer() {
    this.#drop();
    const { iceTransportPolicy = "all" } = this.#options;
    const { iceServers, peerId } = this.#link;
    const failed = (/** @type {string} */ reason) => this.#happen({ type: "failed", reason });
    try {
      const connection = new Connection(
        { iceServers, iceTransportPolicy },
        {
          microphone: this.#microphone,
          send: (message) => this.#link.send(message),
          changed: (state) => this.#happen({ type: "media", state }),
          failed,
          emit: (type, detail) => this.#emit(type, detail),
          log: (level, text) => this.#log(level, text),
        },
      );
      this.#connection = connection;
      this.#log("info", `Offering as peer ${peerId ?? "without an id"}.`);
      connection.offer();
      this.#monitor.start(connection);
    } catch (error) {
      failed(`the server's configuration cannot be used: ${describe(error)}`);
    }
  }

  #drop() {
    this.#monitor.stop();
    this.#connection?.close();
    this.#connection = null;
  }

  /** @param {any} message */
  #receive(message) {
    switch (message.type) {
      case "offer":
      case "answer":
      case "ice-candidate":
      case "interrupt":
      case "cues":
        return this.#connection?.handle(message);
      case "error":
        return this.#complain(String(message.error ?? "unknown error"), message.code ?? null);
      default:
        this.#emit("message", { source: "signalling", data: message });
    }
  }

  /** @param {string} text the server's own words @param {string | null} code */
  #complain(text, code) {
    this.#log("error", `Server: ${text}`);
    this.#emit("error", { message: text });
    this.#happen({ type: "refused", reason: text, code });
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {LogLevel} level @param {string} text */
  #log(level, text) {
    this.#options.log?.(level, text);
    this.#emit("log", { level, text });
  }
}

/** @param {MediaStream | MediaStreamTrack | null} source */
function audioTrackOf(source) {
  return source && "getAudioTracks" in source ? (source.getAudioTracks()[0] ?? null) : source;
}
