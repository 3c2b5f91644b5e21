// The whole API. The classes are in two modules of their own, for applications that import them one by one.

import type { Interruption, MediaBridge, MediaBridgeConfig, MediaMetrics } from "./media-bridge.js";
import type {
  DroppedEvents,
  Finding,
  NetworkStats,
  Viewers,
  WebRTCConfig,
  WebRTCStreamingServer,
} from "./webrtc-server.js";

export * from "./media-bridge.js";
export * from "./webrtc-server.js";

/** Options of {@link createStreamingSystem}. */
export interface StreamingSystemConfig {
  /** The server's. */
  webrtc?: WebRTCConfig;
  /** The bridge's. */
  media?: MediaBridgeConfig;
}

/** What {@link StreamingSystem.getStatus} tells. */
export interface StreamingStatus {
  /** Whether the server listens and the bridge is started. */
  isRunning: boolean;
  /** The signalling port while the server listens, or else null. */
  port: number | null;
  /** How many clients there are. */
  peerCount: number;
  /** How many receive each encoding. */
  viewers: Viewers;
  /** Those of the bridge. */
  metrics: MediaMetrics;
  /** What the server sent and refused. */
  network: NetworkStats;
  /** Those of the server. */
  droppedEvents: DroppedEvents;
}

/**
 * A server and the bridge that feeds it: what {@link createStreamingSystem} makes.
 *
 * @example
 * {
 *   await using system = await createStreamingSystem();
 *   await system.start();
 *   console.log(system.getStatus().port);
 * } // stopped here
 */
export interface StreamingSystem {
  /** Who watches. */
  readonly server: WebRTCStreamingServer;
  /** What they are shown, and what comes back from them. */
  readonly bridge: MediaBridge;
  /** Starts the bridge, and after a stop the server again. A second start warns and resolves. */
  start(): Promise<void>;
  /** Stops the bridge, then the server. A second stop resolves. */
  stop(): Promise<void>;
  /** The same as {@link MediaBridge.interrupt}. */
  interrupt(): Promise<Interruption>;
  /** How things are now. */
  getStatus(): StreamingStatus;
  /** The same as {@link WebRTCStreamingServer.doctor}. */
  doctor(): Promise<Finding[]>;
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
