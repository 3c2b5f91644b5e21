// A process that streams numbered pictures and can be killed: `fork(this, [port, host])`. Tells its parent
// `{port}` once it listens, and `{peers}` whenever it is sent anything.
import { loopback } from "../../bench/lib/loopback.mjs";
import index from "../../index.js";
import { pushPictures } from "./picture.mjs";

const [, , port, host = "127.0.0.1"] = process.argv;
const system = await index.createStreamingSystem({
  webrtc: { ...loopback, signalingHost: host, listenIps: [host], signalingPort: Number(port) },
});
await system.start();
pushPictures(system.bridge);
process.on("message", () => process.send?.({ peers: system.server.getPeers() }));
process.on("disconnect", () => process.exit());
process.send?.({ port: system.server.port });
