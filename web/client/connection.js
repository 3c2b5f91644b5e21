// One RTCPeerConnection and all that hangs on it: offer and answer, candidates, ICE restarts, the control channel, what is
// played when. Knows no DOM and no socket: messages come in and go out, and somebody else decides when it is lost.

import { delayPlayout, keepTogether, Playing, withPlayoutDelay } from "./lip-sync.js";
import { Playout } from "./playout.js";
import { parse } from "./signalling.js";

/** @typedef {import("../avatar-client.js").LogLevel} LogLevel */

/** Candidates kept before the answer; a browser's peer has a handful. */
const MAX_EARLY_CANDIDATES = 100;

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
 * @property {MediaStreamTrack | null} microphone sent from the start
 * @property {(message: object) => void} send
 * @property {(state: RTCPeerConnectionState) => void} changed
 * @property {(reason: string) => void} failed a message of the server cannot be used, or no offer can be made
 * @property {(type: "stream" | "command" | "interrupt" | "cue" | "message", detail: unknown) => void} emit
 * @property {(level: LogLevel, text: string) => void} log
 */

/** Closes for good, once. After that no event of its peer connection is heard. */
export class Connection {
  stream = new MediaStream();
  /** @type {RTCPeerConnection} */ pc;
  /** @type {RTCDataChannel} */ channel;
  playing = new Playing();
  /** @type {RTCRtpSender} */ #microphoneSender;
  /** @type {RTCRtpReceiver} */ #pictures;

  #closing = new AbortController();
  /** @type {Promise<void>} */ #closed = new Promise((resolve) => {
    this.#closing.signal.addEventListener("abort", () => resolve());
  });
  /** @type {Owner} */ #owner;
  /** Steps are taken one after the other: an answer is applied before the candidates that follow it. */
  #steps = Promise.resolve();
  /** @type {RTCIceCandidateInit[]} */ #earlyCandidates = [];
  /** @type {Playout} */ #playout;

  /** @param {RTCConfiguration} configuration @param {Owner} owner */
  constructor(configuration, owner) {
    this.#owner = owner;
    const pc = new RTCPeerConnection(configuration);
    this.pc = pc;
    this.#listen();
    this.channel = pc.createDataChannel("avatar-control");
    this.#listenToChannel();
    const video = pc.addTransceiver("video", { direction: "recvonly" });
    // sendrecv from the start, so that the microphone needs no renegotiation later.
    const audio = pc.addTransceiver(owner.microphone ?? "audio", { direction: "sendrecv" });
    this.#microphoneSender = audio.sender;
    this.#pictures = video.receiver;
    for (const { receiver } of [video, audio]) delayPlayout(receiver, 0);
    this.#playout = new Playout(pc, this.playing.device, owner.emit);
    keepTogether(pc, this.playing, this.#closing.signal).catch(() => {});
  }

  close() {
    this.#closing.abort();
    this.#playout.close();
    this.channel.close();
    this.pc.close();
  }

  /** Offers it to the server. */
  offer() {
    this.#step("the offer", () => this.#offer());
  }

  /**
   * Looks for a new way to the server, over the same DTLS association (RFC 8445, 2.4).
   * @param {RTCIceServer[]} iceServers credentials may have run out
   */
  restartIce(iceServers) {
    this.#step("the ICE restart", async () => {
      this.pc.setConfiguration?.({ ...this.pc.getConfiguration(), iceServers });
      this.pc.restartIce();
      this.#earlyCandidates = [];
      await this.#offer();
    });
  }

  /** @param {any} message of the server: `offer`, `answer`, `ice-candidate`, `interrupt` or `cues` */
  handle({ type, data }) {
    this.#step(type, async () => {
      switch (type) {
        case "offer":
          return this.#acceptOffer(data);
        case "answer":
          return this.#applyRemote(data);
        case "ice-candidate":
          return this.#addCandidate(data);
        case "interrupt":
          return this.#playout.interrupt(data ?? {});
        case "cues":
          return this.#playout.add(data);
      }
    });
  }

  /** @param {MediaStreamTrack | null} track */
  async setMicrophone(track) {
    // A connection that closes meanwhile leaves replaceTrack pending for ever; the next one takes the track with it.
    await Promise.race([this.#microphoneSender.replaceTrack(track), this.#closed]);
  }

  /** @param {string} what @param {() => Promise<void>} step */
  #step(what, step) {
    const { signal } = this.#closing;
    this.#steps = this.#steps
      .then(() => (signal.aborted ? undefined : step()))
      .catch((error) => {
        if (!signal.aborted) this.#owner.failed(`${what} failed: ${describe(error)}`);
      });
  }

  async #offer() {
    const { pc } = this;
    const offer = await pc.createOffer();
    const edited = {
      type: offer.type,
      sdp: withPlayoutDelay(withStereoOpus(offer.sdp ?? ""), this.#pictures),
    };
    // A browser that refuses an edited description gets its own back, and decodes mono.
    const sent = await pc.setLocalDescription(edited).then(
      () => edited,
      () => pc.setLocalDescription(offer).then(() => ({ type: offer.type, sdp: offer.sdp })),
    );
    if (!this.#closing.signal.aborted) this.#owner.send({ type: "offer", data: sent });
  }

  #listen() {
    const { pc, stream } = this;
    const { signal } = this.#closing;
    pc.addEventListener(
      "icecandidate",
      ({ candidate }) => {
        if (!candidate?.candidate) return;
        this.#owner.send({ type: "ice-candidate", data: candidate.toJSON() });
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
    const changed = () => this.#owner.changed(pc.connectionState);
    pc.addEventListener("connectionstatechange", changed, { signal });
  }

  #listenToChannel() {
    const { channel } = this;
    const { signal } = this.#closing;
    const opened = () => this.#owner.log("info", "Control channel open.");
    channel.addEventListener("open", opened, { signal });
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
    if (this.pc.signalingState !== "stable") {
      return this.#owner.log("warn", "Ignored an offer that crossed ours.");
    }
    await this.#applyRemote(offer);
    await this.pc.setLocalDescription();
    this.#owner.send({ type: "answer", data: this.pc.localDescription?.toJSON() });
  }

  /** @param {RTCSessionDescriptionInit} description */
  async #applyRemote(description) {
    const before = this.stream.getTracks().length;
    await this.pc.setRemoteDescription(description);
    // The "track" events of a description come before it resolves: picture and sound are announced together.
    if (this.stream.getTracks().length > before)
      this.#owner.emit("stream", { stream: this.stream });
    for (const candidate of this.#earlyCandidates.splice(0)) await this.#addCandidate(candidate);
  }

  /** @param {RTCIceCandidateInit} candidate */
  async #addCandidate(candidate) {
    // Those of an ICE restart wait for its answer as well.
    if (!this.pc.remoteDescription || this.pc.signalingState === "have-local-offer") {
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
}

/** @param {unknown} error */
export function describe(error) {
  return error instanceof Error ? error.message : String(error);
}
