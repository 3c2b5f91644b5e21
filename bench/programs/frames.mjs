// The pictures that are pushed.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asset } from "../../examples/support.mjs";

/** Pixels a side. */
export const SIZE = 512;
export const FPS = 30;

/** The talking head. */
export function jpegFrames() {
  const folder = asset("talking-head");
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name)));
}

/** A second of a drifting gradient: 30 MB, so that no frame is still in a cache when its turn comes. */
export function rgbaFrames() {
  return Array.from({ length: FPS }, (_, n) => {
    const pixels = new Uint32Array(SIZE * SIZE);
    for (let at = 0; at < pixels.length; at++) {
      const [x, y] = [at % SIZE, Math.floor(at / SIZE)];
      const wave = (x + 17 * n) % SIZE;
      const red = wave < 256 ? wave : 511 - wave;
      pixels[at] = 0xff000000 | ((y >> 1) << 16) | red; // little-endian: A B G R
    }
    return Buffer.from(pixels.buffer);
  });
}
