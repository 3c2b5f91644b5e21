import { TypedEmitter } from "./lib/emitter.js";
import type {
  AudioChunk,
  IncomingAudio,
  SpeechEnd,
  SpeechStart,
  Utterance,
  VideoFrame,
} from "./media-bridge.js";

/** H.264 constrained baseline, VP8, or VP9 profile 0. */
export type VideoCodec = "H264" | "VP8" | "VP9";

/** Opus at 48 kHz, or G.711 at 8 kHz in its two forms. */
export type AudioCodec = "opus" | "pcmu" | "pcma";

/** How a server listens and whom it serves. */
export interface WebRTCConfig {
  /** TCP port of HTTP and WebSocket, 0 to 65535; 0 takes a free one. Default 8081. */
  signalingPort?: number;
  /** IPv4 or IPv6 address that the signalling port is bound to. Default: every address. */
  signalingHost?: string;
  /** Sent to browsers, and used for the server's own candidates. Default: Google's STUN server. */
  iceServers?: RTCIceServer[];
  /**
   * A TURN server that shares a secret with this one (coturn's `use-auth-secret`): each browser gets credentials of its
   * own, good for a while. Default none.
   */
  turn?: TurnConfig;
  /**
   * TCP port of media, for browsers in networks that let no UDP through (ICE-TCP, RFC 6544), 0 to 65535; 0 takes a free
   * one. Default: none is opened.
   */
  tcpPort?: number;
  /**
   * Who may see the operator's dashboard at `/dashboard`: browsers on this machine (`http://localhost:…`), everyone who
   * reaches the port, or nobody. Behind a proxy on the same machine everybody seems to come from here unless the proxy adds
   * `X-Forwarded-For`: have it do so, or choose `"nobody"`. Default `"loopback"`.
   */
  dashboard?: "loopback" | "everyone" | "nobody";
  /** Logs each step of a connection to standard error (or what `RUST_LOG` says). Default false. */
  debug?: boolean;
  /** Most clients at once, 1 to 100000, those who may resume included; one more gets `"Server full"`. Default 100. */
  maxClients?: number;
  /**
   * What pictures are sent as. A name is a preference: a viewer that lacks it gets the first of H.264, VP8 and VP9 that
   * it has. An array is the whole list, best first: a viewer that has none of it gets an `error` that names both lists.
   * Each codec in use costs one encoder, however many watch it. Default `"auto"`: `["H264", "VP8", "VP9"]`.
   */
  videoCodec?: "auto" | VideoCodec | VideoCodec[];
  /**
   * What sound is sent as, and what browsers send of their microphones; the same way. Default `"opus"`, which is
   * followed by `"pcmu"` and `"pcma"` (G.711, 8 kHz).
   */
  audioCodec?: AudioCodec | AudioCodec[];
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

/** A STUN or TURN server, as browsers write it. */
export interface RTCIceServer {
  /** `stun:`, `stuns:`, `turn:` or `turns:` URLs. */
  urls: string | string[];
  /** For TURN. */
  username?: string;
  /** For TURN. */
  credential?: string;
}

/** A TURN server whose credentials this server makes (draft-uberti-behave-turn-rest). */
export interface TurnConfig {
  /** `turn:` or `turns:` URLs. */
  urls: string | string[];
  /** The secret that both share (coturn: `static-auth-secret`). Browsers never see it. */
  secret: string;
  /** How long a browser's credentials are good for, in seconds, 60 to 31536000. Default 86400. */
  ttlSeconds?: number;
}

/** One browser, as long as its WebSocket lives; 30 s longer if that breaks and the browser's client can resume. */
export interface WebRTCPeer {
  /** A UUID. */
  id: string;
  /** How far its media connection is. */
  state: "connecting" | "connected" | "disconnected" | "failed";
  /** When its WebSocket was accepted. */
  createdAt: Date;
  /** The application's own; the server leaves it out. */
  metadata?: Record<string, unknown>;
  /** Of `peer-connected`: its WebSocket broke and it is there again, with all that was known of it. */
  resumed?: true;
  /** What the page gave its client as `token` (`?token=` of the WebSocket's address). Not enumerable. */
  token?: string;
  /**
   * Hears nothing of this peer's microphone from now on; with `false` hears it again. Not enumerable. Tells whether that
   * changed anything.
   */
  muteMicrophone?(muted?: boolean): boolean;
}

/** One message of the wire protocol: JSON text over the signalling WebSocket. */
export interface SignalingMessage {
  /** What it is; unknown types are for extensions. */
  type:
    | "config"
    | "ping"
    | "pong"
    | "offer"
    | "answer"
    | "ice-candidate"
    | "interrupt"
    | "cues"
    | "error"
    | (string & {});
  /** Whom it concerns, in messages of the server. */
  peerId?: string;
  /** What it carries. */
  data?: unknown;
  /** Of `type: "error"`. */
  error?: string;
}

/** An SDP offer or answer, as browsers write it. */
export interface SessionDescription {
  /** Which step of the negotiation it is. */
  type: "offer" | "answer" | "pranswer" | "rollback";
  /** The description (RFC 8866); none in a rollback. */
  sdp?: string;
}

/** An ICE candidate, as browsers write it. */
export interface IceCandidate {
  /** The `candidate` attribute (RFC 8839); empty: there are no more. */
  candidate?: string;
  /** The `mid` of its section in the description. */
  sdpMid?: string | null;
  /** The index of its section, from 0. */
  sdpMLineIndex?: number | null;
  /** The `ice-ufrag` that it belongs to. */
  usernameFragment?: string | null;
}

/** How the avatar arrives at a viewer, by the account of its own client, each 2 s. What a browser cannot tell is null. */
export interface PeerStats {
  /** When the viewer told this. */
  receivedAt: Date;
  /** From the frame's `timestamp` to its being on the screen, of the last frame. Null for clients that do not measure it. */
  latencyMs: number | null;
  /** The median of that over the last seconds. */
  latencyP50Ms: number | null;
  /** What 95 % of the frames of the last seconds stay below. */
  latencyP95Ms: number | null;
  /** How much later the sound is heard than the picture of the same moment is seen. */
  lipSyncSkewMs: number | null;
  /** Pictures decoded a second. */
  framesPerSecond: number | null;
  /** Times that the picture stood still noticeably, since the connection began. */
  freezeCount: number | null;
  /** Of the packets sent to it, before retransmission, 0 to 100. */
  packetLossPercent: number | null;
  /** To the server and back, by ICE's checks, which a server with a hundred viewers or more answers up to 40 ms later while nothing is streamed. */
  roundTripTimeMs: number | null;
  /** Received, RTP headers included. */
  bitrateBps: number | null;
  /** What pictures wait for in the browser before they are decoded. */
  jitterBufferMs: number | null;
  /** Of the packets' times of arrival (RFC 3550). */
  jitterMs: number | null;
  /** Of the decoded picture, in pixels. */
  frameWidth: number | null;
  /** Of the decoded picture, in pixels. */
  frameHeight: number | null;
  /** Such as `"H264"`. */
  videoCodec: string | null;
  /** Such as `"Opus"`. */
  audioCodec: string | null;
  /** The viewer's side of the path: directly, as a NAT shows it, or by a relay. */
  path: "host" | "srflx" | "prflx" | "relay" | (string & {}) | null;
  /** Of the path. */
  protocol: "udp" | "tcp" | (string & {}) | null;
}

/** One thing that {@link WebRTCStreamingServer.doctor} looked at. */
export interface Finding {
  /** What. */
  check:
    | "signalling-port"
    | "media-port"
    | "tcp-port"
    | "addresses"
    | "announced-addresses"
    | "stun"
    | "turn"
    | "encoder";
  /** `warning`: it works, for some viewers or at a price. `problem`: it does not work. */
  severity: "ok" | "warning" | "problem";
  /** How it is, in words. */
  message: string;
  /** What to do; null if all is well. */
  remedy: string | null;
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
   * Frames and pieces of sound that a network thread came to more than `media.maxLatencyMs` late and did not send to its viewers, and
   * the frames after them up to the next keyframe. Each thread counts its own.
   */
  lateUnits: number;
}

/** How many browsers receive each encoding; an encoder exists only while somebody does. */
export type Viewers = Record<"H264" | "VP8" | "VP9" | "opus" | "pcmu" | "pcma", number>;

/** Events that the application came too late for, because it kept the JavaScript thread busy. */
export interface DroppedEvents {
  /** `incoming-audio` and `utterance`. */
  audio: number;
  /** `offer`, `answer`, `ice-candidate`, `command` and `warning`. */
  messages: number;
  /** `peer-connected`, `peer-disconnected`, `speech-start`, `speech-end` and `error`. */
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

/** Payload of `started`. */
export interface Listening {
  /** The TCP port of signalling. */
  port: number;
}

/** Payload of `peer-disconnected`. */
export interface Disconnection {
  /** Who left. */
  peerId: string;
  /** Why, for people. */
  reason: string;
}

/** Payload of `offer`. */
export interface ReceivedOffer {
  /** Whose it is. */
  peerId: string;
  /** As the client sent it. */
  offer: SessionDescription;
}

/** Payload of `answer`. */
export interface ReceivedAnswer {
  /** Whose it is. */
  peerId: string;
  /** As the client sent it. */
  answer: SessionDescription;
}

/** Payload of `ice-candidate`. */
export interface ReceivedIceCandidate {
  /** Whose it is. */
  peerId: string;
  /** As the client sent it. */
  candidate: IceCandidate;
}

/** Payload of `command`. */
export interface ReceivedCommand {
  /** Who sent it. */
  peerId: string;
  /** `"change-character"`, `"change-emotion"`, or whatever the page sends. */
  command: string;
  /** What came with it, as the page sent it: check it before you use it. */
  data: unknown;
}

/** Payload of `error`. */
export interface ServerError extends Error {
  /** `"EADDRINUSE"`, `"EACCES"`, `"ERR_STREAMING_SERVER"`, … */
  code?: string;
}

/**
 * What a {@link WebRTCStreamingServer} emits: the arguments of each event's listeners.
 *
 * @example
 * server.on("peer-connected", (peer) => console.log(peer.id, "came"));
 * server.on("peer-disconnected", ({ peerId, reason }) => console.log(peerId, "left:", reason));
 * server.on("command", ({ command, data }) => avatar.handle(command, data));
 */
export interface WebRTCStreamingServerEvents {
  /** The server listens. */
  started: [info: Listening];
  /** The server does not listen any more, and every peer is gone. */
  stopped: [];
  /** A client's WebSocket was accepted; with `resumed: true` in the place of one that broke. */
  "peer-connected": [peer: WebRTCPeer];
  /** A client's WebSocket ended, and it did not resume. */
  "peer-disconnected": [info: Disconnection];
  /** What a client sent, for observers and for `autoAnswer: false`. */
  offer: [info: ReceivedOffer];
  /** What a client sent. */
  answer: [info: ReceivedAnswer];
  /** What a client sent. */
  "ice-candidate": [info: ReceivedIceCandidate];
  /** A command from a client's `avatar-control` data channel. */
  command: [info: ReceivedCommand];
  /**
   * A piece of what a browser's user says, while they say it. Microphones are decoded only while somebody listens,
   * here or to a connected bridge: begin whenever you like, in mid-speech too.
   */
  "incoming-audio": [chunk: IncomingAudio];
  /** The whole of what a browser's user said, once they stopped, as far as somebody listened. */
  utterance: [utterance: Utterance];
  /** Somebody began to speak. Connected bridges emit it too. */
  "speech-start": [speech: SpeechStart];
  /** They stopped. */
  "speech-end": [speech: SpeechEnd];
  /** A connected bridge got a frame. */
  "media-video-frame": [frame: VideoFrame];
  /** A connected bridge got a chunk. */
  "media-audio-chunk": [chunk: AudioChunk];
  /** The server itself failed; nothing that a client sends causes it. Goes to `console.error` if nobody listens. */
  error: [error: ServerError];
  /** Something is not as it should be. Goes to `console.warn` if nobody listens. */
  warning: [message: string];
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

