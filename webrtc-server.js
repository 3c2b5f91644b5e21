// The signalling server and its peers.

const { coded, construct, invalid, isObject, json } = require("./lib/arguments.js");
const { CONNECT, CONNECTED, IS_HEARD, SOURCE } = require("./lib/connection.js");
const { LABEL, LISTENERS_CHANGED, TypedEmitter, emit, fail, warn } = require("./lib/emitter.js");
const { NativeServer } = require("./lib/native.js");

/** What microphones are decoded for, as the native half tells it apart. */
const HEARD = [["incoming-audio"], ["utterance"], ["speech-start", "speech-end"]];
/** What of it a server only passes on to its bridge. */
const PASSED_ON = ["utterance", "speech-start", "speech-end"];

/** The bridge behind a listener of a server that only passes on. */
const forwards = new WeakMap();

class WebRTCStreamingServer extends TypedEmitter {
  #native;
  /** Which of `HEARD` somebody listens to: what the engine was told last. */
  #listening = HEARD.map(() => false);
  #bridges = new WeakSet();
  /** "stopped", "starting", "started" or "stopping". */
  #state = "stopped";
  /** The start or stop under way: the next stop waits for it. */
  #change = Promise.resolve();

  constructor(config) {
    super();
    this.#native = construct(NativeServer, "webrtc", config);
  }

  get port() {
    return this.#native.port;
  }

  get udpPort() {
    return this.#native.udpPort ?? null;
  }

  get tcpPort() {
    return this.#native.tcpPort ?? null;
  }

  async start() {
    if (this.#state === "stopping") await this.#change;
    if (this.#state !== "stopped") {
      throw coded(
        new Error("already started: call stop() before starting again"),
        "ERR_ALREADY_STARTED",
      );
    }
    this.#state = "starting";
    this.#change = this.#listen();
    await this.#change;
  }

  async stop() {
    if (this.#state === "starting") await this.#change.catch(() => {});
    if (this.#state === "started") {
      this.#state = "stopping";
      this.#change = this.#close();
    }
    if (this.#state === "stopping") await this.#change;
  }

  getPeers() {
    return JSON.parse(this.#native.peers()).map((known) => this.#peer(known));
  }

  getPeerStats(peerId) {
    const told = this.#native.peerStats(String(peerId));
    if (told == null) return null;
    const { receivedAt, ...statistics } = JSON.parse(told);
    return { ...statistics, receivedAt: new Date(receivedAt) };
  }

  getPeerCount() {
    return this.#native.peerCount();
  }

  getDroppedEvents() {
    return this.#native.droppedEvents();
  }

  getNetworkStats() {
    return JSON.parse(this.#native.networkStats());
  }

  getViewers() {
    return this.#native.viewers();
  }

  getMicrophoneUsage() {
    return this.#native.microphoneUsage();
  }

  async doctor() {
    return JSON.parse(await this.#native.examine());
  }

  sendAnswer(peerId, answer) {
    const known = this.#native.sendAnswer(String(peerId), json("answer", answer));
    if (!known) warn(this, `cannot send an answer: unknown peer ${peerId}`);
    return known;
  }

  sendIceCandidate(peerId, candidate) {
    const known = this.#native.sendIceCandidate(String(peerId), json("candidate", candidate));
    if (!known) warn(this, `cannot send an ICE candidate: unknown peer ${peerId}`);
    return known;
  }

  broadcast(message) {
    if (!isObject(message)) throw invalid("message", "an object", message);
    this.#native.broadcast(json("message", message));
  }

  sendCommand(peerId, command, data = {}) {
    if (typeof command !== "string") throw invalid("command", "a string", command);
    return this.#native.sendCommand(String(peerId), command, json("data", data));
  }

  disconnectPeer(peerId, reason = "closed by the application") {
    return this.#native.disconnectPeer(String(peerId), String(reason));
  }

  muteMicrophone(peerId, muted = true) {
    return this.#native.muteMicrophone(String(peerId), muted === true);
  }

  get [LABEL]() {
    return "[WebRTCStreamingServer]";
  }

  /** Our listeners come before any that might throw. */
  [CONNECT](bridge) {
    // A server streams the bridge that was connected last, be it for the second time.
    this.#native.attach(bridge[SOURCE]);
    if (this.#bridges.has(bridge)) return;
    this.#bridges.add(bridge);
    bridge[CONNECTED](this);
    const hear = (chunk) => bridge.handleIncomingAudio(chunk);
    forwards.set(hear, bridge);
    bridge.prependListener("video-frame", (frame) => emit(this, "media-video-frame", frame));
    bridge.prependListener("audio-chunk", (chunk) => emit(this, "media-audio-chunk", chunk));
    this.prependListener("incoming-audio", hear);
    for (const event of PASSED_ON) {
      const passOn = (what) => emit(bridge, event, what);
      forwards.set(passOn, bridge);
      this.prependListener(event, passOn);
    }
  }

  /** Has microphones decoded for whoever listens, here or to a connected bridge, and for nobody else. */
  [LISTENERS_CHANGED]() {
    const listening = HEARD.map((events) => events.some((event) => this.#isHeard(event)));
    if (listening.every((is, at) => is === this.#listening[at])) return;
    this.#listening = listening;
    this.#native.setListening(...listening);
  }

  #isHeard(event) {
    return this.listeners(event).some(
      (listener) => forwards.get(listener)?.[IS_HEARD](event) ?? true,
    );
  }

  async #listen() {
    try {
      const { port, code, message } = await this.#native.start(() => this.#deliver());
      if (code) throw coded(new Error(message), code);
      this.#state = "started";
      emit(this, "started", { port });
    } catch (error) {
      this.#state = "stopped";
      if (this.listenerCount("error") > 0) emit(this, "error", error);
      throw error;
    }
  }

  #peer({ createdAt, token, ...rest }) {
    const peer = { ...rest, createdAt: new Date(createdAt) };
    // Not enumerable: a peer is compared, copied and logged as the data that it is, and a token is nobody else's business.
    return Object.defineProperties(peer, {
      muteMicrophone: { value: (muted) => this.muteMicrophone(peer.id, muted) },
      ...(token !== undefined && { token: { value: token } }),
    });
  }

  async #close() {
    try {
      await this.#native.stop();
    } finally {
      this.#state = "stopped";
    }
    this.#deliver();
    emit(this, "stopped");
  }

  #deliver() {
    for (const event of this.#native.takeEvents()) {
      const payload = JSON.parse(event.payload);
      switch (event.name) {
        case "warning":
          warn(this, payload);
          break;
        case "error":
          fail(this, coded(new Error(payload), "ERR_STREAMING_SERVER"));
          break;
        case "peer-connected":
          emit(this, event.name, this.#peer(payload));
          break;
        case "incoming-audio":
        case "utterance":
          emit(this, event.name, { ...payload, data: event.data });
          break;
        default:
          emit(this, event.name, payload);
      }
    }
  }
}

function createWebRTCServer(config) {
  return new WebRTCStreamingServer(config);
}

module.exports = { WebRTCStreamingServer, createWebRTCServer };
