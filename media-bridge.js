// What the avatar's pictures and speech are pushed into, and where microphones come out.

const {
  bytes,
  coded,
  construct,
  fields,
  invalid,
  isObject,
  json,
  name,
  number,
} = require("./lib/arguments.js");
const { CONNECT, CONNECTED, IS_HEARD, SOURCE } = require("./lib/connection.js");
const { LABEL, LISTENERS_CHANGED, TypedEmitter, emit, warn } = require("./lib/emitter.js");
const { NativeSource } = require("./lib/native.js");
const { WebRTCStreamingServer } = require("./webrtc-server.js");

/** Without a frame for so long, the picture has stalled. */
const STALL_MS = 1000;

/** Characters of JSON in a cue: every viewer is sent each of them. */
const MOST_CUE_LENGTH = 16_384;

class MediaBridge extends TypedEmitter {
  #native;
  #servers = new Set();
  /** What resolves when everything is played. */
  #listening = [];
  /** Runs out when no frame comes; from the first frame on. */
  #stall = null;
  #isStalled = false;

  constructor(config) {
    super();
    const { idleFrames, ...options } = isObject(config) ? config : {};
    this.#native = construct(
      NativeSource,
      "media",
      isObject(config) ? options : config,
      idleLoop(idleFrames),
    );
  }

  get isStreaming() {
    return this.#native.isStreaming;
  }

  async start() {
    if (!this.#native.start(() => this.#deliver())) {
      console.warn(`${this[LABEL]} already started`);
      return;
    }
    emit(this, "started");
  }

  async stop() {
    if (!this.#native.stop()) return;
    clearTimeout(this.#stall);
    this.#stall = null;
    this.#isStalled = false;
    this.#deliver();
    this.#playoutEnded();
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
    if (!drop) this.#frameCame();
    return this.#pushed("video-frame", frame, drop, this.#native.videoWaitsMs);
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
    return this.#pushed("audio-chunk", chunk, drop, this.queuedAudioMs);
  }

  async pushCue(cue) {
    const { at, timestamp, data = null } = isObject(cue) ? cue : {};
    const isTimestamp = at === undefined;
    const time = isTimestamp ? timestamp : at;
    if (typeof time !== "number") {
      throw invalid("cue", "{at, data} or {timestamp, data} with a time in ms", cue);
    }
    const text = json("cue.data", data);
    if (text.length > MOST_CUE_LENGTH) {
      throw coded(
        new RangeError(
          `\`cue.data\` is ${text.length} characters of JSON: at most ${MOST_CUE_LENGTH}`,
        ),
        "ERR_OUT_OF_RANGE",
      );
    }
    const drop = this.#native.pushCue(time, isTimestamp, text);
    return drop ? { status: "dropped", ...drop } : { status: "queued" };
  }

  get queuedAudioMs() {
    return this.#native.queuedAudioMs;
  }

  async interrupt() {
    const cut = this.#native.interrupt();
    this.#playoutEnded();
    return cut;
  }

  waitForPlayout() {
    if (!this.isStreaming || this.queuedAudioMs === 0) return Promise.resolve();
    return new Promise((resolve) => this.#listening.push(resolve));
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

  get [LABEL]() {
    return "[MediaBridge]";
  }

  get [SOURCE]() {
    return this.#native;
  }

  [CONNECTED](server) {
    this.#servers.add(server);
  }

  [IS_HEARD](event) {
    const isTaken = this.handleIncomingAudio !== MediaBridge.prototype.handleIncomingAudio;
    return this.listenerCount(event) > 0 || (event === "incoming-audio" && isTaken);
  }

  [LISTENERS_CHANGED]() {
    for (const server of this.#servers) server[LISTENERS_CHANGED]();
  }

  #frameCame() {
    if (this.#stall) this.#stall.refresh();
    else this.#stall = setTimeout(() => this.#stalled(), STALL_MS).unref();
    if (!this.#isStalled) return;
    this.#isStalled = false;
    emit(this, "video-resumed");
  }

  #stalled() {
    this.#isStalled = true;
    emit(this, "video-stalled");
  }

  #pushed(event, media, drop, queuedMs) {
    if (drop) this.#deliver();
    if (drop?.reason !== "not-started") emit(this, event, media);
    return Promise.resolve(
      drop ? { status: "dropped", ...drop, queuedMs } : { status: "queued", queuedMs },
    );
  }

  #deliver() {
    for (const { name, payload } of this.#native.takeEvents()) {
      if (name === "warning") warn(this, JSON.parse(payload));
      // What was pushed meanwhile goes on.
      else if (this.queuedAudioMs === 0) {
        this.#playoutEnded();
        emit(this, "playout-ended");
      }
    }
  }

  #playoutEnded() {
    for (const resolve of this.#listening.splice(0)) resolve();
  }
}

/** What the native half takes of the `idleFrames` option. */
function idleLoop(frames = []) {
  if (!Array.isArray(frames)) throw invalid("media.idleFrames", "an array of frames", frames);
  return frames.map((frame, at) => {
    const { data, width, height, format } = fields(frame);
    const content = bytes(data);
    if (!content) throw invalid(`media.idleFrames[${at}].data`, "bytes", data);
    return {
      data: content,
      width: number(width),
      height: number(height),
      format: name(format, "RGBA"),
    };
  });
}

function createMediaBridge(config) {
  return new MediaBridge(config);
}

function connectMediaBridge(bridge, server) {
  if (!(bridge instanceof MediaBridge)) throw invalid("bridge", "a MediaBridge", bridge);
  if (!(server instanceof WebRTCStreamingServer)) {
    throw invalid("server", "a WebRTCStreamingServer", server);
  }
  server[CONNECT](bridge);
}

module.exports = { MediaBridge, createMediaBridge, connectMediaBridge };
