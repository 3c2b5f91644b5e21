// Comparing what a browser shows with what was pushed (`picture.mjs`).
import type { Viewer } from "./chromium.js";
import { lumaOf, PATCH, PATCHES, SIDE } from "./picture.mjs";

/** The middle of each flat patch. */
export const CENTRES = PATCHES.map((_, index) => ({
  x: index * PATCH + PATCH / 2,
  y: SIDE - PATCH / 2,
}));

/** How far each patch's colour is off, in levels. */
export function patchErrors(colours: number[][]): number[] {
  return colours.map((colour, patch) =>
    Math.max(...colour.map((level, at) => Math.abs(level - (PATCHES[patch]?.[at] ?? 0)))),
  );
}

/** Peak signal to noise, in dB. */
export function psnr(decoded: ArrayLike<number>, pushed: ArrayLike<number>): number {
  let squares = 0;
  for (let at = 0; at < decoded.length; at++) {
    squares += ((decoded[at] as number) - (pushed[at] as number)) ** 2;
  }
  return 10 * Math.log10((255 ** 2 * decoded.length) / squares);
}

/** The {@link psnr} of the luma of each picture that the page kept. */
export async function lumaNoise(viewer: Viewer): Promise<number[]> {
  const kept = await viewer.page.evaluate(() =>
    window.watched.luma.map(({ number, data }) => ({ number, data: window.watched.base64(data) })),
  );
  return kept.map(({ number, data }) => psnr(Buffer.from(data, "base64"), lumaOf(number ?? 0)));
}
