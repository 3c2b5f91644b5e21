// Captions: cues with words in them, shown when their moment of the sound is heard.

/** A caption that does not say how long it stays is there for as long as it takes to read. */
const READ_CHARACTERS_PER_SECOND = 15;
const SHORTEST_MS = 1500;
const LONGEST_MS = 7000;
/** Nobody reads more of one caption. */
const MOST_CHARACTERS = 400;

/** @typedef {{text: string, durationMs: number}} Caption */

/**
 * The caption in a cue's data: a plain string, or `{type: "caption", text, durationMs?}`.
 * @param {any} data
 * @returns {Caption | null} null for other cues; an empty text takes the last one away
 */
export function captionOf(data) {
  const given = typeof data === "string" ? data : data?.type === "caption" && data.text;
  if (typeof given !== "string") return null;
  const text = given.trim();
  const toRead = Math.min(
    LONGEST_MS,
    Math.max(SHORTEST_MS, (text.length * 1000) / READ_CHARACTERS_PER_SECOND),
  );
  const durationMs = data.durationMs > 0 ? data.durationMs : toRead;
  return {
    text: text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text,
    durationMs,
  };
}

export class Captions {
  /** @type {HTMLElement} */ #line;
  #isOn = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {HTMLElement} line where they are written */
  constructor(line) {
    this.#line = line;
    line.dir = "auto";
    this.clear();
  }

  get isOn() {
    return this.#isOn;
  }

  set isOn(on) {
    this.#isOn = on;
    if (!on) this.clear();
  }

  /** @param {unknown} data of a `cue` event */
  show(data) {
    const caption = this.#isOn ? captionOf(data) : null;
    if (!caption) return;
    this.clear();
    if (!caption.text) return;
    this.#line.textContent = caption.text;
    this.#line.hidden = false;
    // A longer timeout than this overflows and would fire at once.
    this.#timer = setTimeout(() => this.clear(), Math.min(caption.durationMs, 2 ** 31 - 1));
  }

  clear() {
    clearTimeout(this.#timer);
    this.#line.textContent = "";
    this.#line.hidden = true;
  }
}
