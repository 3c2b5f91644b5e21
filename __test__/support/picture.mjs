// Pictures that carry their number, and pushing them. Plain JavaScript: a child process runs it as well.

export const SIDE = 512;
/** The number stands in the top row: 32 cells, white for 1, the lowest bit first; see `codeOf`. */
export const CELL = 16;
/** Flat colours in the bottom row, one square after the other. */
export const PATCH = 64;
export const PATCHES = [
  [200, 40, 40],
  [40, 180, 60],
  [50, 60, 210],
  [220, 200, 50],
  [60, 190, 200],
  [128, 128, 128],
  [230, 150, 120],
  [30, 30, 30],
];

/** 16 bits of number under 16 bits that a misread cell contradicts.
 * @param {number} number */
export const codeOf = (number) => (number | (((number * 40503) ^ 0xa5a5) << 16)) >>> 0;

const tile = paint();

/**
 * RGBA of a scene that wanders by two pixels a frame to the side and one upwards.
 * @param {number} number 0 to 65535
 * @param {Buffer} into
 */
export function picture(number, into = Buffer.alloc(SIDE * SIDE * 4)) {
  const pixels = new Uint32Array(into.buffer, into.byteOffset, SIDE * SIDE);
  const shift = (number * 2) % SIDE;
  for (let y = 0; y < SIDE; y++) {
    const row = ((y + number) % SIDE) * SIDE;
    pixels.set(tile.subarray(row + shift, row + SIDE), y * SIDE);
    pixels.set(tile.subarray(row, row + shift), (y + 1) * SIDE - shift);
  }
  const code = codeOf(number);
  for (let bit = 0; bit < 32; bit++) {
    square(pixels, bit * CELL, 0, CELL, (code >>> bit) & 1 ? 0xffffffff : 0xff000000);
  }
  PATCHES.forEach(([r = 0, g = 0, b = 0], index) => {
    square(pixels, index * PATCH, SIDE - PATCH, PATCH, abgr(r, g, b));
  });
  return into;
}

/** The luma that a decoder should show for it (BT.601, 16 to 235).
 * @param {number} number */
export function lumaOf(number) {
  const rgba = picture(number);
  const luma = new Float32Array(SIDE * SIDE);
  for (let at = 0; at < luma.length; at++) {
    const [r = 0, g = 0, b = 0] = rgba.subarray(at * 4, at * 4 + 3);
    luma[at] = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255;
  }
  return luma;
}

/** Now, in ms of the clock that pages on this machine read as well, finer than `Date.now()`. */
export const now = () => performance.timeOrigin + performance.now();

/**
 * Pushes one picture after the other until `stop`, all from one buffer, never awaited.
 * @param {import("../../index.js").MediaBridge} bridge
 * @param {{fps?: number, from?: number}} [options]
 */
export function pushPictures(bridge, { fps = 30, from = 1 } = {}) {
  const data = Buffer.alloc(SIDE * SIDE * 4);
  /** When each was pushed. @type {Map<number, number>} */
  const pushed = new Map();
  const start = performance.now();
  /** @type {NodeJS.Timeout} */
  let timer;
  let number = from;
  const tick = () => {
    picture(number, data);
    pushed.set(number, now());
    bridge.pushVideoFrame({ data, width: SIDE, height: SIDE, timestamp: Date.now() });
    data.fill(0); // The buffer is ours again: whoever reads it later shows black.
    number += 1;
    timer = setTimeout(tick, start + ((number - from) * 1000) / fps - performance.now());
  };
  tick();
  return {
    pushed,
    get last() {
      return number - 1;
    },
    stop: () => clearTimeout(timer),
  };
}

/** Soft light and shade with a few hard edges, seamless at its borders. */
function paint() {
  const pixels = new Uint32Array(SIDE * SIDE);
  const turn = (2 * Math.PI) / SIDE;
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const wave = Math.sin(turn * (x + 2 * y)) + Math.sin(turn * (3 * x - y));
      const grain = 6 * Math.sin(turn * 40 * x) * Math.sin(turn * 36 * y);
      const inDisc = Math.hypot((x % 256) - 128, (y % 256) - 128) < 60;
      const level = 120 + 35 * wave + grain + (inDisc ? 40 : 0);
      pixels[y * SIDE + x] = abgr(level, level * 0.85, 150 - level / 3);
    }
  }
  return pixels;
}

/** @param {Uint32Array} pixels @param {number} x @param {number} y @param {number} side @param {number} colour */
function square(pixels, x, y, side, colour) {
  for (let row = y; row < y + side; row++) {
    pixels.fill(colour, row * SIDE + x, row * SIDE + x + side);
  }
}

/** @param {number} r @param {number} g @param {number} b */
function abgr(r, g, b) {
  return (0xff000000 | (b << 16) | (g << 8) | r) >>> 0;
}