  /** The UDP port of media while the server listens, or else null. */
  readonly udpPort: number | null;

  /** The TCP port of media while the server listens, if `tcpPort` asked for one, or else null. */
  readonly tcpPort: number | null;

  /**
   * Listens, and emits `started`. Rejects with a `code` (`EADDRINUSE`, `EACCES`, …) when it cannot, and with
   * `ERR_ALREADY_STARTED` when it does already. The process stays alive until {@link stop}.
   */
  start(): Promise<void>;

  /** Closes every peer and emits `stopped`. A second stop resolves. */
  stop(): Promise<void>;

  /** Every client whose WebSocket is open, or broke less than 30 s ago and may resume. */
  getPeers(): WebRTCPeer[];

  /** How many there are. */
  getPeerCount(): number;

  /**
   * How the avatar arrives at a viewer; null if there is no such peer, or its client has not told yet. It is the browser's
   * word: good for plots, not for what others would feel.
   */
  getPeerStats(peerId: string): PeerStats | null;

  /**
   * Looks for what is wrong with the set-up: ports, addresses that nobody reaches, STUN and TURN servers (which it asks), the
   * encoder's build. Also works before {@link start}. Takes up to some seconds, and some more for each server that is silent.
   *
   * @example
   * for (const { severity, message, remedy } of await server.doctor())
   *   if (severity !== "ok") console.warn(`${message}: ${remedy}`);
   */
  doctor(): Promise<Finding[]>;

