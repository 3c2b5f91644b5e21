// A worker thread that streams numbered pictures and sound until it is terminated. Tells its parent the port.
import { parentPort } from "node:worker_threads";
import { createStreamingSystem } from "avatar-webrtc-streaming";
import { loopback } from "../../bench/lib/loopback.mjs";
import { pushPictures } from "./picture.mjs";

const system = await createStreamingSystem({
  webrtc: loopback,
});
await system.start();
system.bridge.on("incoming-audio", () => {});
pushPictures(system.bridge);
// A minute of it, so that there is some to play whenever the end comes.
const data = Buffer.alloc(60 * 16_000 * 2, 1);
system.bridge.pushAudioChunk({ data, sampleRate: 16_000, channels: 1, timestamp: Date.now() });
parentPort?.postMessage(system.server.port);
