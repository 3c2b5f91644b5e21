import { TypedEmitter } from "./lib/emitter.js";
import type { WebRTCStreamingServer } from "./webrtc-server.js";

/** What is sent, and what comes back. */
export interface MediaBridgeConfig {
  /** Frames a second that will be pushed, 1 to 120. Default 30. */
  videoFps?: number;
  /** Width of the stream in pixels, 16 to 3840 (2160 if the height is more), rounded down to even. Default 512. */
  videoWidth?: number;
  /** Height of the stream in pixels, 16 to 3840 (2160 if the width is more), rounded down to even. Default 512. */
  videoHeight?: number;
  /**
   * How pictures of another shape than the stream's are shown, as `object-fit` of CSS: `"contain"` (default) shows the
   * whole of them between black bars, `"cover"` cuts off evenly what does not fit.
   */
  videoFit?: "contain" | "cover";
  /** Target rate in bits a second, 50000 to 50000000. Default: 0.13 bits a pixel (1 Mb/s at 512x512, 30 fps). */
  videoBitrate?: number;
  /** Samples a second of `incoming-audio`, 8000 to 48000. Default 16000. */
  audioSampleRate?: number;
  /** Channels of `incoming-audio`, 1 or 2. Default 1. */
  audioChannels?: number;
  /**
   * How long an encoded picture or a packet of sound may wait to be sent, in ms, 50 to 10000. What waited longer, since
   * the machine has too much to do, is left out, and the picture begins anew with a keyframe. Before that nothing waits: a
   * new frame takes the place of one that was not encoded yet. Default 200.
   */
  maxLatencyMs?: number;
  /**
   * Pictures that are shown one after the other, over and over, `videoFps` a second, while no frames come: before the first
   * and from a second after the last one on. The next frame that is pushed ends that. They are copied. Default none.
   */
  idleFrames?: Omit<VideoFrame<ArrayBufferView>, "timestamp">[];
  /** Most pushed audio that may wait to be played, in ms, 100 to 3600000; a push beyond it is dropped. Default 120000. */
  maxAudioQueueMs?: number;
  /** Logs each dropped push to standard error. Default false. */
  debug?: boolean;
  /** The way back. */
  microphone?: MicrophoneConfig;
}

/** What the microphone path does with what it hears. */
export interface MicrophoneConfig {
  /** Length of an `incoming-audio` chunk in ms, 20 to 1000. Default 100. */
  chunkMs?: number;
  /** Whether chunks come only while somebody speaks. Default true. */
  voiceGating?: boolean;
  /** How much of the time before speech was noticed is delivered, in ms, 0 to 2000. Default 300. */
  preRollMs?: number;
  /** How long chunks go on after speech, in ms, 0 to 5000. Default 400. */
  hangOverMs?: number;
}

/** One picture. A push takes any view of bytes as its `data`. */
export interface VideoFrame<Data extends ArrayBufferView = Buffer> {
  /** The picture. Read only inside the call: it may be overwritten as soon as the call returns. */
  data: Data;
  /** Pixels a row, 1 to 4096. */
  width: number;
  /** Rows, 1 to 4096. */
  height: number;
  /** When it is to be seen, in ms of the `Date.now()` clock. */
  timestamp: number;
  /**
   * What `data` is. Of raw pictures all rows are without padding.
   *
   * - `"RGBA"` (default): 4 bytes a pixel, sRGB; alpha is ignored. Bytes behind the picture are too.
   * - `"YUV"` or `"I420"`: 4:2:0, a plane of Y, one of U and one of V, in BT.601 and limited range (Y 16 to 235), which
   *   is what is sent: at the stream's size it is copied as it is. The sides of U and V are half of those of Y, rounded
   *   up, so `width * height + 2 * Math.ceil(width / 2) * Math.ceil(height / 2)` bytes, no fewer and no more.
   * - `"NV12"`: the same, with U and V interleaved in one plane.
   * - `"JPEG"`: a JFIF or Exif file. Its own size counts, not `width` and `height`.
   * - `"PNG"`: of any kind, the first picture of an animation, taken as sRGB; what is transparent is laid on black. Its
   *   own size counts, too. Decoding takes several times as long as a JPEG's.
   */
  format?: "RGBA" | "YUV" | "I420" | "NV12" | "JPEG" | "PNG";
}