  /**
   * Turns a client away: closes its connection with code 4403 and this reason (123 bytes of it), which our own page shows to the
   * viewer as it is; "closed by the application" by default. Our own client then does not come back by itself; media flows until this is called.
   * @returns False: there is no such client.
   *
   * @example
   * server.on("peer-connected", async (peer) => {
   *   if (!(await mayWatch(peer.token))) server.disconnectPeer(peer.id, "not allowed");
   * });
   */
  disconnectPeer(peerId: string, reason?: string): boolean;

  /** Events that were dropped since the server was made. */
  getDroppedEvents(): DroppedEvents;

  /** What was sent to the viewers, and what was refused. All zero while the server does not run. */
  getNetworkStats(): NetworkStats;

  /** How many receive each encoding. All zero while the server does not run. */
  getViewers(): Viewers;

  /** What the microphones cost. */
  getMicrophoneUsage(): MicrophoneUsage;

  /**
   * Sends an SDP answer to a client as it is, for servers with `autoAnswer: false`.
   * @returns False, with a warning: there is no such client.
   *
   * @example
   * const server = new WebRTCStreamingServer({ autoAnswer: false });
   * server.on("offer", async ({ peerId, offer }) => server.sendAnswer(peerId, await negotiate(offer)));
   */
  sendAnswer(peerId: string, answer: SessionDescription): boolean;

