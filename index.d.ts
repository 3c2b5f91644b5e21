/// <reference types="node" />

import { EventEmitter } from "node:events";

// ------------------------------------------------------------------------------------------------ options

/** A STUN or TURN server, as browsers write it. */
export interface RTCIceServer {
  /** `stun:`, `stuns:`, `turn:` or `turns:` URLs. */
  urls: string | string[];
  /** For TURN. */
  username?: string;
  /** For TURN. */
  credential?: string;
}

/** How a server listens and whom it serves. */
export interface WebRTCConfig {
  /** TCP port of HTTP and WebSocket, 0 to 65535; 0 takes a free one. Default 8081. */
  signalingPort?: number;
  /** IPv4 or IPv6 address that the signalling port is bound to. Default: every address. */
  signalingHost?: string;
  /** Sent to browsers, and used for the server's own candidates. Default: Google's STUN server. */
  iceServers?: RTCIceServer[];
  /** Logs each step of a connection to standard error (or what `RUST_LOG` says). Default false. */
  debug?: boolean;
  /** Most clients at once, 1 to 100000; one more gets `"Server full"`. Default 100. */
  maxClients?: number;
  /**
   * The preferred video codec; each viewer falls back to one that it supports. Default `"auto"`. This release
   * sends H.264: `"VP8"` and `"VP9"` are refused with `ERR_INVALID_ARG_VALUE`.
   */
  videoCodec?: "auto" | "H264" | "VP8" | "VP9";
  /** The preferred audio codec. Default `"opus"`, the one that this release sends; others are refused. */
  audioCodec?: "opus" | "pcmu" | "pcma";
  /** Whether the engine answers offers itself; false leaves that to `sendAnswer`. Default true. */
  autoAnswer?: boolean;
  /** UDP port of all media, 0 to 65535; 0 takes a free one. Default 0. */
  udpPort?: number;
  /** Local addresses that media is bound to. Default: every address of the machine. */
  listenIps?: string[];
  /** Addresses told to browsers in the place of the local ones, for NAT and containers. Default none. */
  announcedIps?: string[];
  /**
   * Threads that send to the viewers and hear them, behind the one UDP port, 1 to 32. Each carries a thousand viewers
   * or more (`docs/performance.md`). Default: one a core, at most 4.
   */
  networkThreads?: number;
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

/** What is sent, and what comes back. */
export interface MediaBridgeConfig {
  /** Frames a second that will be pushed, 1 to 120. Default 30. */
  videoFps?: number;
  /** Width of the stream in pixels, 16 to 3840 (2160 if the height is more), rounded down to even. Default 512. */
  videoWidth?: number;
  /** Height of the stream in pixels, 16 to 3840 (2160 if the width is more), rounded down to even. Default 512. */
  videoHeight?: number;
  /** Target rate in bits a second, 50000 to 50000000. Default: 0.13 bits a pixel (1 Mb/s at 512x512, 30 fps). */
  videoBitrate?: number;
  /** Samples a second of `incoming-audio`, 8000 to 48000. Default 16000. */
  audioSampleRate?: number;
  /** Channels of `incoming-audio`, 1 or 2. Default 1. */
  audioChannels?: number;
  /** Most pushed audio that may wait to be played, in ms, 100 to 3600000. Default 120000. */
  maxAudioQueueMs?: number;
  /** Logs each dropped push to standard error. Default false. */
  debug?: boolean;
  /** The way back. */
  microphone?: MicrophoneConfig;
}

/** Options of {@link createStreamingSystem}. */
export interface StreamingSystemConfig {
  /** The server's. */
  webrtc?: WebRTCConfig;
  /** The bridge's. */
  media?: MediaBridgeConfig;
}

// -------------------------------------------------------------------------------------------------- media

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
   * `"RGBA"` (default): 4 bytes a pixel; `"JPEG"`. This release drops frames of the other formats, with the
   * reason `"unsupported-format"`.
   */
  format?: "RGBA" | "YUV" | "I420" | "NV12" | "JPEG" | "PNG";
}