/** A piece of sound, of any length. A push takes any view of bytes as its `data`. */
export interface AudioChunk<Data extends ArrayBufferView = Buffer> {
  /** The samples. Read only inside the call: they may be overwritten as soon as the call returns. */
  data: Data;
  /** Samples a second and channel, 8000 to 192000. Of compressed sound its own counts. */
  sampleRate: number;
  /** Channels, interleaved: 1 or 2. Of compressed sound their own number counts. */
  channels: number;
  /**
   * When its first sample is to be heard, in ms of the `Date.now()` clock. Pictures with the same timestamp are shown
   * with it. Sound that is stamped up to a second ahead waits for its time, and so do pauses between the timestamps of
   * what is queued; what is older is played at once. (`docs/timing.md`)
   */
  timestamp: number;
  /**
   * What `data` is.
   *
   * - `"PCM"` (default): signed 16-bit little-endian, interleaved.
   * - `"OPUS"`: one packet, without a container: 2.5 to 120 ms, at most 1180 bytes. It is passed on as it is to whoever
   *   has Opus, and decoded for the others.
   * - `"MP3"`: a file, or the next piece of one, cut anywhere, as a speech service streams it. The frames that it
   *   completes are queued, and decoded when their turn comes.
   */
  format?: "PCM" | "OPUS" | "MP3";
}

/** Sound from a browser's microphone, 100 ms unless `media.microphone.chunkMs` says otherwise. */
export interface IncomingAudio {
  /** Signed 16-bit little-endian samples, interleaved. */
  data: Buffer;
  /** Samples a second and channel: `media.audioSampleRate`. */
  sampleRate: number;
  /** `media.audioChannels`. */
  channels: number;
  /** When its first sample was received, in ms of the `Date.now()` clock. */
  timestamp: number;
  /** What `data` is. */
  format: "PCM";
  /** Who speaks. */
  peerId: string;
  /**
   * Whether the avatar's own voice may be in it: that was played at some time between 0.4 s before this was recorded and
   * this event.
   */
  avatarSpeaking: boolean;
}

/** Payload of `speech-start`: somebody speaks. */
export interface SpeechStart {
  /** Who. */
  peerId: string;
  /** When the first of it was received, in ms of the `Date.now()` clock. */
  timestamp: number;
  /** As in {@link IncomingAudio}: it may be an echo. */
  avatarSpeaking: boolean;
}

/** Payload of `speech-end`: they stopped, `media.microphone.hangOverMs` ago. */
export interface SpeechEnd {
  /** Who. */
  peerId: string;
  /** When the last of it was received, in ms of the `Date.now()` clock. */
  timestamp: number;
}

/** Something that is to happen in the page when a moment of the sound is heard: a caption, a viseme, an emotion. */
export interface Cue {
  /** The moment, in ms from the beginning of the chunk that was pushed last; it must have been queued, and not cut off. */
  at?: number;
  /** Or the moment as a timestamp of the `Date.now()` clock, as pictures and sound have. */
  timestamp?: number;
  /**
   * Anything that JSON can carry, in at most 16384 characters. The page and `<avatar-view>` show text, and
   * `{type: "caption", text, durationMs?}`, as captions.
   */
  data?: unknown;
}

/** The whole of what somebody said, once they stopped: what a speech recogniser wants. */
export interface Utterance extends IncomingAudio {
  /** Its length in ms. */
  durationMs: number;
}

/** Why a push was not sent. */
export type DropReason =
  | "not-started"
  | "unsupported-format"
  | "bad-dimensions"
  | "short-buffer"
  | "undecodable"
  | "not-bytes"
  | "bad-timestamp"
  | "bad-length"
  | "bad-sample-rate"
  | "bad-channels"
  | "queue-full"
  | "no-sound";

/** A push that will be sent; a frame may still be superseded by a newer one, or turn out to be broken behind its header. */
export interface QueuedPush {
  /** Which of the two this is. */
  status: "queued";
  /**
   * Of sound, how much now waits to be played, in ms. Of a picture, how long the encoders have left pictures waiting: 0
   * while they keep up; otherwise this one takes the place of the one that waits.
   */
  queuedMs: number;
  /** None. */
  reason?: undefined;
  /** None. */
  message?: undefined;
}

/** A push that will not be sent. */
export interface DroppedPush {
  /** Which of the two this is. */
  status: "dropped";
  /** Why, for programs. */
  reason: DropReason;
  /** Why, for people. */
  message: string;
  /** As in {@link QueuedPush}. */
  queuedMs: number;
}

/**
 * What became of a push.
 *
 * @example
 * const outcome = await bridge.pushVideoFrame(frame);
 * if (outcome.status === "dropped") console.warn(outcome.reason, outcome.message);
 */
export type PushOutcome = QueuedPush | DroppedPush;

/** What became of a cue. */
export type CueOutcome = Omit<QueuedPush, "queuedMs"> | Omit<DroppedPush, "queuedMs">;

