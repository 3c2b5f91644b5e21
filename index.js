// The JavaScript face of the engine: EventEmitters over the native handles of `binding.js`.
//
//   StreamingSystem = MediaBridge (what is pushed) -> WebRTCStreamingServer (who watches)
//
// The invariant: no listener's exception, no pushed content and nothing that a browser sends can make an
// engine call fail; and nothing here keeps the process alive but a server that listens.

const { invalid, isObject } = require("./lib/arguments.js");
const { MediaBridge, connectMediaBridge, createMediaBridge } = require("./media-bridge.js");
const { WebRTCStreamingServer, createWebRTCServer } = require("./webrtc-server.js");

class StreamingSystem {
  #change = Promise.resolve();

  constructor(server, bridge) {
    this.server = server;
    this.bridge = bridge;
  }

  start() {
    return this.#next(async () => {
      if (this.server.port !== null && this.bridge.isStreaming) {
        console.warn("[StreamingSystem] already started");
        return;
      }
      if (this.server.port === null) await this.server.start();
      if (!this.bridge.isStreaming) await this.bridge.start();
    });
  }

  stop() {
    return this.#next(async () => {
      await this.bridge.stop();
      await this.server.stop();
    });
  }

  interrupt() {
    return this.bridge.interrupt();
  }

  doctor() {
    return this.server.doctor();
  }

  getStatus() {
    const { port } = this.server;
    return {
      isRunning: port !== null && this.bridge.isStreaming,
      port,
      peerCount: this.server.getPeerCount(),
      metrics: this.bridge.getMetrics(),
      viewers: this.server.getViewers(),
      network: this.server.getNetworkStats(),
      droppedEvents: this.server.getDroppedEvents(),
    };
  }

  [Symbol.asyncDispose]() {
    return this.stop();
  }

  /** One start or stop after the other, in the order of the calls. */
  #next(step) {
    const done = this.#change.then(step);
    this.#change = done.catch(() => {});
    return done;
  }
}

async function createStreamingSystem(config) {
  if (config !== undefined && config !== null && !isObject(config)) {
    throw invalid("config", "an object", config);
  }
  const server = new WebRTCStreamingServer(config?.webrtc);
  const bridge = new MediaBridge(config?.media);
  connectMediaBridge(bridge, server);
  await server.start();
  return new StreamingSystem(server, bridge);
}

module.exports = {
  createStreamingSystem,
  WebRTCStreamingServer,
  createWebRTCServer,
  MediaBridge,
  createMediaBridge,
  connectMediaBridge,
};