  /**
   * Sends an ICE candidate to a client as it is.
   * @returns False, with a warning: there is no such client.
   */
  sendIceCandidate(peerId: string, candidate: IceCandidate): boolean;

  /**
   * Sends any JSON object to every open client.
   * @throws TypeError with code `ERR_INVALID_ARG_VALUE`: it is no object, or JSON cannot carry it.
   *
   * @example
   * server.broadcast({ type: "announcement", data: { text: "Back in five minutes." } });
   */
  broadcast(message: SignalingMessage | Record<string, unknown>): void;

  /**
   * Sends a command over the `avatar-control` data channel to one client or to `"all"`.
   * @returns How many connected clients it was handed to; one whose channel is not open does not get it. 0 also while so
   * many commands wait to be sent that this one is not: send it again later.
   *
   * @example
   * server.sendCommand("all", "change-emotion", { emotion: "happy" });
   */
  sendCommand(peerId: string, command: string, data?: unknown): number;

  /**
   * Hears nothing of a peer's microphone from now on; with `muted` false hears it again. What it is saying ends at once.
   * @returns Whether that changed anything; false also if there is no such peer.
   */
  muteMicrophone(peerId: string, muted?: boolean): boolean;
}

/**
 * The same as `new WebRTCStreamingServer(config)`.
 *
 * @example
 * const server = createWebRTCServer({ signalingPort: 0, maxClients: 10 });
 */
export declare function createWebRTCServer(config?: WebRTCConfig | null): WebRTCStreamingServer;
