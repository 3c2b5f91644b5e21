// The log: the newest lines of what happened, filtered by importance and by words, to be copied into a report.

import { element } from "../view/dom.js";

/** @typedef {import("../avatar-client.js").LogLevel} LogLevel */

const MOST_LINES = 300;
/** So near to its end, in CSS pixels, the list follows what is added. */
const NEAR_END = 40;
const FLASH_MS = 1500;
/** What is said of a line, for colour alone does not tell everybody; in the order of importance. */
const LEVELS = /** @type {const} */ ({ info: "", warn: "Warning: ", error: "Error: " });

export class LogConsole {
  #box = element("log");
  #list = element("log-lines");
  #level = element("log-level", HTMLSelectElement);
  #words = element("log-filter", HTMLInputElement);
  #count = element("log-count");
  #copyButton = element("copy-log");
  /** @type {(text: string) => void} */ #announce;

  /** @param {(text: string) => void} announce tells those who do not see it */
  constructor(announce) {
    this.#announce = announce;
    this.#level.addEventListener("change", () => this.#filter());
    this.#words.addEventListener("input", () => this.#filter());
    this.#copyButton.addEventListener("click", () => this.#copy());
    element("clear-log").addEventListener("click", () => {
      this.#list.replaceChildren();
      this.#filter();
      announce("Log cleared.");
    });
  }

  /** @param {LogLevel} level @param {string} text */
  add(level, text) {
    const box = this.#box;
    const isFollowing = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;
    const line = lineOf(level, text, new Date());
    line.hidden = !this.#isShown(line);
    this.#list.append(line);
    while (this.#list.childElementCount > MOST_LINES) this.#list.firstElementChild?.remove();
    this.#showCount();
    if (isFollowing) box.scrollTop = box.scrollHeight;
  }

  get #lines() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }

  #filter() {
    for (const line of this.#lines) line.hidden = !this.#isShown(line);
    this.#showCount();
    this.#box.scrollTop = this.#box.scrollHeight;
  }

  /** @param {HTMLElement} line */
  #isShown(line) {
    const importance = (/** @type {string} */ level) => Object.keys(LEVELS).indexOf(level);
    const words = this.#words.value.trim().toLowerCase();
    return (
      importance(line.className) >= importance(this.#level.value) &&
      (line.textContent ?? "").toLowerCase().includes(words)
    );
  }

  #showCount() {
    const lines = this.#lines;
    const shown = lines.filter((line) => !line.hidden).length;
    this.#count.textContent =
      shown === lines.length ? plural(shown) : `${shown} of ${plural(lines.length)}`;
  }

  /** Copies what the filter shows. */
  async #copy() {
    const shown = this.#lines.filter((line) => !line.hidden);
    try {
      await navigator.clipboard.writeText(shown.map((line) => line.textContent).join("\n"));
      this.#flash("Copied");
      this.#announce(`${plural(shown.length)} copied.`);
    } catch {
      // Not a secure page, or not permitted: leave the lines selected for the user's own copy.
      getSelection()?.selectAllChildren(this.#list);
      this.#flash("Selected");
      this.#announce(`${plural(shown.length)} selected; copy them with the keyboard.`);
    }
  }

  /** @param {string} word */
  #flash(word) {
    this.#copyButton.textContent = word;
    setTimeout(() => {
      this.#copyButton.textContent = "Copy";
    }, FLASH_MS);
  }
}

/** @param {number} count */
function plural(count) {
  return count === 1 ? "1 line" : `${count} lines`;
}

/** @param {LogLevel} level @param {string} text @param {Date} at */
function lineOf(level, text, at) {
  const time = document.createElement("time");
  time.dateTime = at.toISOString();
  time.textContent = `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  const words = document.createElement("span");
  words.textContent = LEVELS[level] + text;
  const line = document.createElement("li");
  line.className = level;
  line.append(time, " ", words);
  return line;
}
