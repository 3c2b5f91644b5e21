// Frames from a renderer (LivePortrait, a game engine, …): a service that emits RGBA pictures.
//   node examples/renderer.mjs [--port N] [--seconds N]

import { EventEmitter } from "node:events";
import { options, startSystem, steadily, untilStopped } from "./support.mjs";

const SIZE = 512;
const FPS = 30;

// Digits 0-9 and the colon: five rows of three dots, one bit each, top left first.
const GLYPHS = [
  0b111101101101111, 0b010110010010111, 0b111001111100111, 0b111001111001111, 0b101101111001001,
  0b111100111001111, 0b111100111101111, 0b111001001001001, 0b111101111101111, 0b111101111001111,
  0b000010000010000,
];
const DOT = 12; // pixels

/** Draws a moving gradient with the time of day, as a stand-in for a face. Emits `frame-ready`. */
class Renderer extends EventEmitter {
  #pixels = new Uint32Array(SIZE * SIZE);
  #end = () => {};

  start() {
    this.#end = steadily(FPS, (n) => {
      this.#drawGradient(n);
      this.#drawText(new Date().toTimeString().slice(0, 8));
      this.emit("frame-ready", Buffer.from(this.#pixels.buffer));
    });
  }

  stop() {
    this.#end();
  }

  /** @param {number} n */
  #drawGradient(n) {
    for (let y = 0; y < SIZE; y++) {
      const blue = (y >> 1) << 16;
      for (let x = 0; x < SIZE; x++) {
        const wave = (x + 2 * n) & 511;
        const red = wave < 256 ? wave : 511 - wave;
        this.#pixels[y * SIZE + x] = 0xff000000 | blue | red; // little-endian: A B G R
      }
    }
  }

  /** @param {string} text */
  #drawText(text) {
    const left = (SIZE - text.length * 4 * DOT) >> 1;
    const top = (SIZE - 5 * DOT) >> 1;
    for (const [i, char] of [...text].entries()) {
      const glyph = GLYPHS[char === ":" ? 10 : Number(char)] ?? 0;
      for (let bit = 0; bit < 15; bit++) {
        if (!((glyph >> (14 - bit)) & 1)) continue;
        const x = left + (4 * i + (bit % 3)) * DOT;
        const y = top + Math.floor(bit / 3) * DOT;
        for (let row = y; row < y + DOT; row++)
          this.#pixels.fill(0xffffffff, row * SIZE + x, row * SIZE + x + DOT);
      }
    }
  }
}

const { port, seconds } = options();
const stopped = untilStopped(seconds); // from the start on, so that Ctrl-C always ends it cleanly
const system = await startSystem(port);

const renderer = new Renderer();
renderer.on("frame-ready", (data) => {
  system.bridge.pushVideoFrame({
    data, // copied inside the call: the renderer may draw over it at once
    width: SIZE,
    height: SIZE,
    timestamp: Date.now(),
    format: "RGBA",
  });
});
renderer.start();

await stopped;
renderer.stop();
await system.stop();
