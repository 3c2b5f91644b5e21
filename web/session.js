// One try to reach the avatar: a WebSocket and an RTCPeerConnection that live and die together. Knows no DOM,
// and nothing of other tries: `AvatarClient` decides whether there is to be another.

import { keepTogether } from "./lip-sync.js";
import { Playout } from "./playout.js";

/** @typedef {import("./avatar-client.js").LogLevel} LogLevel */

/** A try that has not connected by then is given up. */
const ATTEMPT_MS = 15_000;
/** ICE often recovers by itself from "disconnected"; after this long it rarely does. */
const GRACE_MS = 5_000;
/** Candidates kept before the answer; a browser's peer has a handful. */
const MAX_EARLY_CANDIDATES = 100;

/**
 * What a peer connection's state means for the try it belongs to.
 * @param {RTCPeerConnectionState} state
 * @returns {"established" | "lost" | "grace" | "wait"} `grace`: lost, unless it recovers within 5 s
 */
export function judge(state) {
  switch (state) {
    case "connected":
      return "established";
    case "failed":
    case "closed":
      return "lost";
    case "disconnected":
      return "grace";
    default:
      return "wait";
  }
}

/**
 * Asks for stereo: without `stereo=1` in the receiver's own description a browser decodes Opus to mono (RFC 7587, 6.1).
 * @param {string} sdp
 * @returns {string}
 */
export function withStereoOpus(sdp) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000/gim)].map((match) => match[1]);
  const parameters = new RegExp(`^(a=fmtp:(?:${opus.join("|")}) )(?!.*\\bstereo=)(.*)$`, "gm");
  return opus.length > 0 ? sdp.replace(parameters, "$1$2;stereo=1") : sdp;
}

/**
 * @typedef {object} Owner
 * @property {() => MediaStreamTrack | null} microphone
 * @property {() => void} established
 * @property {(reason: string, serverFull: boolean) => void} lost called at most once, and never after `close()`
 * @property {(type: "stream" | "command" | "interrupt" | "cue" | "message" | "error", detail: unknown) => void} emit
 * @property {(level: LogLevel, text: string) => void} log
 */

/** One try: closes for good, once. After that no event of its socket or peer connection is heard. */
export class Session {
  /** @type {string | null} */ peerId = null;
  stream = new MediaStream();
  /** @type {RTCPeerConnection | null} */ pc = null;
  /** @type {RTCDataChannel | null} */ channel = null;
  /** @type {RTCRtpSender | null} */ microphoneSender = null;

  #listening = new AbortController();
  /** @type {Promise<void>} */ ended = new Promise((resolve) => {
    this.#listening.signal.addEventListener("abort", () => resolve());
  });
  /** @type {Owner} */ #owner;
  /** @type {WebSocket} */ #socket;
  /** Messages are handled one after the other: an answer is applied before the candidates that follow it. */
  #handled = Promise.resolve();
  /** @type {RTCIceCandidateInit[]} */ #earlyCandidates = [];
  #serverFull = false;
  /** @type {Playout | null} */ #playout = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #attemptTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #graceTimer;

