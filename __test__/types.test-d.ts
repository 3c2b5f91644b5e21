// Compiled, never run: `tsc --noEmit --strict` is the test.
import { type EventEmitter, once } from "node:events";
import {
  type AudioChunk,
  connectMediaBridge,
  createMediaBridge,
  createStreamingSystem,
  createWebRTCServer,
  MediaBridge,
  type MediaBridgeConfig,
  type MediaBridgeEvents,
  type RTCIceServer,
  type SignalingMessage,
  type StreamingSystem,
  type StreamingSystemConfig,
  type Utterance,
  type VideoFrame,
  type WebRTCConfig,
  type WebRTCPeer,
  WebRTCStreamingServer,
} from "avatar-webrtc-streaming";
import type { AvatarView } from "avatar-webrtc-streaming/avatar-view";
import * as indexModule from "avatar-webrtc-streaming/index.js";
import * as bridgeModule from "avatar-webrtc-streaming/media-bridge.js";
import type * as serverModule from "avatar-webrtc-streaming/webrtc-server.js";

const iceServers: RTCIceServer[] = [
  { urls: "stun:stun.example.com" },
  { urls: ["turn:turn.example.com"], username: "user", credential: "pass" },
];
const webrtc: WebRTCConfig = { signalingPort: 8081, debug: true, maxClients: 100, iceServers };
const media: MediaBridgeConfig = { videoFps: 30, microphone: { chunkMs: 100 } };
const config: StreamingSystemConfig = { webrtc, media };
const message: SignalingMessage = { type: "announcement", data: { text: "hello" } };

// The calls of the original description compile.
export async function use(buffer: Buffer): Promise<void> {
  const system: StreamingSystem = await createStreamingSystem(config);
  await system.start();
  const frame: VideoFrame = {
    data: buffer,
    width: 512,
    height: 512,
    timestamp: Date.now(),
    format: "RGBA",
  };
  const chunk: AudioChunk = {
    data: buffer,
    sampleRate: 16000,
    channels: 1,
    timestamp: Date.now(),
    format: "PCM",
  };
  await system.bridge.pushVideoFrame(frame);
  const outcome = await system.bridge.pushAudioChunk(chunk);
  if (outcome.status === "dropped") console.log(outcome.reason.length, outcome.message.length);
  await system.bridge.pushAudioChunk({ ...chunk, data: new Int16Array(320) });
  await system.bridge.pushVideoFrame({ ...frame, data: new Uint8ClampedArray(4) });
  const { playedMs, discardedMs } = await system.interrupt();
  await system.bridge.waitForPlayout();
  system.bridge.on("playout-ended", () => console.log(playedMs + discardedMs));
  system.bridge.on("video-stalled", () => console.log(system.bridge.queuedAudioMs));
  console.log(system.getStatus().viewers.VP8, system.bridge.getMetrics().keyframeReasons.asked);
  const { metrics, peerCount, port } = system.getStatus();
  console.log(metrics.droppedFrames + peerCount, port?.toFixed());
  system.server.broadcast(message);
  system.server.broadcast({ type: "custom", anything: 1 });
  await system.stop();
  await using other = await createStreamingSystem();
  other.bridge.resetMetrics();
}

// The original modules, one by one: the same classes, so that they mix.
export function modules(frame: bridgeModule.VideoFrame): SignalingMessage {
  const bridge: MediaBridge = new bridgeModule.MediaBridge();
  const server: serverModule.WebRTCStreamingServer = createWebRTCServer();
  bridgeModule.connectMediaBridge(bridge, server);
  indexModule.connectMediaBridge(bridge, server);
  void bridge.pushVideoFrame(frame);
  const reply: serverModule.SignalingMessage = { type: "pong" };
  return reply;
}

// Negotiation takes what browsers and their types call it.
export function negotiate(server: WebRTCStreamingServer, answer: RTCSessionDescriptionInit) {
  const sent: boolean = server.sendAnswer("peer", answer);
  const candidate: RTCIceCandidateInit = { candidate: "", sdpMid: "0" };
  server.on("offer", ({ peerId, offer }) =>
    server.sendAnswer(peerId, { ...offer, type: "answer" }),
  );
  return sent && server.sendIceCandidate("peer", candidate);
}

// The element's name stands for its class.
export function view(document: Document): AvatarView | null {
  document.createElement("avatar-view").controls = true;
  return document.querySelector("avatar-view");
}

// Events infer their payloads.
export function listen(bridge: MediaBridge, server: WebRTCStreamingServer): void {
  bridge.on("incoming-audio", (chunk) => console.log(chunk.data.byteLength, chunk.sampleRate));
  bridge.on("incoming-audio", (chunk: AudioChunk) => console.log(chunk.data.toString("base64")));
  bridge.on("incoming-audio", ({ peerId }) => console.log(peerId.trim()));
  bridge.once("utterance", ({ peerId, durationMs }) =>
    console.log(peerId.trim(), durationMs.toFixed()),
  );
  server.on("peer-connected", (peer: WebRTCPeer) => console.log(peer.createdAt.getTime()));
  server.on("peer-disconnected", ({ peerId, reason }) => console.log(peerId.trim(), reason.trim()));
  server.on("started", ({ port }) => console.log(port.toFixed()));
  server.on("error", (error) => console.log(error.message, error.code));
  connectMediaBridge(createMediaBridge(), createWebRTCServer(webrtc));

  bridge.off("utterance", (utterance: Utterance) => console.log(utterance.durationMs));
  bridge.removeAllListeners("utterance").removeAllListeners();
  server.listeners("command").map((listen) => listen({ peerId: "", command: "", data: 0 }));
  const names: (keyof MediaBridgeEvents)[] = bridge.eventNames();
  console.log(names.length, server.listenerCount("incoming-audio"), once(server, "started"));
  const plain: EventEmitter = bridge;
  plain.on("anything", () => {});

  // @ts-expect-error no such event
  bridge.on("incoming-video", () => {});
  // @ts-expect-error no such event
  bridge.once("end", () => {});
  // @ts-expect-error no such event
  bridge.off("Utterance", () => {});
  // @ts-expect-error no such event
  server.removeAllListeners("frame");
  // @ts-expect-error no such event
  server.listenerCount("peers");
  // @ts-expect-error an event of the other class
  bridge.on("peer-connected", () => {});
  // @ts-expect-error the payload is missing
  bridge.emit("warning");
  // @ts-expect-error the payload is another one
  server.on("peer-connected", (peerId: string) => console.log(peerId));
  // @ts-expect-error the payload has no such field
  server.on("started", ({ host }) => console.log(host));
  // @ts-expect-error a frame has a width
  bridge.pushVideoFrame({ data: Buffer.alloc(4), height: 1, timestamp: 0 });
  const format = "BMP";
  // @ts-expect-error no such format
  bridge.pushVideoFrame({ data: Buffer.alloc(4), width: 1, height: 1, timestamp: 0, format });
  // @ts-expect-error a port is a number
  new WebRTCStreamingServer({ signalingPort: "8081" });
  // @ts-expect-error no such option
  new MediaBridge({ videoFPS: 30 });
  // @ts-expect-error the other way round
  connectMediaBridge(server, bridge);
}