/** A piece of sound, of any length. A push takes any view of bytes as its `data`. */
export interface AudioChunk<Data extends ArrayBufferView = Buffer> {
  /** The samples. Read only inside the call: they may be overwritten as soon as the call returns. */
  data: Data;
  /** Samples a second and channel, 8000 to 192000. */
  sampleRate: number;
  /** Channels, interleaved: 1 or 2. */
  channels: number;
  /** When its first sample is to be heard, in ms of the `Date.now()` clock. */
  timestamp: number;
  /**
   * `"PCM"` (default): signed 16-bit little-endian. This release drops chunks of the other formats, with the
   * reason `"unsupported-format"`.
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
  format: "PCM";
  /** Who speaks. */
  peerId: string;
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
  | "queue-full";

/** What became of a push. */
export type PushOutcome =
  /** It will be sent; a frame may still be superseded by a newer one. */
  | { status: "queued"; reason?: undefined; message?: undefined }
  /** It will not be sent: `reason` for programs, `message` for people. */
  | { status: "dropped"; reason: DropReason; message: string };

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
  /** Frames that a newer one replaced before they were encoded. */
  supersededFrames: number;
  /** Frames encoded; one that was repeated for a keyframe counts again. */
  encodedFrames: number;
  /** Encoded frames that a decoder can begin at. */
  keyframes: number;
  /** Sound that waits to be played, in ms. */
  queuedAudioMs: number;
  /** Why the last frame that was not sent was not. */
  lastFrameError?: DropReason;
  /** Why the last chunk that was not sent was not. */
  lastChunkError?: DropReason;
}

// -------------------------------------------------------------------------------------------------- peers

/** One browser, as long as its WebSocket lives. */
export interface WebRTCPeer {
  /** A UUID. */
  id: string;
  /** How far its media connection is. */
  state: "connecting" | "connected" | "disconnected" | "failed";
  /** When its WebSocket was accepted. */
  createdAt: Date;
  metadata?: Record<string, unknown>;
}

/** One message of the wire protocol: JSON text over the signalling WebSocket. */
export interface SignalingMessage {
  type: "config" | "ping" | "pong" | "offer" | "answer" | "ice-candidate" | "error" | (string & {});
  peerId?: string;
  data?: unknown;
  /** Of `type: "error"`. */
  error?: string;
}

/** An SDP offer or answer, as browsers write it. */
export interface SessionDescription {
  type: "offer" | "answer" | "pranswer" | "rollback";
  sdp?: string;
}

/** An ICE candidate, as browsers write it. */
export interface IceCandidate {
  candidate?: string;
  sdpMid?: string | null;
  sdpMLineIndex?: number | null;
  usernameFragment?: string | null;
}

/** What was sent to all viewers since the server last started, and what was refused. */
export interface NetworkStats {
  /** RTP packets sent, retransmissions included. */
  packetsSent: number;
  /** Their bytes, without UDP and IP headers. */
  bytesSent: number;
  /** Packets sent again because a viewer had lost them (NACK). */
  retransmittedPackets: number;
  /** Packets asked for and not sent again: too many in a second, or too old. */
  refusedNacks: number;
  /** Keyframes asked for (PLI, FIR) more often than a viewer may: six at once, then one every two seconds. */
  refusedKeyframeRequests: number;
  /** Datagrams of viewers who sent more than a viewer may (1,000 a second); they were not read. */
  refusedDatagrams: number;
  /** Data-channel messages of viewers who sent more than a viewer may: 200 at once, then 100 a second. */
  refusedMessages: number;
  /** Frames and pieces of sound that a viewer did not get because the socket was full, up to its next keyframe. */
  blockedUnits: number;
  /**
   * Frames and pieces of sound that a network thread came to more than 200 ms late and did not send to its viewers, and
   * the frames after them up to the next keyframe. Each thread counts its own.
   */
  lateUnits: number;
}

/** Events that the application came too late for, because it kept the JavaScript thread busy. */
export interface DroppedEvents {
  /** `incoming-audio` and `utterance`. */
  audio: number;
  /** `offer`, `answer`, `ice-candidate`, `command` and `warning`. */
  messages: number;
  /** `peer-connected`, `peer-disconnected` and `error`. */
  state: number;
}

