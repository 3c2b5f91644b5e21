// The JavaScript face of the engine: EventEmitters over the native handles of `binding.js`.
//
//   StreamingSystem = MediaBridge (what is pushed) -> WebRTCStreamingServer (who watches)
//
// The invariant: no listener's exception, no pushed content and nothing that a browser sends can make an
// engine call fail; and nothing here keeps the process alive but a server that listens.

const { EventEmitter } = require("node:events");
const { types } = require("node:util");
const { NativeServer, NativeSource } = require("./binding.js");

/** The native half of each bridge, for the servers that it is connected to. */
const sources = new WeakMap();

/** What microphones are decoded for. */
const HEARD = ["incoming-audio", "utterance"];

/** The bridge behind a listener of a server that only passes on. */
const forwards = new WeakMap();

const LISTENERS_CHANGED = Symbol("listeners changed");

/**
 * An EventEmitter that is told of each change of its listeners. Not by `newListener` and `removeListener`, which
 * `removeAllListeners` takes away. `once` and its like end up here as well.
 */
class ObservedEmitter extends EventEmitter {
  on(event, listener) {
    super.on(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  addListener(event, listener) {
    return this.on(event, listener);
  }

  prependListener(event, listener) {
    super.prependListener(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  removeListener(event, listener) {
    super.removeListener(event, listener);
    this[LISTENERS_CHANGED]();
    return this;
  }

  off(event, listener) {
    return this.removeListener(event, listener);
  }

  removeAllListeners(...event) {
    super.removeAllListeners(...event);
    this[LISTENERS_CHANGED]();
    return this;
  }
}

// ---------------------------------------------------------------------------------------------- MediaBridge

class MediaBridge extends ObservedEmitter {
  #native;
  #servers = new Set();

  constructor(config) {
    super();
    this.#native = construct(NativeSource, config);
    sources.set(this, this.#native);
  }

  /** Of `connectMediaBridge`. */
  static connected(bridge, server) {
    bridge.#servers.add(server);
  }

  /** Whether `event` reaches anybody. */
  static isHeard(bridge, event) {
    const isTaken = bridge.handleIncomingAudio !== MediaBridge.prototype.handleIncomingAudio;
    return bridge.listenerCount(event) > 0 || (event === "incoming-audio" && isTaken);
  }

  [LISTENERS_CHANGED]() {
    for (const server of this.#servers) server[LISTENERS_CHANGED]();
  }

  get isStreaming() {
    return this.#native.isStreaming;
  }

  async start() {
    if (!this.#native.start(() => this.#deliver())) {
      console.warn("[MediaBridge] already started");
      return;
    }
    emit(this, "started");
  }

  async stop() {
    if (!this.#native.stop()) return;
    this.#deliver();
    emit(this, "stopped");
  }

  // Not `async`: everything happens inside the call, so that `data` is free as soon as it returns.
  pushVideoFrame(frame) {
    const { data, width, height, timestamp, format } = fields(frame);
    const drop = this.#native.pushVideo(
      bytes(data),
      number(width),
      number(height),
      number(timestamp),
      name(format, "RGBA"),
      Date.now(),
    );
    return this.#pushed("video-frame", frame, drop);
  }

  pushAudioChunk(chunk) {
    const { data, sampleRate, channels, timestamp, format } = fields(chunk);
    const drop = this.#native.pushAudio(
      bytes(data),
      number(sampleRate),
      number(channels),
      number(timestamp),
      name(format, "PCM"),
      Date.now(),
    );
    return this.#pushed("audio-chunk", chunk, drop);
  }

  handleIncomingAudio(chunk) {
    emit(this, "incoming-audio", chunk);
  }

  getMetrics() {
    return this.#native.metrics(Date.now());
  }

  resetMetrics() {
    this.#native.resetMetrics();
  }

  #pushed(event, media, drop) {
    if (drop) this.#deliver();
    if (drop?.reason !== "not-started") emit(this, event, media);
    return Promise.resolve(drop ? { status: "dropped", ...drop } : { status: "queued" });
  }

  #deliver() {
    for (const { payload } of this.#native.takeEvents()) warn(this, JSON.parse(payload));
  }
}

// ------------------------------------------------------------------------------------ WebRTCStreamingServer

class WebRTCStreamingServer extends ObservedEmitter {
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
    this.#native = construct(NativeServer, config);
  }

  get port() {
    return this.#native.port;
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
    return JSON.parse(this.#native.peers()).map(peer);
  }

  getPeerCount() {
    return this.#native.peerCount();
  }

  getDroppedEvents() {
    return this.#native.droppedEvents();
  }

  getNetworkStats() {
    return this.#native.networkStats();
  }

  getMicrophoneUsage() {
    return this.#native.microphoneUsage();
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

  /** Of `connectMediaBridge`. Ours come before any listener that might throw. */
  static connect(server, bridge) {
    // A server streams the bridge that was connected last, be it for the second time.
    server.#native.attach(sources.get(bridge));
    if (server.#bridges.has(bridge)) return;
    server.#bridges.add(bridge);
    MediaBridge.connected(bridge, server);
    const hear = (chunk) => bridge.handleIncomingAudio(chunk);
    const understand = (utterance) => emit(bridge, "utterance", utterance);
    forwards.set(hear, bridge).set(understand, bridge);
    bridge.prependListener("video-frame", (frame) => emit(server, "media-video-frame", frame));
    bridge.prependListener("audio-chunk", (chunk) => emit(server, "media-audio-chunk", chunk));
    server.prependListener("incoming-audio", hear);
    server.prependListener("utterance", understand);
  }

  /** Has microphones decoded for whoever listens, here or to a connected bridge, and for nobody else. */
  [LISTENERS_CHANGED]() {
    const listening = HEARD.map((event) =>
      this.listeners(event).some((listener) => {
        const bridge = forwards.get(listener);
        return bridge === undefined || MediaBridge.isHeard(bridge, event);
      }),
    );
    if (listening.every((is, at) => is === this.#listening[at])) return;
    this.#listening = listening;
    this.#native.setListening(...listening);
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
          emit(this, event.name, peer(payload));
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

// ------------------------------------------------------------------------------------------ StreamingSystem

class StreamingSystem {
  #change = Promise.resolve();

  constructor(server, bridge) {
    this.server = server;
    this.bridge = bridge;
  }

  start() {
    return this.#next(async () => {
      if (this.server.port !== null && this.bridge.isStreaming) {
        console.warn("[StreamingSystem] already started");
        return;
      }
      if (this.server.port === null) await this.server.start();
      if (!this.bridge.isStreaming) await this.bridge.start();
    });
  }

  stop() {
    return this.#next(async () => {
      await this.bridge.stop();
      await this.server.stop();
    });
  }

  getStatus() {
    const { port } = this.server;
    return {
      isRunning: port !== null && this.bridge.isStreaming,
      port,
      peerCount: this.server.getPeerCount(),
      metrics: this.bridge.getMetrics(),
      network: this.server.getNetworkStats(),
      droppedEvents: this.server.getDroppedEvents(),
    };
  }

  [Symbol.asyncDispose]() {
    return this.stop();
  }

  /** One start or stop after the other, in the order of the calls. */
  #next(step) {
    const done = this.#change.then(step);
    this.#change = done.catch(() => {});
    return done;
  }
}

async function createStreamingSystem(config) {
  if (config !== undefined && config !== null && !isObject(config)) {
    throw invalid("config", "an object", config);
  }
  const server = new WebRTCStreamingServer(config?.webrtc);
  const bridge = new MediaBridge(config?.media);
  connectMediaBridge(bridge, server);
  await server.start();
  return new StreamingSystem(server, bridge);
}

function createWebRTCServer(config) {
  return new WebRTCStreamingServer(config);
}

function createMediaBridge(config) {
  return new MediaBridge(config);
}

function connectMediaBridge(bridge, server) {
  if (!(bridge instanceof MediaBridge)) throw invalid("bridge", "a MediaBridge", bridge);
  if (!(server instanceof WebRTCStreamingServer)) {
    throw invalid("server", "a WebRTCStreamingServer", server);
  }
  WebRTCStreamingServer.connect(server, bridge);
}

module.exports = {
  createStreamingSystem,
  WebRTCStreamingServer,
  createWebRTCServer,
  MediaBridge,
  createMediaBridge,
  connectMediaBridge,
};

// --------------------------------------------------------------------------------------------------- events

/** Emits; a listener that throws is reported and never reaches the engine. */
function emit(emitter, event, ...payload) {
  try {
    emitter.emit(event, ...payload);
  } catch (error) {
    console.error(`${label(emitter)} a listener of "${event}" threw:`, error);
  }
}

/** To who listens to `warning`, or else to the console. */
function warn(emitter, text) {
  if (emitter.listenerCount("warning") > 0) emit(emitter, "warning", text);
  else console.warn(`${label(emitter)} ${text}`);
}

/** An `error` that nobody listens to would end the process: the log gets it instead. */
function fail(emitter, error) {
  if (emitter.listenerCount("error") > 0) emit(emitter, "error", error);
  else console.error(`${label(emitter)} ${error.message}`);
}

function label(emitter) {
  return emitter instanceof MediaBridge ? "[MediaBridge]" : "[WebRTCStreamingServer]";
}

// ------------------------------------------------------------------------------------ what callers may pass

const NO_FIELDS = Object.freeze({});

/** The fields of a pushed object; those of something that has none, or that throws, are undefined. */
function fields(media) {
  try {
    const { data, width, height, sampleRate, channels, timestamp, format } = media;
    return { data, width, height, sampleRate, channels, timestamp, format };
  } catch {
    return NO_FIELDS;
  }
}

/** The bytes of a Buffer, of any other view or of an ArrayBuffer; null for all else, detached ones too. */
function bytes(data) {
  try {
    if (ArrayBuffer.isView(data)) {
      const view = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      // Another thread may write to shared memory while we read it: read a copy.
      return types.isSharedArrayBuffer(data.buffer) ? view.slice() : view;
    }
    return types.isArrayBuffer(data) ? new Uint8Array(data) : null;
  } catch {
    return null;
  }
}

function number(value) {
  return typeof value === "number" ? value : Number.NaN;
}

/** A format that is no string gets a name that no format has. */
function name(format, missing) {
  return typeof format === "string" ? format : format == null ? missing : "";
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` as JSON text that loses nothing silently. */
function json(option, value) {
  try {
    return JSON.stringify(value, describe) ?? "null";
  } catch (error) {
    throw invalid(option, "something that JSON can carry", value, error);
  }
}

/** What JSON would turn into null or leave out becomes a text that says what it was. */
function describe(_key, value) {
  switch (typeof value) {
    case "number":
      return Number.isFinite(value) ? value : String(value);
    case "string":
      return value.toWellFormed();
    case "bigint":
      return `${value}n`;
    case "symbol":
      return String(value);
    case "function":
      return `function ${value.name || "(anonymous)"}`;
    default:
      return value;
  }
}

/** A native object made with `config`; its complaint about an option is a TypeError. */
function construct(Native, config) {
  const option = Native === NativeServer ? "webrtc" : "media";
  const text = json(option, config);
  try {
    return new Native(text);
  } catch (error) {
    throw coded(new TypeError(error.message), error.code);
  }
}

function invalid(option, expected, received, cause) {
  const kind = received === null ? "null" : Array.isArray(received) ? "an array" : typeof received;
  const shown = kind === "string" ? JSON.stringify(received) : kind;
  const message = `invalid value for \`${option}\`: expected ${expected}, received ${shown}`;
  return coded(new TypeError(message, { cause }), "ERR_INVALID_ARG_VALUE");
}

function coded(error, code) {
  return Object.assign(error, { code });
}

function peer({ createdAt, ...rest }) {
  return { ...rest, createdAt: new Date(createdAt) };
}
