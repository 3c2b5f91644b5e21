// The pictures that are pushed.

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asset } from "../../examples/support.mjs";
import { release } from "../lib/process.mjs";

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

/** The talking head as a renderer has it: 94 MB, so that no frame is still in a cache when its turn comes. */
export function rgbaFrames() {
  const bytes = SIZE * SIZE * 4;
  const all = execFileSync(release("examples/pictures"), ["rgba"], { maxBuffer: 200 * bytes });
  return Array.from({ length: all.length / bytes }, (_, n) =>
    all.subarray(n * bytes, (n + 1) * bytes),
  );
}
