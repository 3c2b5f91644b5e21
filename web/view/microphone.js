// A microphone that is switched on and off: its track, its level, and which devices there are. Knows no DOM.

import { microphoneProblem } from "./problems.js";

const PROCESSING = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** Level at which the meter begins: quieter than this is a silent room. */
const METER_FLOOR_DB = -60;
/** The level falls so much in each picture of the screen: slowly enough to be read. It rises at once. */
const METER_FALL = 0.92;

/**
 * Events (CustomEvent, `detail` in braces):
 * - `change` {label}: it was switched on (the device's name), or off (null)
 * - `level` {level}: 0 to 1, with each picture of the screen while it is on
 * - `devices` {devices, current}: what can be chosen, once the browser tells; again when one comes or goes
 * - `problem` {problem}: a code of problems.js
 */
export class Microphone extends EventTarget {
  /** @type {(track: MediaStreamTrack | null) => Promise<void>} */ #send;
  /** @type {{track: MediaStreamTrack, context: AudioContext} | null} */ #open = null;
  /** The device that was chosen; empty for the browser's own choice. */
  #chosen = "";
  /** Counts the wishes: what the browser grants after a newer one is given back. */
  #wish = 0;
  #life = new AbortController();

  /** @param {(track: MediaStreamTrack | null) => Promise<void>} send takes what is to be heard; null for silence */
  constructor(send) {
    super();
    this.#send = send;
    const { signal } = this.#life;
    globalThis.navigator?.mediaDevices?.addEventListener(
      "devicechange",
      () => void this.#tellDevices(),
      { signal },
    );
  }

  get isOn() {
    return this.#open !== null;
  }

  /** Why there cannot be a microphone on this page, known without asking; or null. */
  static get obstacle() {
    return navigator.mediaDevices ? null : /** @type {const} */ ("insecure-context");
  }

  async start() {
    if (Microphone.obstacle) return this.#tell("problem", { problem: Microphone.obstacle });
    this.#wish += 1;
    const wish = this.#wish;
    try {
      const device = this.#chosen && { deviceId: { exact: this.#chosen } };
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: { ...PROCESSING, ...device },
      });
      const [track] = stream.getAudioTracks();
      if (wish !== this.#wish || !track) return track?.stop();
      await this.#use(track, stream);
    } catch (error) {
      if (wish !== this.#wish) return;
      // What was on stays on: only the choice is taken back.
      this.#chosen = this.#open?.track.getSettings().deviceId ?? "";
      this.#tell("problem", { problem: microphoneProblem(error) });
      void this.#tellDevices();
    }
  }

  stop() {
    this.#wish += 1;
    const open = this.#open;
    if (!open) return;
    this.#open = null;
    release(open);
    this.#tell("change", { label: null });
    this.#send(null).catch(() => {}); // The connection has ended, and with it what it sent.
  }

  /** Takes another device, at once if the microphone is on. @param {string} deviceId */
  async choose(deviceId) {
    this.#chosen = deviceId;
    if (this.isOn) await this.start();
  }

  /** Switched off for good. */
  close() {
    this.stop();
    this.#life.abort();
  }

  /** @param {MediaStreamTrack} track @param {MediaStream} stream */
  async #use(track, stream) {
    const before = this.#open;
    const open = { track, context: new AudioContext() };
    this.#open = open;
    track.addEventListener("ended", () => {
      if (this.#open !== open) return;
      this.stop();
      this.#tell("problem", { problem: "microphone-lost" });
    });
    this.#measure(open, stream);
    this.#tell("change", { label: track.label || "default device" });
    void this.#tellDevices();
    await this.#send(track);
    if (before) release(before); // Not sooner: there is no gap when the device is changed.
  }

  /** @param {{context: AudioContext}} open @param {MediaStream} stream */
  #measure(open, stream) {
    const analyser = new AnalyserNode(open.context, { fftSize: 1024 });
    open.context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let level = 0;
    const look = () => {
      if (this.#open !== open) return;
      analyser.getFloatTimeDomainData(samples);
      level = Math.max(levelOf(samples), level * METER_FALL);
      this.#tell("level", { level });
      requestAnimationFrame(look);
    };
    look();
  }

  /** Before the permission devices have no names: there is nothing to choose from yet. */
  async #tellDevices() {
    const all = await navigator.mediaDevices.enumerateDevices().catch(() => []);
    const devices = all.filter(({ kind, label }) => kind === "audioinput" && label);
    if (!devices.some(({ deviceId }) => deviceId === this.#chosen)) this.#chosen = "";
    const current = this.#chosen || (this.#open?.track.getSettings().deviceId ?? "");
    this.#tell("devices", {
      devices: devices.map(({ deviceId, label }) => ({ deviceId, label })),
      current,
    });
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * How loud a piece of sound is, from 0 (a silent room) to 1 (full scale).
 * @param {Float32Array} samples
 */
export function levelOf(samples) {
  const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
  return Math.min(1, Math.max(0, 1 - (10 * Math.log10(power + 1e-12)) / METER_FLOOR_DB));
}

/** @param {{track: MediaStreamTrack, context: AudioContext}} open */
function release({ track, context }) {
  track.stop();
  void context.close();
}
