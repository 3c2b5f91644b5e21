// What a page plays and shows, with the time of each piece: flashes, beeps, cues.
import type { Viewer } from "./chromium.js";

/** A tone as loud as this is a beep, a picture as bright as this a flash. */
const LOUD = 0.1;
const BRIGHT = 128;

interface Seen {
  /** When each flash and each beep began, in ms of the `Date.now()` clock. */
  flashes: number[];
  beeps: number[];
  /** The `data` of each cue, and when it came. */
  cues: { at: number; data: unknown }[];
}

/** Begins to note them, from the connection that is there on. */
export async function notePlayback(viewer: Viewer): Promise<void> {
  await viewer.page.evaluate(
    ({ LOUD, BRIGHT }) => {
      const seen: Seen = { flashes: [], beeps: [], cues: [] };
      Object.assign(window, { seen });
      const now = () => performance.timeOrigin + performance.now();
      const client = window.avatarClient;
      client.addEventListener("cue", (event) => {
        seen.cues.push({ at: now(), data: (event as CustomEvent).detail.data });
      });
      const [sound] = client.stream?.getAudioTracks() ?? [];
      if (!sound) throw new Error("no track");

      async function read<T extends VideoFrame | AudioData>(
        track: MediaStreamTrack,
        take: (data: T, at: number) => unknown,
      ) {
        const reader = new MediaStreamTrackProcessor<T>({ track }).readable.getReader();
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return;
          await take(value, now());
          value.close();
        }
      }

      // The picture of the page itself, when it is shown.
      const video = document.querySelector("video") as HTMLVideoElement;
      const canvas = new OffscreenCanvas(1, 1);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      let wasBright = true;
      const look = (_: number, { expectedDisplayTime }: VideoFrameCallbackMetadata) => {
        video.requestVideoFrameCallback(look);
        context?.drawImage(video, 0, 0, 1, 1);
        const isBright = (context?.getImageData(0, 0, 1, 1).data[0] ?? 0) > BRIGHT;
        if (isBright && !wasBright) {
          seen.flashes.push(performance.timeOrigin + expectedDisplayTime);
        }
        wasBright = isBright;
      };
      video.requestVideoFrameCallback(look);

      // How long the sound device takes for what it is given.
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

      let quietFor = 0;
      void read<AudioData>(sound.clone(), (data, at) => {
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
        const msOf = (count: number) => (count * 1000) / data.sampleRate;
        samples.forEach((sample, index) => {
          if (Math.abs(sample) < LOUD) {
            quietFor += 1;
            return;
          }
          if (msOf(quietFor) > 50) seen.beeps.push(at + msOf(index) + deviceMs);
          quietFor = 0;
        });
      });
    },
    { LOUD, BRIGHT },
  );
}

/** What was noted so far. */
export const playback = (viewer: Viewer): Promise<Seen> =>
  viewer.page.evaluate(() => (window as unknown as { seen: Seen }).seen);

/** For each flash how much later its beep came, in ms: the nearest one, if it is within half a second. */
export function skews({ flashes, beeps }: Seen): { at: number; ms: number }[] {
  return flashes.flatMap((flash) => {
    const distances = beeps.map((beep) => beep - flash);
    const ms = distances.reduce((best, d) => (Math.abs(d) < Math.abs(best) ? d : best), Infinity);
    return Math.abs(ms) < 500 ? [{ at: flash, ms }] : [];
  });
}

/** The value that a share of the others do not exceed. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
