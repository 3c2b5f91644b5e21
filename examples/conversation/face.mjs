// The face: a picture for each moment. LivePortrait over HTTP, or a portrait that is bent on this machine.
//
//   POST {LIVEPORTRAIT_URL}/api/render   multipart: source_image = portrait.jpg,
//                                        expression = neutral (silent) or happy (speaking),
//                                        mouth_open = 0 to 1, which services that do not know it ignore
//   200                                  a JPEG

import { readFileSync } from "node:fs";
import { asset } from "../support.mjs";
import { Portrait } from "./portrait.mjs";
import { post } from "./remote.mjs";

/** @typedef {{ data: Buffer, width: number, height: number, format: "RGBA" | "JPEG" }} Picture */

/** @typedef {{ opening: number, speaking: boolean }} Expression `opening` of the mouth, 0 to 1 */

/**
 * @callback Draw
 * @param {Expression} expression
 * @param {AbortSignal} [signal]
 * @returns {Promise<Picture>} overwritten by the next call
 */

const RETRY_MS = 5_000;

/** @returns {Draw} */
export function face(url = process.env.LIVEPORTRAIT_URL) {
  const portrait = new Portrait();
  /** @type {Draw} */
  const local = async ({ opening }) => portrait.draw(opening, performance.now());
  return url ? withStandIn(livePortrait(url), local) : local;
}

/**
 * @param {string} url
 * @returns {Draw}
 */
function livePortrait(url) {
  const service = { name: "LivePortrait", url, variable: "LIVEPORTRAIT_URL" };
  const source = new Blob([new Uint8Array(readFileSync(asset("talking-head/000.jpg")))], {
    type: "image/jpeg",
  });
  return async ({ opening, speaking }, signal) => {
    const form = new FormData();
    form.append("source_image", source, "portrait.jpg");
    form.append("expression", speaking ? "happy" : "neutral");
    form.append("mouth_open", opening.toFixed(2));
    const response = await post(service, "/api/render", form, signal);
    const data = Buffer.from(await response.arrayBuffer());
    return { data, width: 512, height: 512, format: "JPEG" }; // the JPEG's own size counts
  };
}

/**
 * A face that fails is replaced for a while, and complained about once: there are 30 pictures a second.
 * @param {Draw} draw
 * @param {Draw} standIn
 * @returns {Draw}
 */
function withStandIn(draw, standIn) {
  let retryAt = 0;
  let works = true;
  return async (expression, signal) => {
    if (performance.now() >= retryAt) {
      try {
        const picture = await draw(expression, signal);
        if (!works) console.log("LivePortrait is back");
        works = true;
        return picture;
      } catch (error) {
        if (signal?.aborted) throw error;
        if (works)
          console.error(`${/** @type {Error} */ (error).message}. Until then it is drawn here`);
        works = false;
        retryAt = performance.now() + RETRY_MS;
      }
    }
    return standIn(expression, signal);
  };
}
