// A source whose picture flashes at the moment at which its sound beeps: once a second, for 100 ms. Plain JavaScript: the
// benchmark runs it as well.

const SIDE = 64;
const RATE = 24_000;
const PERIOD_MS = 1000;
const LENGTH_MS = 100;
const HZ = 1000;

const BLACK = Buffer.alloc(SIDE * SIDE * 4, 16);
const WHITE = Buffer.alloc(SIDE * SIDE * 4, 235);

/** @param {number} ms since the beginning */
const isOn = (ms) => ms % PERIOD_MS < LENGTH_MS;

/**
 * @param {number} from ms since the beginning
 * @param {number} length ms
 */
function sound(from, length) {
  const data = Buffer.alloc(Math.round((length * RATE) / 1000) * 2);
  for (let n = 0; n < data.length / 2; n++) {
    const ms = from + (n * 1000) / RATE;
    const sample = isOn(ms) ? 0.5 * Math.sin((2 * Math.PI * HZ * (ms % PERIOD_MS)) / 1000) : 0;
    data.writeInt16LE(Math.round(sample * 32767), n * 2);
  }
  return data;
}

/**
 * Pushes until it is stopped. Everything is stamped with the time that it belongs to.
 * @param {import("avatar-webrtc-streaming").MediaBridge} bridge
 * @param {object} how
 * @param {number} how.fps
 * @param {number} [how.jitterMs] so much later than its time a picture is pushed at most
 * @param {number} how.chunkMs length of each piece of sound
 * @param {number} [how.everyMs] a piece is pushed so often; the length of a piece unless told otherwise
 * @param {() => number} [how.shift] added to every timestamp, in ms
 * @returns {() => void} ends it
 */
export function flashAndBeep(
  bridge,
  { fps, jitterMs = 0, chunkMs, everyMs = chunkMs, shift = () => 0 },
) {
  const start = Date.now();
  let isOver = false;
  /** @type {Set<NodeJS.Timeout>} */
  const timers = new Set();
  /** @param {number} ms @param {() => void} act */
  const at = (ms, act) => {
    const timer = setTimeout(
      () => {
        timers.delete(timer);
        if (!isOver) act();
      },
      Math.max(0, start + ms - Date.now()),
    );
    timers.add(timer);
  };
  let pushedAt = 0;
  /** @param {number} n */
  const picture = (n) => {
    const ms = (n * 1000) / fps;
    const data = isOn(Math.round(ms)) ? WHITE : BLACK;
    bridge.pushVideoFrame({ data, width: SIDE, height: SIDE, timestamp: start + ms + shift() });
    const next = ((n + 1) * 1000) / fps;
    // In their order, however late.
    pushedAt = Math.max(pushedAt + 1, next + Math.random() * jitterMs);
    at(pushedAt, () => picture(n + 1));
  };
  /** @param {number} n */
  const chunk = (n) => {
    const ms = n * everyMs;
    bridge.pushAudioChunk({
      data: sound(ms, chunkMs),
      sampleRate: RATE,
      channels: 1,
      timestamp: start + ms + shift(),
    });
    at((n + 1) * everyMs, () => chunk(n + 1));
  };
  picture(0);
  chunk(0);
  return () => {
    isOver = true;
    for (const timer of timers) clearTimeout(timer);
  };
}