/** The counters of a bridge, since it was made or since `resetMetrics()`. */
export interface MediaMetrics {
  /** Frames pushed while streaming, invalid ones included. */
  videoFrames: number;
  /** Chunks pushed while streaming, invalid ones included. */
  audioChunks: number;
  /**
   * Frames pushed later than 1.5 frame intervals after their `timestamp` (from the second frame on; they
   * are sent all the same), plus frames that were not sent.
   */
  droppedFrames: number;
  /** Those of them that were pushed late. */
  lateFrames: number;
  /** Chunks that were not sent: invalid, or the audio queue was full. */
  droppedChunks: number;
  /** Exponential average (weight 0.1) of `Date.now() - timestamp` at the push of a frame, in ms. */
  avgLatency: number;
  /** When the last frame was pushed, in ms of the `Date.now()` clock; 0 before the first. */
  lastFrameTime: number;
  /** Frames pushed in the last second. */
  fps: number;
  /** Whether the bridge is started. */
  isStreaming: boolean;
  /** Frames whose content could not be used. */
  invalidFrames: number;
  /** Chunks whose content could not be used. */
  invalidChunks: number;
  /** Frames that a newer one replaced, or an interruption dropped, before they were encoded. */
  supersededFrames: number;
  /** Frames encoded; one that was repeated for a keyframe counts again, and frames of the idle loop count too. */
  encodedFrames: number;
  /** Keyframes of all codecs: what a decoder can begin at. */
  keyframes: number;
  /** Why they were made; of several who wait for the same one, the first counts. */
  keyframeReasons: {
    /** Somebody began to watch. */
    joined: number;
    /** A viewer's decoder asked (PLI, FIR). */
    asked: number;
    /** Frames were left out: they were late, or a socket was full. */
    leftOut: number;
    /** Nobody wanted it: a new encoder begins with one. */
    began: number;
  };
  /**
   * What encoding a frame in one codec took, in ms, within a tenth from 0.13 to 128 ms; 0 before the first.
   */
  encodeMs: {
    /** Half of them took no longer. */
    p50: number;
    /** 99 of 100 took no longer. */
    p99: number;
  };
  /** Sound that waits to be played, in ms. */
  queuedAudioMs: number;
  /** Why the last frame that was not sent was not. */
  lastFrameError?: DropReason;
  /** Why the last chunk that was not sent was not. */
  lastChunkError?: DropReason;
}

/** What {@link MediaBridge.interrupt} cut off. */
export interface Interruption {
  /** Of what was being said without a pause, the part that was played, in ms. */
  playedMs: number;
  /** What was pushed and will not be played, in ms. */
  discardedMs: number;
}

/**
 * What a {@link MediaBridge} emits: the arguments of each event's listeners.
 *
 * @example
 * bridge.on("incoming-audio", ({ peerId, data }) => recogniser.write(peerId, data));
 * bridge.on("utterance", async ({ peerId, data, sampleRate, durationMs }) => {
 *   console.log(peerId, "spoke for", durationMs, "ms:", await transcribe(data, sampleRate));
 * });
 */
export interface MediaBridgeEvents {
  /** The bridge lets pushes through. */
  started: [];
  /** The bridge refuses pushes. */
  stopped: [];
  /** The very object that was pushed, valid or not. */
  "video-frame": [frame: VideoFrame];
  /** The very object that was pushed, valid or not. */
  "audio-chunk": [chunk: AudioChunk];
  /**
   * A piece of what a browser's user says, while they say it. Microphones are decoded only while somebody listens,
   * here or to the server: begin whenever you like, in mid-speech too.
   */
  "incoming-audio": [chunk: IncomingAudio];
  /** The whole of what a browser's user said, once they stopped, as far as somebody listened. */
  utterance: [utterance: Utterance];
  /**
   * Somebody began to speak, by the sound of their microphone: about 100 ms after they did.
   *
   * @example
   * bridge.on("speech-start", ({ avatarSpeaking }) => avatarSpeaking && system.interrupt());
   */
  "speech-start": [speech: SpeechStart];
  /** They stopped. */
  "speech-end": [speech: SpeechEnd];
  /**
   * No usable frame was pushed for a second. The viewers keep the last picture, and who joins gets it: it is sent again
   * now and then.
   */
  "video-stalled": [];
  /** A frame was pushed after `video-stalled`. */
  "video-resumed": [];
  /**
   * All sound that was pushed has been played, or was cut off while it played. A source that pushes too late makes it come
   * early.
   */
  "playout-ended": [];
  /** Something was wrong with pushed media; at most one a second for pictures and one for sound. Goes to `console.warn` if nobody listens. */
  warning: [message: string];
}

