// A portrait that sways, blinks and opens its mouth as far as it is told: the photograph of assets/portrait.png,
// bent. Every pixel of the head is fetched from where it was before the movement; the rest stays as it is.

import { readFileSync } from "node:fs";
import { inflateSync } from "node:zlib";
import { asset } from "../support.mjs";

// Places in the photograph, in pixels.
const HEAD = { x: 218, y: 105, width: 60, height: 90 }; // radii of an ellipse
const EYES = [
  { x: 198, y: 97 },
  { x: 245, y: 99 },
];
const MOUTH = { x: 220, width: 20, corners: 136.5, teeth: 145.5 }; // `teeth`: the edge of the upper ones
const JAW = { width: 38, chin: 178, neck: 206 };
const OPEN = 11; // how far the lower lip goes down
const INSIDE = /** @type {const} */ ([52, 18, 20]); // the colour of an open mouth

/** What can move lies in here. */
const BOX = { left: 120, right: 316, top: 0, bottom: 250 };

export class Portrait {
  #photo = readPng(asset("portrait.png"));
  #frame = Buffer.from(this.#photo.data);
  /** How much of the sway each pixel of the box takes part in. */
  #sway = swayMap();

  /**
   * @param {number} opening of the mouth, 0 to 1
   * @param {number} ms the time, which moves the head and the eyelids
   * @returns {{ data: Buffer, width: number, height: number, format: "RGBA" }} overwritten by the next call
   */
  draw(opening, ms) {
    const { data: photo, width, height } = this.#photo;
    const seconds = ms / 1000;
    const dx = 3 * Math.sin(seconds * 0.9) + 1.2 * Math.sin(seconds * 2.3);
    const dy = 1.2 * Math.sin(seconds * 1.4);
    const drop = OPEN * Math.min(1, Math.max(0, opening));
    const lids = blink(seconds);

    for (let y = BOX.top, i = 0; y < BOX.bottom; y++) {
      for (let x = BOX.left; x < BOX.right; x++, i++) {
        const weight = this.#sway[i] ?? 0;
        if (weight === 0) continue;
        const fromX = x - weight * dx;
        const headY = y - weight * dy;
        const lip = drop === 0 ? headY : belowLip(fromX, headY, drop);
        const fromY = lids === 0 ? lip : belowLid(fromX, lip, lids);
        const to = (y * width + x) * 4;
        sample(photo, width, fromX, Math.max(0, fromY), this.#frame, to);
        const dark = drop === 0 ? 0 : insideMouth(fromX, headY, drop);
        if (dark > 0) {
          for (const [channel, colour] of INSIDE.entries()) {
            const skin = this.#frame[to + channel] ?? 0;
            this.#frame[to + channel] = skin + (colour - skin) * dark;
          }
        }
      }
    }
    return { data: this.#frame, width, height, format: "RGBA" };
  }
}

/** The line along which the lips part: a smile. 0 to 1 how far they part there. */
function lips(/** @type {number} */ x) {
  const across = (x - MOUTH.x) / MOUTH.width;
  const parts = Math.max(0, 1 - across * across);
  return { line: MOUTH.corners + (MOUTH.teeth - MOUTH.corners) * parts, parts };
}

/**
 * Where a pixel was before the jaw went down by `drop`.
 * @param {number} x
 * @param {number} y
 * @param {number} drop
 */
function belowLip(x, y, drop) {
  const across = Math.abs(x - MOUTH.x) / JAW.width;
  if (across >= 1 || y <= MOUTH.corners || y >= JAW.neck) return y;
  const { line, parts } = lips(x);
  if (y <= line) return y;
  const jaw = Math.cos((across * Math.PI) / 2) ** 2;
  const towardsChin = smooth((y - line) / 30);
  const neck = 1 - smooth((y - JAW.chin) / (JAW.neck - JAW.chin));
  return Math.max(line, y - drop * (parts * (1 - towardsChin) + jaw * towardsChin) * neck);
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} drop
 * @returns {number} 0 to 1, with soft edges
 */
function insideMouth(x, y, drop) {
  const { line, parts } = lips(x);
  return clamp(y - line) * clamp(line + drop * parts - y);
}

/**
 * Where a pixel was before the eyelids went down.
 * @param {number} x
 * @param {number} y
 * @param {number} lids 0 to 1
 */
function belowLid(x, y, lids) {
  for (const eye of EYES) {
    const distance = ((x - eye.x) / 14) ** 2 + ((y - eye.y) / 7) ** 2;
    if (distance < 1) return y - 7 * lids * smooth((1 - distance) * 2);
  }
  return y;
}

/** The eyelids: a blink of 0.2 s every four seconds or so. */
function blink(/** @type {number} */ seconds) {
  const since = (seconds + 0.7 * Math.sin(Math.floor(seconds / 4))) % 4;
  return since < 0.2 ? Math.sin((since / 0.2) * Math.PI) : 0;
}

function swayMap() {
  const map = new Float32Array((BOX.right - BOX.left) * (BOX.bottom - BOX.top));
  for (let y = BOX.top, i = 0; y < BOX.bottom; y++) {
    for (let x = BOX.left; x < BOX.right; x++, i++) {
      const away = Math.hypot((x - HEAD.x) / HEAD.width, (y - HEAD.y) / HEAD.height);
      map[i] = 1 - smooth((away - 1) / 0.6);
    }
  }
  return map;
}

/**
 * Sets a pixel of `frame` to the colour between four pixels of `photo`.
 * @param {Buffer} photo
 * @param {number} width
 * @param {number} x
 * @param {number} y
 * @param {Buffer} frame
 * @param {number} to
 */
function sample(photo, width, x, y, frame, to) {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const right = x - left;
  const down = y - top;
  const a = (top * width + left) * 4;
  const b = a + width * 4;
  for (let channel = 0; channel < 3; channel++) {
    const upper =
      /** @type {number} */ (photo[a + channel]) * (1 - right) +
      /** @type {number} */ (photo[a + 4 + channel]) * right;
    const lower =
      /** @type {number} */ (photo[b + channel]) * (1 - right) +
      /** @type {number} */ (photo[b + 4 + channel]) * right;
    frame[to + channel] = upper * (1 - down) + lower * down + 0.5;
  }
}

const clamp = (/** @type {number} */ value) => Math.min(1, Math.max(0, value));
const smooth = (/** @type {number} */ value) => clamp(value) ** 2 * (3 - 2 * clamp(value));

/**
 * The pixels of a PNG of 8-bit RGB that is not interlaced: all that this picture needs.
 * @param {string} path
 * @returns {{ data: Buffer, width: number, height: number }} RGBA
 */
function readPng(path) {
  const file = readFileSync(path);
  const width = file.readUInt32BE(16);
  const height = file.readUInt32BE(20);
  if (file.readUInt16BE(24) !== 0x0802 || file[28] !== 0)
    throw new Error(`${path} is not 8-bit RGB`);
  const parts = [];
  // A length, a name, a body and a checksum, one after the other, from byte 8 on.
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at)) {
    if (file.toString("latin1", at + 4, at + 8) === "IDAT")
      parts.push(file.subarray(at + 8, at + 8 + file.readUInt32BE(at)));
  }
  const rows = inflateSync(Buffer.concat(parts));
  const data = Buffer.alloc(width * height * 4, 255);
  const stride = width * 3;
  let above = Buffer.alloc(stride);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)] ?? 0;
    const row = rows.subarray(y * (stride + 1) + 1, (y + 1) * (stride + 1));
    for (let i = 0; i < stride; i++) {
      const a = i < 3 ? 0 : (row[i - 3] ?? 0);
      const b = above[i] ?? 0;
      const c = i < 3 ? 0 : (above[i - 3] ?? 0);
      const guess = [0, a, b, (a + b) >> 1, paeth(a, b, c)][filter] ?? 0;
      row[i] = (row[i] ?? 0) + guess;
      data[(y * width + Math.floor(i / 3)) * 4 + (i % 3)] = row[i] ?? 0;
    }
    above = row;
  }
  return { data, width, height };
}

/**
 * PNG's predictor (RFC 2083, 6.6): whichever of left, above and corner is nearest to left + above - corner.
 * @param {number} a
 * @param {number} b
 * @param {number} c
 */
function paeth(a, b, c) {
  const [fromA, fromB, fromC] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
  if (fromA <= fromB && fromA <= fromC) return a;
  return fromB <= fromC ? b : c;
}
