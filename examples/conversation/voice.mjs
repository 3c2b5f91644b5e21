// The voice: what is said of an answer, what of it was heard so far, and how loud it is at this moment.

import { durationMs, levelDb } from "../support.mjs";

/** @typedef {import("../support.mjs").Sound} Sound */

/**
 * The part of a MediaBridge that it uses.
 * @typedef {{
 *   readonly queuedAudioMs: number,
 *   pushAudioChunk(chunk: Sound & { timestamp: number, format: "PCM" }): unknown,
 *   pushCue(cue: { at: number, data: unknown }): unknown,
 * }} Player
 */

const STEP_MS = 20;
const QUIET_DB = 25; // this much below the loudest moment the mouth is shut

export class Voice {
  #player;
  /** @type {{ text: string, ms: number, openings: number[] }[]} the sentences of this answer */
  #sentences = [];
  /** How much of this answer was pushed. */
  #pushedMs = 0;

  /** @param {Player} player */
  constructor(player) {
    this.#player = player;
  }

  /** A new answer. */
  begin() {
    this.#sentences = [];
    this.#pushedMs = 0;
  }

  /**
   * Plays a sentence after what was pushed before, with its words as a caption.
   * @param {string} text
   * @param {Sound} sound
   */
  say(text, sound) {
    const ms = durationMs(sound);
    this.#sentences.push({ text, ms, openings: openings(sound) });
    this.#pushedMs += ms;
    this.#player.pushAudioChunk({ ...sound, timestamp: Date.now(), format: "PCM" });
    this.#player.pushCue({ at: 0, data: { type: "caption", text, durationMs: ms } });
  }

  get isSpeaking() {
    return this.#player.queuedAudioMs > 0;
  }

  /** How far the mouth is open for what is played now, 0 to 1. */
  get opening() {
    let ms = this.#pushedMs - this.#player.queuedAudioMs;
    for (const sentence of this.#sentences) {
      if (ms < sentence.ms) return sentence.openings[Math.floor(ms / STEP_MS)] ?? 0;
      ms -= sentence.ms;
    }
    return 0;
  }

  /**
   * The words of this answer, but for its last `discardedMs`: a sentence that was cut off ends with the word before,
   * counted by its part of the time, and an ellipsis.
   */
  said(discardedMs = 0) {
    let ms = this.#pushedMs - discardedMs;
    /** @type {string[]} */
    const said = [];
    for (const sentence of this.#sentences) {
      const words = sentence.text.split(" ");
      const heard = Math.floor((words.length * ms) / sentence.ms + 0.01); // a whole one is whole in spite of rounding
      if (heard >= words.length) said.push(sentence.text);
      else if (heard > 0) said.push(`${words.slice(0, heard).join(" ")}…`);
      ms -= sentence.ms;
    }
    return said.join(" ");
  }
}

/**
 * How far the mouth is open in each step: silent is shut, the loudest moments are wide open.
 * @param {Sound} sound
 */
function openings({ data, sampleRate, channels }) {
  const bytes = Math.round((sampleRate * STEP_MS) / 1000) * channels * 2;
  const levels = Array.from({ length: Math.ceil(data.length / bytes) }, (_, step) =>
    levelDb(data.subarray(step * bytes, (step + 1) * bytes)),
  );
  const loudest = Math.max(-40, ...levels);
  const open = levels.map((level) => Math.max(0, 1 + (level - loudest) / QUIET_DB));
  // A jaw is slower than a sound: the mean of three steps.
  return open.map((own, step) => (own + (open[step - 1] ?? 0) + (open[step + 1] ?? 0)) / 3);
}
