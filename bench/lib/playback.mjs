// What a page plays and shows, with the time of each piece: flashes, beeps, cues.

/** A tone as loud as this is a beep, a picture as bright as this a flash. */
const LOUD = 0.1;
const BRIGHT = 128;

/**
 * @typedef {object} Seen times in ms of the `Date.now()` clock
 * @property {number[]} flashes when each was shown by the page's video
 * @property {number[]} beeps when each was heard: the sound device's delay is in it
 * @property {{ at: number, data: unknown }[]} cues
 */

/**
 * Begins to note them, from the connection that is there on.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<void>}
 */
export function notePlayback(page) {
  return page.evaluate(noteInPage, { LOUD, BRIGHT });
}

/**
 * What was noted so far.
 * @param {import("playwright-core").Page} page
 * @returns {Promise<Seen>}
 */
export const playback = (page) => page.evaluate(() => Reflect.get(window, "seen"));

/**
 * For each flash how much later its beep came, in ms: the nearest one, if it is within half a second.
 * @param {Seen} seen
 */
export function skews({ flashes, beeps }) {
  return flashes.flatMap((at) => {
    const distances = beeps.map((beep) => beep - at);
    const nearest = (/** @type {number} */ best, /** @type {number} */ ms) =>
      Math.abs(ms) < Math.abs(best) ? ms : best;
    const ms = distances.reduce(nearest, Number.POSITIVE_INFINITY);
    return Math.abs(ms) < 500 ? [{ at, ms }] : [];
  });
}

/** @param {{ LOUD: number, BRIGHT: number }} limits */
function noteInPage({ LOUD, BRIGHT }) {
  /** @type {Seen} */
  const seen = { flashes: [], beeps: [], cues: [] };
  Object.assign(window, { seen });
  const now = () => performance.timeOrigin + performance.now();
  /** @type {import("../../web/avatar-client.js").AvatarClient} */
  const client = Reflect.get(window, "avatarClient");
  client.addEventListener("cue", (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    seen.cues.push({ at: now(), data: detail.data });
  });

  const video = /** @type {HTMLVideoElement} */ (document.querySelector("video"));
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  let wasBright = true;
  /** @type {VideoFrameRequestCallback} */
  const look = (_, { expectedDisplayTime }) => {
    video.requestVideoFrameCallback(look);
    context?.drawImage(video, 0, 0, 1, 1);
    const isBright = (context?.getImageData(0, 0, 1, 1).data[0] ?? 0) > BRIGHT;
    if (isBright && !wasBright) seen.flashes.push(performance.timeOrigin + expectedDisplayTime);
    wasBright = isBright;
  };
  video.requestVideoFrameCallback(look);

  let deviceMs = 0;
  const ask = async () => {
    const stats = [...((await client.peerConnection?.getStats())?.values() ?? [])];
    const playout = stats.find(({ type }) => type === "media-playout");
    if (playout?.totalSamplesCount > 0) {
      deviceMs = (1000 * playout.totalPlayoutDelay) / playout.totalSamplesCount;
    }
    setTimeout(ask, 500);
  };
  void ask();

  const [sound] = client.stream?.getAudioTracks() ?? [];
  if (!sound) throw new Error("no sound");
  // Chromium's; not yet in TypeScript's library.
  const Processor = Reflect.get(window, "MediaStreamTrackProcessor");
  const reader = new Processor({ track: sound.clone() }).readable.getReader();
  let quietFor = 0;
  void (async () => {
    for (;;) {
      const { value: data, done } = await reader.read();
      if (done) return;
      const at = now() + deviceMs;
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
      const msOf = (/** @type {number} */ count) => (count * 1000) / data.sampleRate;
      for (const [index, sample] of samples.entries()) {
        if (Math.abs(sample) < LOUD) {
          quietFor += 1;
          continue;
        }
        if (msOf(quietFor) > 50) seen.beeps.push(at + msOf(index));
        quietFor = 0;
      }
      data.close();
    }
  })();
}