  /** @param {string} url @param {Owner} owner */
  constructor(url, owner) {
    this.#owner = owner;
    this.#socket = new WebSocket(url);
    this.#attemptTimer = setTimeout(() => this.#lose("no connection within 15 s"), ATTEMPT_MS);
    const { signal } = this.#listening;
    this.#socket.addEventListener("message", (event) => this.#receive(event.data), { signal });
    this.#socket.addEventListener(
      "close",
      (event) => this.#lose(closeReason(event, this.peerId !== null)),
      { signal },
    );
  }

  close() {
    clearTimeout(this.#attemptTimer);
    clearTimeout(this.#graceTimer);
    this.#listening.abort();
    this.#socket.close();
    this.#playout?.close();
    this.channel?.close();
    this.pc?.close();
  }

  /** @param {string} reason */
  #lose(reason) {
    if (this.#closed) return;
    this.#owner.lost(this.#serverFull ? "the server is full" : reason, this.#serverFull);
  }

  get #closed() {
    return this.#listening.signal.aborted;
  }

  /** @param {object} message */
  #send(message) {
    if (!this.#closed && this.#socket.readyState === WebSocket.OPEN)
      this.#socket.send(JSON.stringify(message));
  }

  /** @param {unknown} text */
  #receive(text) {
    const message = parse(text);
    if (!message)
      return this.#owner.log("warn", "The server sent something that is not a JSON object.");
    this.#handled = this.#handled
      .then(() => (this.#closed ? undefined : this.#handle(message)))
      .catch((error) => this.#lose(`${message.type} failed: ${describe(error)}`));
  }

  /** @param {any} message */
  async #handle(message) {
    switch (message.type) {
      case "config":
        this.peerId = message.peerId ?? null;
        return this.pc ? undefined : this.#offer(message.data ?? {});
      case "offer":
        return this.#acceptOffer(message.data);
      case "answer":
        return this.#applyRemote(message.data);
      case "ice-candidate":
        return this.#addCandidate(message.data);
      case "interrupt":
        return this.#playout?.interrupt(message.data ?? {});
      case "cues":
        return this.#playout?.add(message.data);
      case "ping":
        return this.#send({ type: "pong" });
      case "error":
        return this.#complain(String(message.error ?? "unknown error"));
      default:
        this.#owner.emit("message", { source: "signalling", data: message });
    }
  }

  /** @param {{iceServers?: RTCIceServer[]}} config */
  async #offer({ iceServers = [] }) {
    const pc = new RTCPeerConnection({ iceServers });
    this.pc = pc;
    const device = { ms: 0, delay: 0, samples: 0 };
    // A browser without these statistics is left to itself.
    keepTogether(pc, device, this.#listening.signal).catch(() => {});
    this.#playout = new Playout(pc, device, (type, detail) => this.#owner.emit(type, detail));
    this.#listen(pc);
    this.#openChannel(pc.createDataChannel("avatar-control"));

    const video = pc.addTransceiver("video", { direction: "recvonly" });
    // sendrecv from the start, so that the microphone needs no renegotiation later.
    const audio = pc.addTransceiver(this.#owner.microphone() ?? "audio", { direction: "sendrecv" });
    this.microphoneSender = audio.sender;
    for (const { receiver } of [video, audio]) askForLowDelay(receiver);

    const offer = await pc.createOffer();
    if (this.#closed) return;
    const stereo = { type: offer.type, sdp: withStereoOpus(offer.sdp ?? "") };
    // A browser that refuses an edited description gets its own back, and decodes mono.
    const sent = await pc.setLocalDescription(stereo).then(
      () => stereo,
      () => pc.setLocalDescription(offer).then(() => ({ type: offer.type, sdp: offer.sdp })),
    );
    this.#send({ type: "offer", data: sent });
    this.#owner.log("info", `Offer sent as peer ${this.peerId ?? "without an id"}.`);
  }

  /** @param {RTCPeerConnection} pc */
  #listen(pc) {
    const { signal } = this.#listening;
    const { stream } = this;
    pc.addEventListener(
      "icecandidate",
      ({ candidate }) => {
        if (candidate?.candidate) this.#send({ type: "ice-candidate", data: candidate.toJSON() });
      },
      { signal },
    );
    pc.addEventListener(
      "track",
      ({ track }) => {
        stream.addTrack(track);
        this.#owner.log("info", `Receiving ${track.kind}.`);
      },
      { signal },
    );
    pc.addEventListener("connectionstatechange", () => this.#follow(pc.connectionState), {
      signal,
    });
  }

  /** @param {RTCPeerConnectionState} state */
  #follow(state) {
    clearTimeout(this.#graceTimer);
    switch (judge(state)) {
      case "established":
        clearTimeout(this.#attemptTimer);
        return this.#owner.established();
      case "lost":
        return this.#lose(`the peer connection ${state}`);
      case "grace":
        this.#owner.log("warn", "The media connection is interrupted; waiting for it to recover.");
        this.#graceTimer = setTimeout(() => this.#lose("no media connection for 5 s"), GRACE_MS);
    }
  }

  /** @param {RTCDataChannel} channel */
  #openChannel(channel) {
    this.channel = channel;
    const { signal } = this.#listening;
    channel.addEventListener("open", () => this.#owner.log("info", "Control channel open."), {
      signal,
    });
    channel.addEventListener(
      "message",
      ({ data }) => {
        const message = parse(data);
        if (typeof message?.command === "string") {
          this.#owner.emit("command", { command: message.command, data: message.data });
        } else {
          this.#owner.emit("message", { source: "data-channel", data: message ?? data });
        }
      },
      { signal },
    );
  }

  /** @param {RTCSessionDescriptionInit} offer the server's wish to renegotiate */
  async #acceptOffer(offer) {
    if (!this.pc) return;
    if (this.pc.signalingState !== "stable") {
      return this.#owner.log("warn", "Ignored an offer that crossed ours.");
    }
    await this.#applyRemote(offer);
    await this.pc.setLocalDescription();
    this.#send({ type: "answer", data: this.pc.localDescription?.toJSON() });
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #applyRemote(description) {
    if (!this.pc) return;
    const before = this.stream.getTracks().length;
    await this.pc.setRemoteDescription(description);
    // The "track" events of a description come before it resolves: picture and sound are announced together.
    if (this.stream.getTracks().length > before)
      this.#owner.emit("stream", { stream: this.stream });
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#addCandidate(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async #addCandidate(candidate) {
    if (!this.pc?.remoteDescription) {
      if (this.#earlyCandidates.length < MAX_EARLY_CANDIDATES)
        this.#earlyCandidates.push(candidate);
      return;
    }
    try {
      await this.pc.addIceCandidate(candidate);
    } catch (error) {
      // One bad candidate of several does not end the connection.
      this.#owner.log("warn", `Ignored a candidate: ${describe(error)}`);
    }
  }

  /** @param {string} text the server's own words */
  #complain(text) {
    if (/^server full/i.test(text)) this.#serverFull = true;
    this.#owner.log("error", `Server: ${text}`);
    this.#owner.emit("error", { message: text });
  }
}

/**
 * Plays what arrives as soon as it can be decoded. `playoutDelayHint` (s) is Chromium's older name.
 * @param {RTCRtpReceiver} receiver
 */
function askForLowDelay(receiver) {
  const name = "jitterBufferTarget" in receiver ? "jitterBufferTarget" : "playoutDelayHint";
  if (name in receiver) Object.assign(receiver, { [name]: 0 });
}

/** @param {unknown} text @returns {any} the JSON object in it, or null */
function parse(text) {
  try {
    const value = JSON.parse(String(text));
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** @param {CloseEvent} event @param {boolean} wasOpen */
function closeReason({ code, reason }, wasOpen) {
  if (reason) return `the server closed the connection (${reason})`;
  if (code !== 1006) return "the server closed the connection";
  return wasOpen ? "the connection to the server broke" : "the server cannot be reached";
}

/** @param {unknown} error */
export function describe(error) {
  return error instanceof Error ? error.message : String(error);
}
