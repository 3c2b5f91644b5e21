// Runs inside the page, before its own scripts: decodes the number in every frame that arrives and
// records every sample of sound. Self-contained, since it is sent to the browser as text.

export interface SeenFrame {
  /** null when the code contradicts itself. */
  number: number | null;
  /** When it had been decoded, in ms of the `Date.now()` clock. */
  at: number;
  width: number;
  height: number;
}

interface Watched {
  /** When each `createOffer` was called. */
  offers: number[];
  frames: SeenFrame[];
  /** Luma of every `keepEvery`th frame; 0 keeps none. */
  luma: { at: number; number: number | null; width: number; data: Uint8Array }[];
  keepEvery: number;
  /** Pieces, and when each had been decoded. */
  sound: { at: number; sampleRate: number; channels: Float32Array[] }[];
  listening: boolean;
  connections: RTCPeerConnection[];
  /** Bytes on their way to the test: an array of numbers would take seconds. */
  base64(bytes: Uint8Array): string;
}

declare global {
  interface Window {
    watched: Watched;
    avatarClient: import("../../web/avatar-client.js").AvatarClient;
  }
  // Chromium's; not yet in TypeScript's library.
  class MediaStreamTrackProcessor<T extends VideoFrame | AudioData> {
    constructor(init: { track: MediaStreamTrack; maxBufferSize?: number });
    readonly readable: ReadableStream<T>;
  }
}

export function watch(): void {
  const watched: Watched = {
    offers: [],
    frames: [],
    luma: [],
    keepEvery: 0,
    sound: [],
    listening: false,
    connections: [],
    base64(bytes) {
      let text = "";
      for (let from = 0; from < bytes.length; from += 8192) {
        text += String.fromCharCode(...bytes.subarray(from, from + 8192));
      }
      return btoa(text);
    },
  };
  window.watched = watched;
  const now = () => performance.timeOrigin + performance.now();

  const createOffer = RTCPeerConnection.prototype.createOffer;
  RTCPeerConnection.prototype.createOffer = function (
    this: RTCPeerConnection,
    ...options: unknown[]
  ) {
    watched.offers.push(now());
    if (!watched.connections.includes(this)) {
      watched.connections.push(this);
      this.addEventListener("track", ({ track }) => {
        if (track.kind === "video") void readFrames(track.clone());
        else void readSound(track.clone());
      });
    }
    return createOffer.apply(this, options as never) as never;
  };

  async function readFrames(track: MediaStreamTrack) {
    const reader = new MediaStreamTrackProcessor<VideoFrame>({ track }).readable.getReader();
    for (let count = 1; ; count++) {
      const { value: frame, done } = await reader.read();
      if (done) return;
      const at = now();
      const { width, height } = frame.visibleRect ?? { width: 0, height: 0 };
      const number = await readNumber(frame, width, height);
      watched.frames.push({ number, at, width, height });
      if (watched.keepEvery > 0 && count % watched.keepEvery === 0) {
        const planes = new Uint8Array(frame.allocationSize());
        const [luma] = await frame.copyTo(planes);
        const stride = luma?.stride ?? width;
        const data = new Uint8Array(width * height);
        for (let y = 0; y < height; y++) {
          const from = (luma?.offset ?? 0) + y * stride;
          data.set(planes.subarray(from, from + width), y * width);
        }
        watched.luma.push({ at, number, width, data });
      }
      frame.close();
    }
  }

  /** The 32 cells of the top row; their size follows the width of the frame. */
  async function readNumber(frame: VideoFrame, width: number, height: number) {
    const cell = width / 32;
    if (cell < 8) return null;
    const rect = { x: 0, y: 0, width, height: Math.min(height, Math.floor(cell / 2) * 2) };
    const planes = new Uint8Array(frame.allocationSize({ rect }));
    const [luma] = await frame.copyTo(planes, { rect });
    if (!luma) return null;
    const row = luma.offset + Math.floor(cell / 2) * luma.stride;
    let code = 0;
    for (let bit = 0; bit < 32; bit++) {
      const level = planes[row + Math.floor((bit + 0.5) * cell)] ?? 0;
      if (level > 128) code |= 1 << bit;
    }
    const number = code & 0xffff;
    const check = ((number * 40503) ^ 0xa5a5) & 0xffff;
    return code >>> 16 === check ? number : null;
  }

  async function readSound(track: MediaStreamTrack) {
    const reader = new MediaStreamTrackProcessor<AudioData>({ track }).readable.getReader();
    for (;;) {
      const { value: data, done } = await reader.read();
      if (done) return;
      const at = now();
      if (watched.listening) {
        const channels = Array.from({ length: data.numberOfChannels }, (_, planeIndex) => {
          const samples = new Float32Array(data.numberOfFrames);
          data.copyTo(samples, { planeIndex, format: "f32-planar" });
          return samples;
        });
        watched.sound.push({ at, sampleRate: data.sampleRate, channels });
      }
      data.close();
    }
  }
}
