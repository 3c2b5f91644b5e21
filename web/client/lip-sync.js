// Brings picture and sound together: holds back whichever comes too early. A browser does that by itself, but takes up to
// half a minute for it and stops when 30 ms are left; this uses its own estimate of what is played when. Knows no DOM.

const INTERVAL_MS = 500;
/** The sound may come so late: people are used to that from a distance, and each ms less would make the picture later. */
const AIM_MS = 10;
/** Less is not noticed, and within what the estimate trembles by. */
const NEAR_ENOUGH_MS = 8;
/** Of what is left, so much is made good at a time: what was asked for takes a while to be there. */
const GAIN = 0.4;
/** Nothing is held back by more: our pictures say that browsers shall not. */
const MOST_MS = 500;
/** Pictures that come so unevenly are shown as they come; from here on, all wait until the late ones are there. */
const EVEN_ENOUGH_MS = 6;
/** So many times the jitter, which is a mean, and few come later. */
const LATE = 2.5;
/** How fast what is known of the jitter follows it at each look, up and down: each change is a change of step with the sound. */
const JITTER_GAIN = { up: 0.2, down: 0.02 };

/**
 * What the sound device takes for what it is given, in ms; and its delays in all, in s, of so many samples.
 * @typedef {{ms: number, delay: number, samples: number}} SoundDevice
 */

/** What is known of the moment that is played: brought up to date while the connection lasts. */
export class Playing {
  /** @type {SoundDevice} */ device = { ms: 0, delay: 0, samples: 0 };
  /** How much later the sound is heard than its picture is seen; null as long as the browser does not tell. */
  /** @type {number | null} */ skewMs = null;
}

/** What a browser may be asked for a delay by; the second one, in s, is Chromium's older name for it. */
const TARGETS = /** @type {const} */ (["jitterBufferTarget", "playoutDelayHint"]);

/**
 * Has what arrives wait for so long at least, in ms. 0: it is played as soon as it can be decoded. Our pictures say so too (the
 * header extension "playout delay"), which has Chromium leave out its own 10 ms and the wait for late ones; see
 * {@link patience}.
 * @param {RTCRtpReceiver} receiver
 * @param {number} ms
 */
export function delayPlayout(receiver, ms) {
  const name = TARGETS.find((name) => name in receiver);
  if (name) Object.assign(receiver, { [name]: name === "playoutDelayHint" ? ms / 1000 : ms });
}

/**
 * An offer of a browser that can be asked for a delay; without the header extension if it cannot, since then nothing would make
 * pictures wait for late ones.
 * @param {string} sdp
 * @param {object} receiver one of its receivers
 */
export const withPlayoutDelay = (sdp, receiver) =>
  TARGETS.some((name) => name in receiver)
    ? sdp
    : sdp.replace(/^a=extmap:.*\/playout-delay\r\n/gm, "");

/**
 * How long to hold the picture back from now on; negative: the sound.
 * @param {number} holdMs until now
 * @param {number} behindMs how much later the sound is heard than its picture is seen
 */
export function nextHold(holdMs, behindMs) {
  const left = behindMs - AIM_MS;
  if (Math.abs(left) < NEAR_ENOUGH_MS) return holdMs;
  return Math.max(-MOST_MS, Math.min(MOST_MS, holdMs + GAIN * left));
}

/**
 * How long pictures are to wait for the late ones.
 * @param {number} jitterMs of their arrival (RFC 3550, 6.4.1)
 */
export const patience = (jitterMs) =>
  jitterMs > EVEN_ENOUGH_MS ? Math.min(MOST_MS, LATE * jitterMs) : 0;

/**
 * What is known of the jitter after another look.
 * @param {number} knownMs
 * @param {number} jitterMs
 */
export const nextJitter = (knownMs, jitterMs) =>
  knownMs + (jitterMs > knownMs ? JITTER_GAIN.up : JITTER_GAIN.down) * (jitterMs - knownMs);

/** @param {Iterable<any>} stats of `getStats()` @returns {number} in ms; 0 while nothing is known */
export function pictureJitter(stats) {
  for (const report of stats) {
    if (report.type === "inbound-rtp" && report.kind === "video")
      return 1000 * (report.jitter ?? 0);
  }
  return 0;
}

/**
 * How much later the sound is heard than its picture is seen, in ms, by a browser's statistics; null if they do not tell.
 * @param {Iterable<any>} stats of `getStats()`
 * @param {SoundDevice} device as it was at the last look; brought up to date
 */
export function soundBehind(stats, device) {
  /** @type {Record<string, number | undefined>} */
  const played = {};
  for (const report of stats) {
    if (report.type === "inbound-rtp") played[report.kind] = report.estimatedPlayoutTimestamp;
    if (report.type === "media-playout" && report.totalSamplesCount > device.samples) {
      const samples = report.totalSamplesCount - device.samples;
      Object.assign(device, {
        ms: (1000 * (report.totalPlayoutDelay - device.delay)) / samples,
        delay: report.totalPlayoutDelay,
        samples: report.totalSamplesCount,
      });
    }
  }
  const { audio, video } = played;
  // The estimate of the sound is of the moment at which the device gets it.
  return audio && video ? video - audio + device.ms : null;
}

/**
 * Keeps them together, and pictures even, until `signal` says that the connection is over.
 * @param {RTCPeerConnection} pc
 * @param {Playing} playing
 * @param {AbortSignal} signal
 */
export async function keepTogether(pc, playing, signal) {
  let holdMs = 0;
  let jitterMs = 0;
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    if (signal.aborted) return;
    const stats = [...(await pc.getStats()).values()];
    const behindMs = soundBehind(stats, playing.device);
    playing.skewMs = behindMs;
    if (behindMs !== null) holdMs = nextHold(holdMs, behindMs);
    jitterMs = nextJitter(jitterMs, pictureJitter(stats));
    for (const receiver of pc.getReceivers()) {
      const isPicture = receiver.track.kind === "video";
      const target = isPicture ? Math.max(patience(jitterMs), holdMs) : Math.max(0, -holdMs);
      delayPlayout(receiver, target);
    }
  }
}
