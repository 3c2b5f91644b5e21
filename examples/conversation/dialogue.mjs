// The dialogue: what is heard is recognised, answered and spoken, and whoever speaks is not talked over.
//
// The invariant: one turn at a time. A new utterance ends the turn before it, wherever that is; speech cuts off what the
// avatar says; and no failure of a part ends the dialogue.

import { EventEmitter, once } from "node:events";
import { Voice } from "./voice.mjs";

/**
 * What was said. Of the avatar's lines only what was heard: a line that was cut off ends there.
 * @typedef {{ role: "user" | "avatar", text: string }} Line
 *
 * @typedef {import("../support.mjs").Sound & { peerId: string }} Utterance
 *
 * The part of a StreamingSystem that it uses.
 * @typedef {{
 *   bridge: import("node:events").EventEmitter & import("./voice.mjs").Player,
 *   server: import("node:events").EventEmitter,
 *   interrupt(): Promise<{ playedMs: number, discardedMs: number }>,
 * }} System
 *
 * @typedef {{
 *   recognise: import("./recogniser.mjs").Recognise,
 *   reply: import("./reply.mjs").Reply,
 *   synthesise: import("./synthesiser.mjs").Synthesise,
 * }} Parts
 */

const REMEMBERED_LINES = 100;

export class Dialogue {
  /** @type {Line[]} */
  history = [];
  /** @type {Voice} */
  voice;

  #system;
  #parts;
  #turn = new AbortController();
  /** @type {Line | undefined} what the avatar is saying, or said last */
  #line;
  /** @type {Set<string>} who is speaking */
  #speakers = new Set();
  /** Emits `free` once nobody is. */
  #floor = new EventEmitter();
  /** @type {Promise<void> | undefined} while the avatar is being cut off */
  #interruption;

  /**
   * @param {System} system
   * @param {Parts} parts
   */
  constructor(system, parts) {
    this.#system = system;
    this.#parts = parts;
    this.voice = new Voice(system.bridge);

    const { bridge, server } = system;
    const ended = (/** @type {string} */ peerId) => {
      this.#speakers.delete(peerId);
      if (this.#speakers.size === 0) this.#floor.emit("free");
    };
    bridge.on("utterance", (/** @type {Utterance} */ utterance) => {
      ended(utterance.peerId);
      this.hear(utterance);
    });
    bridge.on("speech-start", ({ peerId }) => {
      this.#speakers.add(peerId);
      if (this.voice.isSpeaking) this.#interrupt();
    });
    bridge.on("speech-end", ({ peerId }) => ended(peerId));
    server.on("peer-disconnected", ({ peerId }) => ended(peerId));
  }

  /**
   * Answers what somebody said.
   * @param {Utterance} utterance
   */
  hear(utterance) {
    const since = performance.now();
    return this.#takeTurn(async (signal) => {
      const text = await this.#parts.recognise(utterance, signal);
      if (!signal.aborted && text !== "")
        await this.#answer(text, utterance.peerId.slice(0, 8), signal, since);
    });
  }

  /**
   * Answers a text, as if somebody had said it.
   * @param {string} text
   */
  answer(text) {
    const since = performance.now();
    return this.#takeTurn((signal) => this.#answer(text, "Text", signal, since));
  }

  /** Ends the turn that is being taken. */
  stop() {
    this.#turn.abort();
  }

  /** @param {(signal: AbortSignal) => Promise<void>} turn */
  async #takeTurn(turn) {
    this.#turn.abort();
    this.#turn = new AbortController();
    const { signal } = this.#turn;
    try {
      // Whoever gives no sign of speaking before the utterance comes cuts it off now.
      if (this.voice.isSpeaking || this.#interruption) await this.#interrupt(signal);
      if (!signal.aborted) await turn(signal);
    } catch (error) {
      if (!signal.aborted) console.error(/** @type {Error} */ (error).message);
    }
  }

  /**
   * @param {string} text
   * @param {string} name whose text it is
   * @param {AbortSignal} signal
   * @param {number} since when it was heard
   */
  async #answer(text, name, signal, since) {
    console.log(`${name}: ${text}`);
    this.history.splice(0, this.history.length - REMEMBERED_LINES);
    const before = [...this.history];
    this.history.push({ role: "user", text });
    const answer = await this.#parts.reply(text, before, signal);
    if (signal.aborted) return;
    console.log(`Avatar: ${answer}`);

    this.#line = undefined;
    this.voice.begin();
    // While one sentence is played, the next one is made.
    const sentences = answer.split(/(?<=[.!?…])\s+/).filter((sentence) => sentence !== "");
    let next = this.#synthesise(sentences[0], signal);
    for (const [n, sentence] of sentences.entries()) {
      const sound = await next;
      next = this.#synthesise(sentences[n + 1], signal);
      while (this.#speakers.size > 0) await once(this.#floor, "free", { signal });
      if (signal.aborted || !sound) return;
      if (!this.#line) {
        this.#line = { role: "avatar", text: "" };
        this.history.push(this.#line);
        console.log(
          `  begins to speak ${Math.round(performance.now() - since)} ms after it heard that`,
        );
      }
      this.voice.say(sentence, sound);
      this.#line.text = this.voice.said();
    }
  }

  /**
   * @param {string | undefined} sentence
   * @param {AbortSignal} signal
   */
  #synthesise(sentence, signal) {
    if (sentence === undefined) return;
    const sound = this.#parts.synthesise(sentence, signal);
    sound.catch(() => {}); // it fails where it is awaited, if it still is
    return sound;
  }

  /**
   * Cuts off what the avatar says, and the turn with it, unless that is the turn of `keep`.
   * @param {AbortSignal} [keep]
   * @returns {Promise<void>}
   */
  #interrupt(keep) {
    if (this.#turn.signal !== keep) this.#turn.abort();
    this.#interruption ??= this.#cutOff().finally(() => {
      this.#interruption = undefined;
    });
    return this.#interruption;
  }

  async #cutOff() {
    try {
      const { playedMs, discardedMs } = await this.#system.interrupt();
      const line = this.#line;
      if (!line) return; // cut off already: what is left is the end of its fading out
      this.#line = undefined;
      line.text = this.voice.said(discardedMs);
      if (line.text === "") this.history = this.history.filter((other) => other !== line);
      console.log(`  was interrupted after ${Math.round(playedMs)} ms: "${line.text}"`);
    } catch (error) {
      console.error(/** @type {Error} */ (error).message);
    }
  }
}
