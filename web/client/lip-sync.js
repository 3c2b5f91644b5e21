// Brings picture and sound together: holds back whichever comes too early. A browser does that by itself, but takes up to
// half a minute for it and stops when 30 ms are left; this uses its own estimate of what is played when. Knows no DOM.

const INTERVAL_MS = 500;
/** The sound may come so late: people are used to that from a distance, and each ms less would make the picture later. */
const AIM_MS = 10;
/** Less is not noticed, and within what the estimate trembles by. */
const NEAR_ENOUGH_MS = 8;
/** Of what is left, so much is made good at a time: what was asked for takes a while to be there. */
const GAIN = 0.4;
/** Nothing is held back by more. */
const MOST_MS = 1000;

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

/**
 * Plays what arrives as soon as it can be decoded: on a good network that is the least delay, on a bad one the browser's
 * own jitter buffers grow. `playoutDelayHint` (s) is Chromium's older name.
 * @param {RTCRtpReceiver} receiver
 */
export function askForLowDelay(receiver) {
  const name = "jitterBufferTarget" in receiver ? "jitterBufferTarget" : "playoutDelayHint";
  if (name in receiver) Object.assign(receiver, { [name]: 0 });
}

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
 * Keeps them together until `signal` says that the connection is over.
 * @param {RTCPeerConnection} pc
 * @param {Playing} playing
 * @param {AbortSignal} signal
 */
export async function keepTogether(pc, playing, signal) {
  let holdMs = 0;
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
    if (signal.aborted) return;
    const behindMs = soundBehind((await pc.getStats()).values(), playing.device);
    playing.skewMs = behindMs;
    if (behindMs === null) continue;
    holdMs = nextHold(holdMs, behindMs);
    for (const receiver of pc.getReceivers()) {
      const own = receiver.track.kind === "video" ? holdMs : -holdMs;
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = Math.max(0, own);
    }
  }
}
