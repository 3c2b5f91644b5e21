// What the page and <avatar-view> share: a client's picture, sound, captions and state, and the buttons for them, in
// elements that are given. Knows neither their ids nor what they stand in.

import { Captions } from "./captions.js";
import { on, press, restWhileLeft, write } from "./dom.js";
import { Playback } from "./playback.js";
import { refine } from "./problems.js";
import {
  isActive,
  NO_OUTAGE,
  nextOutage,
  PRESS_CONNECT,
  pictureWords,
  retryWords,
  spokenWords,
} from "./state-words.js";

/** @typedef {import("../avatar-client.js").AvatarClient} AvatarClient */

const RETRY_WORDS_MS = 250;

/**
 * `poster` lies over the picture, with `headline`, `detail` and `retry` in it; `announcement` is for screen readers;
 * `unheard` is there while the browser waits for a click on `playSound`.
 * @typedef {{video: HTMLVideoElement} & Record<"poster" | "headline" | "detail" | "retry" | "caption" | "announcement" |
 *   "connect" | "sound" | "captions" | "playSound" | "unheard", HTMLElement>} Parts
 */

export class Presenter {
  /** @type {Parts} */ #parts;
  /** @type {Captions} */ #captions;
  /** @type {Playback} */ #playback;
  #hint = PRESS_CONNECT;
  /** @type {AvatarClient | null} */ #client = null;
  #outage = NO_OUTAGE;
  /** Of the last connection that the server answered: what they lack tells why no media came. @type {RTCIceServer[]} */
  #iceServers = [];
  /** @type {ReturnType<typeof setInterval> | undefined} */ #retryTimer;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#captions = new Captions(parts.caption);
    this.#playback = new Playback(parts.video, () => this.#show());
    parts.playSound.addEventListener("click", () => this.#playback.setSound(true));
    parts.sound.addEventListener("click", () => this.#playback.setSound(!this.#playback.isSoundOn));
    parts.captions.addEventListener("click", () => {
      this.#captions.isOn = !this.#captions.isOn;
      this.#show();
    });
  }

  /** What stands below the headline while nothing is connected. @param {string} hint */
  set hint(hint) {
    this.#hint = hint;
    this.#show();
  }

  /**
   * @param {AvatarClient} client
   * @param {import("./microphone.js").Microphone} microphone of this client
   * @param {AbortSignal} [signal] until then
   */
  follow(client, microphone, signal) {
    const { connect, video } = this.#parts;
    const options = { signal };
    this.#client = client;
    this.#iceServers = [];
    on(client, "state", (event) => this.#become(event), options);
    on(client, "stream", ({ stream }) => this.#receive(stream), options);
    on(client, "cue", ({ data }) => this.#captions.show(data), options);
    on(client, "interrupt", () => this.#captions.clear(), options);
    connect.addEventListener(
      "click",
      () => {
        if (!isActive(client.state)) return client.connect();
        client.disconnect();
        microphone.stop(); // Who leaves does not expect to be listened to on coming back.
      },
      options,
    );
    restWhileLeft(client, options);
    client.watch(video);
    signal?.addEventListener("abort", () => {
      client.watch(null);
      this.#client = null;
      this.#show();
    });
  }

  /** @param {MediaStream} stream */
  #receive(stream) {
    this.#iceServers = this.#client?.peerConnection?.getConfiguration().iceServers ?? [];
    void this.#playback.show(stream);
  }

  /** @param {any} event of the type `state` */
  #become(event) {
    const problem = refine(event.problem, this.#iceServers);
    this.#outage = nextOutage(this.#outage, { ...event, problem }, Date.now());
    if (!isActive(event.state)) {
      this.#captions.clear();
      void this.#playback.show(null);
    }
    write(this.#parts.announcement, spokenWords(event.state, this.#outage));
    this.#show();
  }

  #show() {
    const { poster, headline, detail, connect, sound, captions, unheard } = this.#parts;
    const { hasPicture, isBlocked, isSoundOn } = this.#playback;
    const state = this.#client?.state ?? "idle";
    const words = pictureWords(state, this.#outage, this.#hint);
    write(headline, words.headline);
    write(detail, words.detail);
    poster.classList.toggle("gone", state === "connected" && hasPicture);
    // The last picture shines through while the connection is on its way back.
    poster.classList.toggle("clear", state === "reconnecting" && hasPicture);
    write(connect, isActive(state) ? "Disconnect" : "Connect");
    press(sound, isSoundOn);
    press(captions, this.#captions.isOn);
    unheard.hidden = !isBlocked;
    clearInterval(this.#retryTimer);
    if (state === "reconnecting")
      this.#retryTimer = setInterval(() => this.#showRetry(), RETRY_WORDS_MS);
    this.#showRetry();
  }

  #showRetry() {
    const state = this.#client?.state ?? "idle";
    write(this.#parts.retry, retryWords(state, this.#outage, Date.now()));
  }
}
