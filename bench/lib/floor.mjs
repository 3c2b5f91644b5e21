// The floor (`crates/core/examples/floor.rs`) with the packets that viewers got.

import { release, runJson } from "./process.mjs";

/** @typedef {{ packetsAFrame: number, packetBytes: number, opusBytes: number }} Shape bytes of RTP payload */

/** What the generator counts beside the payload: the RTP header and the tag of AES-GCM. */
const OVERHEAD = 12 + 16;

/**
 * @param {any} seen a report of the generator
 * @returns {Shape}
 */
export function shapeOf({ frames, incompleteFrames, video, audio }) {
  return {
    packetsAFrame: Number((video.packets / (frames + incompleteFrames)).toFixed(2)),
    packetBytes: Math.round(video.bytes / video.packets) - OVERHEAD,
    opusBytes: Math.round(audio.bytes / audio.packets) - OVERHEAD,
  };
}

/**
 * @param {number} viewers
 * @param {number} seconds
 * @param {Shape} shape
 * @returns {Promise<any>} what the program printed, and `microseconds` of CPU a viewer-second
 */
export async function measureFloor(viewers, seconds, { packetsAFrame, packetBytes, opusBytes }) {
  const args = [viewers, seconds, packetsAFrame, packetBytes, opusBytes];
  const result = await runJson(release("examples/floor"), args, { seconds: seconds + 30 });
  return { ...result, microseconds: (1e6 * result.cpuSeconds) / result.seconds / viewers };
}