/** What the microphones of a server cost, since it was started. */
export interface MicrophoneUsage {
  /** Microphones that are being decoded now: of peers who may be speaking, while somebody listens. */
  decoders: number;
  /** Packets (20 ms of sound each, usually) that were decoded. */
  packets: number;
  /** Packets that there was no time for. */
  dropped: number;
}

// ------------------------------------------------------------------------------------------------- events

/** An EventEmitter that knows the names of its events and what each carries. */
export declare class TypedEmitter<
  Events extends Record<keyof Events, unknown[]>,
> extends EventEmitter {
  on<E extends keyof Events & string>(event: E, listener: (...payload: Events[E]) => void): this;
  once<E extends keyof Events & string>(event: E, listener: (...payload: Events[E]) => void): this;
  off<E extends keyof Events & string>(event: E, listener: (...payload: Events[E]) => void): this;
  addListener<E extends keyof Events & string>(
    event: E,
    listener: (...payload: Events[E]) => void,
  ): this;
  removeListener<E extends keyof Events & string>(
    event: E,
    listener: (...payload: Events[E]) => void,
  ): this;
  prependListener<E extends keyof Events & string>(
    event: E,
    listener: (...payload: Events[E]) => void,
  ): this;
  prependOnceListener<E extends keyof Events & string>(
    event: E,
    listener: (...payload: Events[E]) => void,
  ): this;
  emit<E extends keyof Events & string>(event: E, ...payload: Events[E]): boolean;
}

/** What a {@link MediaBridge} emits. */
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
  /** Something was wrong with pushed media; at most one a second for pictures and one for sound. Goes to `console.warn` if nobody listens. */
  warning: [message: string];
}

/** What a {@link WebRTCStreamingServer} emits. */
export interface WebRTCStreamingServerEvents {
  /** The server listens. */
  started: [info: { port: number }];
  /** The server does not listen any more, and every peer is gone. */
  stopped: [];
  /** A client's WebSocket was accepted. */
  "peer-connected": [peer: WebRTCPeer];
  /** A client's WebSocket ended. */
  "peer-disconnected": [info: { peerId: string; reason: string }];
  /** What a client sent, for observers and for `autoAnswer: false`. */
  offer: [info: { peerId: string; offer: SessionDescription }];
  /** What a client sent. */
  answer: [info: { peerId: string; answer: SessionDescription }];
  /** What a client sent. */
  "ice-candidate": [info: { peerId: string; candidate: IceCandidate }];
  /** A command from a client's `avatar-control` data channel. */
  command: [info: { peerId: string; command: string; data: unknown }];
  /**
   * A piece of what a browser's user says, while they say it. Microphones are decoded only while somebody listens,
   * here or to a connected bridge: begin whenever you like, in mid-speech too.
   */
  "incoming-audio": [chunk: IncomingAudio];
  /** The whole of what a browser's user said, once they stopped, as far as somebody listened. */
  utterance: [utterance: Utterance];
  /** A connected bridge got a frame. */
  "media-video-frame": [frame: VideoFrame];
  /** A connected bridge got a chunk. */
  "media-audio-chunk": [chunk: AudioChunk];
  /** The server itself failed; nothing that a client sends causes it. Goes to `console.error` if nobody listens. */
  error: [error: Error & { code?: string }];
  /** Something is not as it should be. Goes to `console.warn` if nobody listens. */
  warning: [message: string];
}

// ------------------------------------------------------------------------------------------------ classes

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

  /** Refuses pushes, and emits `stopped`. A second stop does nothing. */
  stop(): Promise<void>;

  /**
   * Sends a picture to every viewer. `frame.data` is free as soon as the call returns.
   * Never rejects because of content: what cannot be sent is counted and reported.
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

  /** Emits `incoming-audio` with `chunk`. */
  handleIncomingAudio(chunk: AudioChunk | IncomingAudio): void;

  /** The counters. */
  getMetrics(): MediaMetrics;

  /** Sets the counters to zero. */
  resetMetrics(): void;
}

/**
 * The signalling server and its peers. Works alone; {@link connectMediaBridge} gives it something to show.
 *
 * @example
 * const server = new WebRTCStreamingServer({ signalingPort: 0 });
 * server.on("started", ({ port }) => console.log(`open http://localhost:${port}/`));
 * await server.start();
 */
