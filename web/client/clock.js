// The server's clock, as far as a viewer can know it, and whether the server still answers: clock messages over the
// WebSocket tell both. Knows no DOM and no socket.

/** How long a sample is kept: clocks of two machines drift apart. */
const MEMORY_MS = 60_000;
/** By how much two good clocks drift apart at most (RFC 5905, PHI: 15 ppm). */
const DRIFT = 15e-6;
/** Samples may contradict each other by so much before one of the clocks was set: a timer's resolution and some more. */
const DOUBT_MS = 10;
/** When the first samples are taken, in ms after each other; then each `EVERY_MS`. */
const FIRST_MS = [0, 100, 200, 400, 800];
const EVERY_MS = 5_000;
/** An answer that nobody waits for in particular may take so long. */
const PATIENCE_MS = 4_000;
/** A timer that is late by more was held up with the whole page, and so was the answer. */
const ASLEEP_MS = 1_000;

/**
 * One clock message and its answer.
 * @typedef {object} Sample
 * @property {number} sentAt on our clock, in ms
 * @property {number} receivedAt on our clock
 * @property {number} serverTime on the server's clock, somewhere in between
 */

/**
 * How far the server's clock is ahead of ours. The answer of the least round trip tells it best: the error is at most half
 * of that (RFC 5905, 8), and grows as the clocks drift.
 */
export class ServerClock {
  /** @type {Sample[]} */ #samples = [];

  /** @param {Sample} sample */
  add(sample) {
    const { receivedAt } = sample;
    if (!Object.values(sample).every(Number.isFinite) || receivedAt < sample.sentAt) return;
    const recent = this.#samples.filter((other) => receivedAt - other.receivedAt < MEMORY_MS);
    // A clock was set, or ours stood still while the machine slept: what was known is worth nothing.
    const contradicts = recent.some((other) => {
      const apart = Math.abs(offsetOf(sample) - offsetOf(other));
      return apart > errorOf(sample, receivedAt) + errorOf(other, receivedAt) + DOUBT_MS;
    });
    this.#samples = contradicts ? [sample] : [...recent, sample];
  }

  /**
   * What time it is for the server.
   * @param {number} at on our clock
   * @returns {number | null} in ms; null before the first answer
   */
  at(at) {
    const best = this.#samples.reduce(
      (/** @type {Sample | null} */ best, sample) =>
        best && errorOf(best, at) <= errorOf(sample, at) ? best : sample,
      null,
    );
    return best && at + offsetOf(best);
  }

  /** Another server has another clock. */
  forget() {
    this.#samples = [];
  }
}

/** @param {Sample} sample */
function offsetOf({ sentAt, receivedAt, serverTime }) {
  return serverTime - (sentAt + receivedAt) / 2;
}

/** @param {Sample} sample @param {number} at */
function errorOf({ sentAt, receivedAt }, at) {
  return (receivedAt - sentAt) / 2 + DRIFT * Math.abs(at - receivedAt);
}

/**
 * What a heartbeat needs of its owner.
 * @typedef {object} Listener
 * @property {(message: {type: "clock", data: {sentAt: number}}) => void} send
 * @property {() => void} alive the server has answered
 * @property {() => void} silent the server does not answer
 */

/** Asks the server for its time, as long as its WebSocket lives. */
export class Heartbeat {
  /** @type {ServerClock} */ #clock;
  /** @type {Listener} */ #listener;
  #asked = 0;
  /** By when an answer must be there; null while nothing is asked. */
  /** @type {number | null} */ #due = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #nextTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #dueTimer;

  /** @param {ServerClock} clock @param {Listener} listener */
  constructor(clock, listener) {
    this.#clock = clock;
    this.#listener = listener;
    this.#plan();
  }

  close() {
    clearTimeout(this.#nextTimer);
    clearTimeout(this.#dueTimer);
  }

  /**
   * Asks now.
   * @param {number} [patienceMs] without an answer by then the server is silent
   */
  look(patienceMs = PATIENCE_MS) {
    const now = performance.now();
    this.#listener.send({ type: "clock", data: { sentAt: now } });
    this.#expect(Math.min(this.#due ?? Number.POSITIVE_INFINITY, now + patienceMs));
  }

  /** @param {{sentAt?: unknown, serverTime?: unknown}} data the server's answer */
  answer({ sentAt, serverTime }) {
    clearTimeout(this.#dueTimer);
    this.#due = null;
    if (typeof sentAt === "number" && typeof serverTime === "number") {
      this.#clock.add({ sentAt, serverTime, receivedAt: performance.now() });
    }
    this.#listener.alive();
  }

  #plan() {
    const ms = FIRST_MS[this.#asked] ?? EVERY_MS;
    this.#asked += 1;
    this.#nextTimer = setTimeout(() => {
      this.look();
      this.#plan();
    }, ms);
  }

  /** @param {number} due */
  #expect(due) {
    clearTimeout(this.#dueTimer);
    this.#due = due;
    this.#dueTimer = setTimeout(() => {
      this.#due = null;
      if (performance.now() > due + ASLEEP_MS) this.look(ASLEEP_MS);
      else this.#listener.silent();
    }, due - performance.now());
  }
}
