// What of the avatar's voice is being played at this moment: silences what was cut off, and tells of cues when their
// moment is heard. Knows no DOM.

/** More than this a browser does not buffer of a voice that was cut off. */
const LONGEST_HUSH_MS = 500;
/** Between two looks at what is played. */
const LOOK_MS = 5;
/** Cues that wait; the server sends them a second ahead. */
const MOST_CUES = 10_000;
/** A cue without any sound is told of this much later than it came: nothing will be heard any more. */
const LONGEST_WAIT_MS = 5_000;

/** @typedef {{audioTime: number, data: unknown, givenUp: number}} Cue */

/**
 * How far a moment of a track is ahead of what is played, in ms; negative once it was heard.
 * @param {number} audioTime the moment, in ms of the track's RTP clock
 * @param {{rtpTimestamp: number, timestamp: number}} source what was played last, and when (`getSynchronizationSources()`)
 * @param {number} clockRate of the track, in Hz
 * @param {number} now on the clock of `source.timestamp`
 */
export function msAhead(audioTime, source, clockRate, now) {
  const ticks = Math.round((audioTime * clockRate) / 1000) - source.rtpTimestamp;
  // RTP timestamps wrap: half of their range is ahead. `| 0` would not do: 2^32 and more are cut off first.
  const wrapped = ((ticks % 2 ** 32) + 2 ** 32 + 2 ** 31) % 2 ** 32;
  return ((wrapped - 2 ** 31) * 1000) / clockRate - (now - source.timestamp);
}

export class Playout {
  /** @type {RTCPeerConnection} */ #pc;
  /** @type {(type: "interrupt" | "cue", detail: unknown) => void} */ #emit;
  /** In the order of their times. @type {Cue[]} */ #cues = [];
  /** Where the voices that were cut off end, and until when that is waited for. */
  /** @type {{audioTime: number, givenUp: number} | null} */ #hush = null;
  /** Whether the sound was on before. */
  #wasEnabled = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @type {{ms: number}} */ #device;

  /**
   * @param {RTCPeerConnection} pc
   * @param {{ms: number}} device how long it takes until what is played is heard
   * @param {(type: "interrupt" | "cue", detail: unknown) => void} emit
   */
  constructor(pc, device, emit) {
    this.#pc = pc;
    this.#device = device;
    this.#emit = emit;
  }

  close() {
    clearTimeout(this.#timer);
    this.#cues = [];
  }

  /**
   * The avatar was cut off: what of its voice is still buffered is not heard, and its cues do not happen.
   * @param {{audioTime?: unknown}} data where the old voice ends, in ms of the track's RTP clock
   */
  interrupt({ audioTime }) {
    const track = this.#receiver?.track;
    if (!track || typeof audioTime !== "number") return;
    this.#cues = [];
    if (!this.#hush) this.#wasEnabled = track.enabled;
    this.#hush = { audioTime, givenUp: performance.now() + LONGEST_HUSH_MS };
    track.enabled = false;
    this.#emit("interrupt", {});
    this.#look();
  }

  /** @param {unknown} cues `{audioTime, cue}` each: when it is due, and what it is */
  add(cues) {
    if (!Array.isArray(cues)) return;
    const givenUp = performance.now() + LONGEST_WAIT_MS;
    for (const { audioTime, cue } of cues) {
      if (typeof audioTime !== "number" || this.#cues.length >= MOST_CUES) continue;
      this.#cues.push({ audioTime, data: cue, givenUp });
    }
    this.#cues.sort((a, b) => a.audioTime - b.audioTime);
    this.#look();
  }

  get #receiver() {
    return this.#pc.getReceivers().find(({ track }) => track.kind === "audio");
  }

  #look() {
    clearTimeout(this.#timer);
    const ahead = this.#clock();
    const now = performance.now();
    while (this.#cues[0] && (ahead(this.#cues[0].audioTime) <= 0 || now > this.#cues[0].givenUp)) {
      this.#emit("cue", { data: this.#cues.shift()?.data });
    }
    const hush = this.#hush;
    if (hush && (ahead(hush.audioTime, false) <= 0 || now > hush.givenUp)) {
      this.#hush = null;
      const track = this.#receiver?.track;
      if (track) track.enabled = this.#wasEnabled;
    }
    if (this.#hush || this.#cues.length > 0) this.#timer = setTimeout(() => this.#look(), LOOK_MS);
  }

  /**
   * How far a moment is ahead of what is played. In a pause nothing is played, and time goes on all the same; a voice has
   * ended only when what is behind it was played.
   * @returns {(audioTime: number, goesOn?: boolean) => number}
   */
  #clock() {
    const receiver = this.#receiver;
    const source = receiver?.getSynchronizationSources()[0];
    if (!receiver || !source) return () => Number.POSITIVE_INFINITY;
    const { clockRate = 48_000 } = receiver.getParameters().codecs[0] ?? {};
    const heard = performance.timeOrigin + performance.now() - this.#device.ms;
    return (audioTime, goesOn = true) =>
      msAhead(audioTime, source, clockRate, goesOn ? heard : source.timestamp);
  }
}