export declare class WebRTCStreamingServer extends TypedEmitter<WebRTCStreamingServerEvents> {
  /** Does not listen yet. @throws TypeError with code `ERR_INVALID_ARG_VALUE` that names the option. */
  constructor(config?: WebRTCConfig | null);

  /** The signalling port while the server listens, or else null. */
  readonly port: number | null;

  /**
   * Listens, and emits `started`. Rejects with a `code` (`EADDRINUSE`, `EACCES`, …) when it cannot, and with
   * `ERR_ALREADY_STARTED` when it does already. The process stays alive until {@link stop}.
   */
  start(): Promise<void>;

  /** Closes every peer and emits `stopped`. A second stop resolves. */
  stop(): Promise<void>;

  /** Every client whose WebSocket is open. */
  getPeers(): WebRTCPeer[];

  /** How many there are. */
  getPeerCount(): number;

  /** Events that were dropped since the server was made. */
  getDroppedEvents(): DroppedEvents;

  /** What was sent to the viewers, and what was refused. All zero while the server does not run. */
  getNetworkStats(): NetworkStats;

  /** What the microphones cost. */
  getMicrophoneUsage(): MicrophoneUsage;

  /** Sends an SDP answer to a client as it is. False, with a warning: there is no such client. */
  sendAnswer(peerId: string, answer: SessionDescription): boolean;

  /** Sends an ICE candidate to a client as it is. False, with a warning: there is no such client. */
  sendIceCandidate(peerId: string, candidate: IceCandidate): boolean;

  /** Sends any JSON object to every open client. */
  broadcast(message: SignalingMessage | Record<string, unknown>): void;

  /**
   * Sends a command over the `avatar-control` data channel to one client or to `"all"`.
   * @returns How many connected clients it was handed to; one whose channel is not open does not get it.
   *
   * @example
   * server.sendCommand("all", "change-emotion", { emotion: "happy" });
   */
  sendCommand(peerId: string, command: string, data?: unknown): number;
}

/** What {@link StreamingSystem.getStatus} tells. */
export interface StreamingStatus {
  /** Whether the server listens and the bridge is started. */
  isRunning: boolean;
  /** The signalling port while the server listens, or else null. */
  port: number | null;
  /** How many clients there are. */
  peerCount: number;
  /** Those of the bridge. */
  metrics: MediaMetrics;
  /** What the server sent and refused. */
  network: NetworkStats;
  /** Those of the server. */
  droppedEvents: DroppedEvents;
}

/** A server and the bridge that feeds it. */
export interface StreamingSystem {
  readonly server: WebRTCStreamingServer;
  readonly bridge: MediaBridge;
  /** Starts the bridge, and after a stop the server again. A second start warns and resolves. */
  start(): Promise<void>;
  /** Stops the bridge, then the server. A second stop resolves. */
  stop(): Promise<void>;
  /** How things are now. */
  getStatus(): StreamingStatus;
  /** The same as {@link stop}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a server that listens already and a bridge that feeds it.
 * Rejects, leaving nothing running, with a `code`: `EADDRINUSE`, `EACCES`, `ERR_INVALID_ARG_VALUE`, …
 *
 * @example
 * const system = await createStreamingSystem({ webrtc: { signalingPort: 8081 }, media: { videoFps: 30 } });
 * await system.start();
 * system.bridge.pushVideoFrame({ data: rgba, width: 512, height: 512, timestamp: Date.now() });
 */
export declare function createStreamingSystem(
  config?: StreamingSystemConfig | null,
): Promise<StreamingSystem>;

/** The same as `new WebRTCStreamingServer(config)`. */
export declare function createWebRTCServer(config?: WebRTCConfig | null): WebRTCStreamingServer;

/** The same as `new MediaBridge(config)`. */
export declare function createMediaBridge(config?: MediaBridgeConfig | null): MediaBridge;

/**
 * Makes the bridge feed the server, and the server's microphones feed the bridge. Doing it twice is once.
 */
export declare function connectMediaBridge(
  bridge: MediaBridge,
  server: WebRTCStreamingServer,
): void;