/**
 * What the avatar's pictures and speech are pushed into. Works alone; {@link connectMediaBridge} gives it
 * viewers.
 *
 * @example
 * const bridge = new MediaBridge({ videoFps: 30 });
 * await bridge.start();
 * bridge.pushVideoFrame({ data: rgba, width: 512, height: 512, timestamp: Date.now() });
 * bridge.on("utterance", ({ peerId, data }) => transcribe(peerId, data));
 */
export declare class MediaBridge extends TypedEmitter<MediaBridgeEvents> {
  /** @throws TypeError with code `ERR_INVALID_ARG_VALUE` that names the option. */
  constructor(config?: MediaBridgeConfig | null);

  /** Whether pushes are let through. */
  readonly isStreaming: boolean;

  /** Lets pushes through, and emits `started`. A second start only warns. */
  start(): Promise<void>;

  /** Stops speaking, refuses pushes, and emits `stopped`. A second stop does nothing. */
  stop(): Promise<void>;

  /**
   * Sends a picture to every viewer. `frame.data` is free as soon as the call returns.
   * Never rejects because of content: what cannot be sent is counted and reported.
   *
   * @example
   * renderer.on("frame", (data) => {
   *   bridge.pushVideoFrame({ data, width: 512, height: 512, timestamp: Date.now(), format: "RGBA" });
   * });
   */
  pushVideoFrame(frame: VideoFrame<ArrayBufferView>): Promise<PushOutcome>;

  /**
   * Plays sound to every viewer, in order and in real time, whatever the length of the chunk.
   * `chunk.data` is free as soon as the call returns. Never rejects because of content.
   *
   * @example
   * await bridge.pushAudioChunk({ data: pcm, sampleRate: 24000, channels: 1, timestamp: Date.now() });
   */
  pushAudioChunk(chunk: AudioChunk<ArrayBufferView>): Promise<PushOutcome>;

  /**
   * Has every page's `AvatarClient` emit `cue` when a moment of the sound is heard there. An interruption drops what has
   * not happened. Rejects with `ERR_INVALID_ARG_VALUE` if there is no time, and with `ERR_OUT_OF_RANGE` if `data` is
   * too long.
   *
   * @example
   * await bridge.pushAudioChunk({ data: speech, sampleRate: 24000, channels: 1, timestamp: Date.now() });
   * for (const { word, startMs } of words) bridge.pushCue({ at: startMs, data: word });
   */
  pushCue(cue: Cue): Promise<CueOutcome>;

  /** Sound that was pushed and waits to be played, in ms. */
  readonly queuedAudioMs: number;

  /**
   * Stops speaking: drops the sound that waits to be played and a frame that was not encoded yet, and has the viewers
   * leave out what they have buffered. What is pushed from now on begins clean.
   *
   * @example
   * const { playedMs, discardedMs } = await bridge.interrupt();
   * console.log(`cut off after ${playedMs} of ${playedMs + discardedMs} ms`);
   */
  interrupt(): Promise<Interruption>;

  /**
   * Resolves once all sound that was pushed has been played, was interrupted, or the bridge was stopped.
   *
   * @example
   * await bridge.pushAudioChunk({ data: speech, sampleRate: 24000, channels: 1, timestamp: Date.now() });
   * await bridge.waitForPlayout();
   */
  waitForPlayout(): Promise<void>;

  /**
   * Emits `incoming-audio` with `chunk`: the way in for sound that no browser sent. The microphones of a connected
   * server come through here as well.
   */
  handleIncomingAudio(chunk: AudioChunk | IncomingAudio): void;

  /**
   * The counters, as they are now.
   *
   * @example
   * const { fps, avgLatency, droppedFrames } = bridge.getMetrics();
   */
  getMetrics(): MediaMetrics;

  /** Sets the counters to zero. */
  resetMetrics(): void;
}

/**
 * The same as `new MediaBridge(config)`.
 *
 * @example
 * const bridge = createMediaBridge({ videoFps: 10, microphone: { chunkMs: 20 } });
 */
export declare function createMediaBridge(config?: MediaBridgeConfig | null): MediaBridge;

/**
 * Makes the bridge feed the server, and the server's microphones feed the bridge. Doing it twice is once.
 * One bridge may feed several servers; a server shows the bridge that was connected last.
 *
 * @example
 * const bridge = new MediaBridge();
 * const server = new WebRTCStreamingServer({ signalingPort: 8081 });
 * connectMediaBridge(bridge, server);
 * await server.start();
 * await bridge.start();
 */
export declare function connectMediaBridge(
  bridge: MediaBridge,
  server: WebRTCStreamingServer,
): void;
