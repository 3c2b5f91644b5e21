// A process whose avatar speaks while its JavaScript thread does something else: `fork(this)`. Tells its parent `{port}`;
// on "speak" that a microphone is `{heard}`; on "block" that it is `{blocked}`, and later what that cost.
import { loopback } from "../../bench/lib/loopback.mjs";
import index from "../../index.js";
import { picture, SIDE } from "./picture.mjs";

const RATE = 24_000;
const SPEECH_SECONDS = 60;
/** Long enough for more events than wait for JavaScript. */
const BUSY_MS = 12_000;

const system = await index.createStreamingSystem({
  webrtc: loopback,
  media: {
    idleFrames: Array.from({ length: 30 }, (_, n) => ({
      data: picture(n + 1),
      width: SIDE,
      height: SIDE,
    })),
    // As many events as a microphone can make.
    microphone: { chunkMs: 20, voiceGating: false },
  },
});
await system.start();
let chunks = 0;
system.bridge.on("incoming-audio", () => {
  chunks += 1;
});

/** A tone that comes and goes. */
function speech() {
  const data = Buffer.alloc(2 * RATE * SPEECH_SECONDS);
  for (let n = 0; n < data.length / 2; n++) {
    const level = Math.sin((2 * Math.PI * n) / RATE) ** 2;
    data.writeInt16LE(Math.round(16_000 * level * Math.sin((2 * Math.PI * 440 * n) / RATE)), 2 * n);
  }
  return data;
}

process.on("message", async (order) => {
  if (order === "speak") {
    await system.bridge.pushAudioChunk({
      data: speech(),
      sampleRate: RATE,
      channels: 1,
      timestamp: Date.now(),
    });
    while (chunks < 50) await new Promise((resolve) => setTimeout(resolve, 20));
    process.send?.({ heard: true });
  } else {
    process.send?.({ blocked: true }, () => {
      const rss = process.memoryUsage.rss();
      const begun = Date.now();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_MS);
      const grownMiB = (process.memoryUsage.rss() - rss) / 2 ** 20;
      process.send?.({
        blockedMs: Date.now() - begun,
        grownMiB,
        dropped: system.server.getDroppedEvents(),
      });
    });
  }
});
process.on("disconnect", () => process.exit());
process.send?.({ port: system.server.port });
