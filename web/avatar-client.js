// The avatar's viewer: a connection that keeps itself alive. Knows no DOM. One `Session` is one try;
// `AvatarClient` owns at most one at a time, and decides when there is to be another.

import { describe, Session } from "./session.js";

/** @typedef {"idle" | "connecting" | "connected" | "reconnecting" | "disconnected" | "failed"} ClientState */
/** @typedef {"connect" | "established" | "lost" | "disconnect" | "unusable"} ClientEvent */
/** @typedef {"info" | "warn" | "error"} LogLevel */

/** The port that `createStreamingSystem` signals on unless told otherwise. */
const DEFAULT_PORT = 8081;
/** Connected for this long, the next loss starts again with the shortest delay. */
const STABLE_MS = 5_000;
const BACKOFF = { firstMs: 500, factor: 1.7, longestMs: 10_000, jitter: 0.2 };

/**
 * How long to wait before the next try.
 * @param {number} attempt tries that failed since the last good connection, from 0
 * @param {{serverFull?: boolean, random?: number}} [options] `serverFull` asks for the longest delay; `random` is in [0, 1)
 * @returns {number} ms; jittered by 20 %, and at most 10 s with the jitter
 */
export function reconnectDelay(attempt, { serverFull = false, random = Math.random() } = {}) {
  const longest = BACKOFF.longestMs / (1 + BACKOFF.jitter);
  const delay = serverFull
    ? longest
    : Math.min(longest, BACKOFF.firstMs * BACKOFF.factor ** attempt);
  return Math.round(delay * (1 + BACKOFF.jitter * (2 * random - 1)));
}

/**
 * The client's state after an event. Only `connect` leaves a state of rest.
 * @param {ClientState} state
 * @param {ClientEvent} event
 * @returns {ClientState}
 */
export function nextState(state, event) {
  const active = state === "connecting" || state === "connected" || state === "reconnecting";
  switch (event) {
    case "connect":
      return active ? state : "connecting";
    case "established":
      return active ? "connected" : state;
    case "lost":
      return active ? "reconnecting" : state;
    case "disconnect":
      return state === "idle" ? "idle" : "disconnected";
    case "unusable":
      return active ? "failed" : state;
  }
}

/**
 * The signalling address for a page: `?server=` (`ws://host:port` or `host:port`), else the page's own
 * folder when the signalling server served it, else port 8081 of the same host.
 * @param {string} page the page's address
 * @param {boolean} servedBySignalling
 * @returns {string} a ws: or wss: URL
 */
export function signallingUrl(page, servedBySignalling) {
  const url = new URL(page);
  const scheme = url.protocol === "https:" ? "wss:" : "ws:";
  const given = url.searchParams.get("server")?.trim();
  if (given) {
    return /^[a-z]+:\/\//i.test(given) ? given.replace(/^http/i, "ws") : `${scheme}//${given}`;
  }
  if (servedBySignalling) return `${scheme}//${url.host}${new URL(".", url).pathname}`;
  return `${scheme}//${url.hostname || "localhost"}:${DEFAULT_PORT}/`;
}

/**
 * A connection to the avatar that keeps itself alive.
 *
 * Events (CustomEvent, `detail` in braces):
 * - `state` {state, previous, reason, retryInMs}: `retryInMs` while waiting for the next try, else null
 * - `stream` {stream}: a MediaStream with the avatar's picture and sound; again after a reconnection
 * - `command` {command, data}: what the server sent over the data channel
 * - `cue` {data}: what the server's application has happen at this moment of the sound
 * - `interrupt` {}: the avatar was cut off; what of its voice is still buffered is not heard
 * - `message` {source: "signalling" | "data-channel", data}: anything else that the server sent
 * - `error` {message}: the server's complaints and failures to connect
 * - `log` {level, text}
 */
export class AvatarClient extends EventTarget {
  /** @type {string} */ #url;
  /** @type {((level: LogLevel, text: string) => void) | undefined} */ #sink;
  /** @type {ClientState} */ #state = "idle";
  /** @type {Session | null} */ #session = null;
  /** @type {MediaStreamTrack | null} */ #microphone = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retryTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #stableTimer;
  /** Tries lost since the connection was last good. */
  #attempt = 0;

