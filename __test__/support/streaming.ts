import type { StreamingSystem, WebRTCConfig } from "../../index.js";
import { cleanup, systemWith } from "../support.js";
import { pushPictures } from "./picture.mjs";

/** A system that streams numbered pictures until the test ends. */
export async function streaming(webrtc: WebRTCConfig = {}): Promise<StreamingSystem> {
  const system = await systemWith(webrtc);
  await system.start();
  cleanup(pushPictures(system.bridge).stop);
  return system;
}
