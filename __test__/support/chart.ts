// A chart of flat colours in every format that may be pushed; the files are made by the browser.
import type { Page } from "playwright-core";
import type { VideoFrame } from "../../media-bridge.js";

export type Format = NonNullable<VideoFrame["format"]>;
type Colour = [r: number, g: number, b: number];
type Size = { width: number; height: number };

const COLUMNS = 4;
const ROWS = 2;
export const CHART: Colour[] = [
  [200, 40, 40],
  [40, 180, 60],
  [50, 60, 210],
  [220, 200, 50],
  [60, 190, 200],
  [128, 128, 128],
  [235, 235, 235],
  [30, 30, 30],
];

/** The middle of each patch. */
export const centres = ({ width, height }: Size) =>
  CHART.map((_, index) => ({
    x: Math.floor(((index % COLUMNS) + 0.5) * (width / COLUMNS)),
    y: Math.floor((Math.floor(index / COLUMNS) + 0.5) * (height / ROWS)),
  }));

/** The chart as `format`, with the reference formulas of BT.601 for YUV. */
export async function chart(format: Format, size: Size, page: Page): Promise<Buffer> {
  const rgba = Buffer.alloc(size.width * size.height * 4);
  for (let at = 0; at < rgba.length; at += 4) {
    const [x, y] = [(at / 4) % size.width, Math.floor(at / 4 / size.width)];
    const column = Math.floor((x * COLUMNS) / size.width);
    const row = Math.floor((y * ROWS) / size.height);
    rgba.set([...(CHART[row * COLUMNS + column] ?? []), 255], at);
  }
  switch (format) {
    case "RGBA":
      return rgba;
    case "YUV":
    case "I420":
    case "NV12":
      return planes(rgba, size, format === "NV12");
    case "JPEG":
    case "PNG":
      return file(rgba, size, `image/${format.toLowerCase()}`, page);
  }
}

function planes(rgba: Buffer, { width, height }: Size, isInterleaved: boolean): Buffer {
  const [columns, rows] = [Math.ceil(width / 2), Math.ceil(height / 2)];
  const [luma, chroma] = [width * height, columns * rows];
  const data = Buffer.alloc(luma + 2 * chroma);
  for (let at = 0; at < luma; at++) {
    const [r = 0, g = 0, b = 0] = rgba.subarray(at * 4, at * 4 + 3);
    data[at] = Math.round(16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255);
  }
  for (let at = 0; at < chroma; at++) {
    // That of the upper left pixel of four: patches are flat.
    const pixel = Math.floor(at / columns) * 2 * width + (at % columns) * 2;
    const [r = 0, g = 0, b = 0] = rgba.subarray(pixel * 4, pixel * 4 + 3);
    const u = Math.round(128 + (-37.797 * r - 74.203 * g + 112 * b) / 255);
    const v = Math.round(128 + (112 * r - 93.786 * g - 18.214 * b) / 255);
    data.set([u], isInterleaved ? luma + 2 * at : luma + at);
    data.set([v], isInterleaved ? luma + 2 * at + 1 : luma + chroma + at);
  }
  return data;
}

async function file(rgba: Buffer, size: Size, type: string, page: Page): Promise<Buffer> {
  const encoded = await page.evaluate(
    async ({ base64, width, height, type }) => {
      const pixels = Uint8ClampedArray.from(atob(base64), (letter) => letter.charCodeAt(0));
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext("2d")?.putImageData(new ImageData(pixels, width, height), 0, 0);
      const blob = await canvas.convertToBlob({ type, quality: 1 });
      if (blob.type !== type) throw new Error(`the browser made ${blob.type}`);
      const bytes = new Uint8Array(await blob.arrayBuffer());
      return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    },
    { base64: rgba.toString("base64"), type, ...size },
  );
  return Buffer.from(encoded, "base64");
}