  /** @param {{url: string, log?: (level: LogLevel, text: string) => void}} options */
  constructor({ url, log }) {
    super();
    this.#url = url;
    this.#sink = log;
  }

  get state() {
    return this.#state;
  }

  /** The id that the server gave this connection, or null. */
  get peerId() {
    return this.#session?.peerId ?? null;
  }

  /** The avatar's picture and sound (without a track until the server has answered), or null without a connection. */
  get stream() {
    return this.#session?.stream ?? null;
  }

  get peerConnection() {
    return this.#session?.pc ?? null;
  }

  /** Connects, and stays connected until `disconnect()`. While waiting for the next try, tries at once. */
  connect() {
    if (this.#session) return;
    clearTimeout(this.#retryTimer);
    if (this.#state !== "reconnecting") this.#attempt = 0;
    this.#enter("connect");
    this.#open();
  }

  /** Ends the connection, or the attempts to get one. */
  disconnect() {
    this.#close();
    if (nextState(this.#state, "disconnect") !== this.#state) this.#log("info", "Disconnected.");
    this.#enter("disconnect");
  }

  /**
   * Sends this to the avatar as the microphone, also after a reconnection. The caller owns the track
   * and stops it.
   * @param {MediaStream | MediaStreamTrack | null} source null for silence
   */
  async setMicrophone(source) {
    this.#microphone =
      source && "getAudioTracks" in source ? (source.getAudioTracks()[0] ?? null) : source;
    const session = this.#session;
    if (!session?.microphoneSender) return;
    // A connection that closes meanwhile leaves replaceTrack pending for ever; the next one takes the track with it.
    await Promise.race([session.microphoneSender.replaceTrack(this.#microphone), session.ended]);
  }

  /**
   * Sends `{command, data}` over the data channel.
   * @param {string} command
   * @param {unknown} [data]
   * @returns {boolean} false when the channel is not open, and nothing was sent
   */
  sendCommand(command, data = {}) {
    const channel = this.#session?.channel;
    if (channel?.readyState !== "open") return false;
    channel.send(JSON.stringify({ command, data }));
    return true;
  }

  #open() {
    this.#log("info", `Connecting to ${this.#url}`);
    try {
      if (typeof RTCPeerConnection === "undefined") throw new Error("this browser has no WebRTC");
      this.#session = new Session(this.#url, {
        microphone: () => this.#microphone,
        established: () => this.#established(),
        lost: (reason, serverFull) => this.#lost(reason, serverFull),
        emit: (type, detail) => this.#emit(type, detail),
        log: (level, text) => this.#log(level, text),
      });
    } catch (error) {
      // A malformed address, ws: from an https: page, or no WebRTC: trying again would change nothing.
      this.#emit("error", { message: describe(error) });
      this.#log("error", `Cannot connect: ${describe(error)}`);
      this.#enter("unusable", { reason: describe(error) });
    }
  }

  #established() {
    if (this.#state === "connected") return;
    this.#log("info", "Connected.");
    this.#stableTimer = setTimeout(() => {
      this.#attempt = 0;
    }, STABLE_MS);
    this.#enter("established");
  }

  /** @param {string} reason @param {boolean} serverFull */
  #lost(reason, serverFull) {
    this.#close();
    const retryInMs = reconnectDelay(this.#attempt, { serverFull });
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => {
      this.#enter("connect");
      this.#open();
    }, retryInMs);
    this.#log(
      "warn",
      `Connection lost: ${reason}. Next try in ${(retryInMs / 1000).toFixed(1)} s.`,
    );
    this.#enter("lost", { reason, retryInMs });
  }

  #close() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#stableTimer);
    this.#session?.close();
    this.#session = null;
  }

  /** @param {ClientEvent} event @param {{reason?: string, retryInMs?: number}} [detail] */
  #enter(event, { reason, retryInMs } = {}) {
    const previous = this.#state;
    this.#state = nextState(previous, event);
    const trying = event === "connect" && previous === "reconnecting";
    if (this.#state === previous && event !== "lost" && !trying) return;
    this.#emit("state", {
      state: this.#state,
      previous,
      reason: reason ?? null,
      retryInMs: retryInMs ?? null,
    });
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {LogLevel} level @param {string} text */
  #log(level, text) {
    this.#sink?.(level, text);
    this.#emit("log", { level, text });
  }
}
