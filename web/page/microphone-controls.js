// The microphone's button, its level, and the choice of devices.

import { element, on, press } from "../view/dom.js";

/** @typedef {import("../view/microphone.js").Microphone} Microphone */
/** @typedef {import("../avatar-client.js").LogLevel} LogLevel */

/**
 * @typedef {object} Teller
 * @property {(level: LogLevel, text: string) => void} log
 * @property {(code: import("../view/problems.js").ProblemCode | null) => void} notice what is wrong; null: nothing any more
 */

/** Assistive technology hears of the level in steps of so many percent. */
const STEP = 10;

export class MicrophoneControls {
  #microphone;
  #button = element("microphone");
  #level = element("level");
  #bar = element("level-bar");
  #choice = element("microphone-device", HTMLSelectElement);

  /** @param {Microphone} microphone @param {Teller} teller */
  constructor(microphone, { log, notice }) {
    this.#microphone = microphone;
    this.#button.addEventListener("click", () => {
      notice(null);
      if (microphone.isOn) microphone.stop();
      else void microphone.start();
    });
    this.#choice.addEventListener("change", () => {
      notice(null);
      void microphone.choose(this.#choice.value);
    });
    on(microphone, "change", ({ label }) => {
      this.#show();
      log("info", label ? `Microphone on: ${label}.` : "Microphone off.");
    });
    on(microphone, "level", ({ level }) => this.#showLevel(level));
    on(microphone, "devices", (detail) => this.#offer(detail));
    on(microphone, "problem", ({ problem }) => notice(problem));
  }

  #show() {
    const { isOn } = this.#microphone;
    press(this.#button, isOn);
    this.#level.classList.toggle("on", isOn);
    if (!isOn) this.#showLevel(0);
  }

  /** @param {number} level 0 to 1 */
  #showLevel(level) {
    this.#bar.style.clipPath = `inset(0 ${(100 - level * 100).toFixed(1)}% 0 0)`;
    const percent = String(Math.round((level * 100) / STEP) * STEP);
    if (this.#level.getAttribute("aria-valuenow") !== percent)
      this.#level.setAttribute("aria-valuenow", percent);
  }

  /** @param {{devices: {deviceId: string, label: string}[], current: string}} detail */
  #offer({ devices, current }) {
    const options = devices.map(({ deviceId, label }) => new Option(label, deviceId));
    this.#choice.replaceChildren(...options);
    if (current) this.#choice.value = current;
    this.#choice.hidden = devices.length === 0;
  }
}
