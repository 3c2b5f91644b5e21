// Plays a stream in a video element: with sound if the browser lets it, else without until somebody presses a button.
// https://developer.mozilla.org/docs/Web/Media/Guides/Autoplay

export class Playback {
  /** @type {HTMLVideoElement} */ #video;
  /** @type {() => void} */ #changed;
  #isSoundWanted = true;
  #isBlocked = false;

  /**
   * @param {HTMLVideoElement} video
   * @param {() => void} changed called when one of the properties has changed
   */
  constructor(video, changed) {
    this.#video = video;
    this.#changed = changed;
    // "loadeddata" also comes with sound alone; the first picture then comes as "resize".
    for (const type of ["loadeddata", "resize", "emptied"]) video.addEventListener(type, changed);
  }

  /** Whether there has been a picture of this stream. */
  get hasPicture() {
    return this.#video.videoWidth > 0;
  }

  /** Whether the sound is switched on, and the browser lets it be. */
  get isSoundOn() {
    return this.#isSoundWanted && !this.#isBlocked;
  }

  /** Whether the browser waits for a click. */
  get isBlocked() {
    return this.#isBlocked;
  }

  /** @param {MediaStream | null} stream */
  async show(stream) {
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    await this.#play();
  }

  /** To be called at a click: what was blocked plays then. @param {boolean} wanted */
  async setSound(wanted) {
    this.#isSoundWanted = wanted;
    await this.#play();
  }

  async #play() {
    this.#isBlocked = false;
    this.#video.muted = !this.#isSoundWanted;
    if (this.#video.srcObject && !(await this.#isPlayed())) {
      this.#isBlocked = true;
      this.#video.muted = true;
      // Where not even a silent picture plays by itself, the button starts it.
      await this.#isPlayed();
    }
    this.#changed();
  }

  /** Whether the browser lets it play as it is. */
  async #isPlayed() {
    try {
      await this.#video.play();
      return true;
    } catch (error) {
      // Anything else: a newer stream took over, and its own play() follows.
      return !(error instanceof Error && error.name === "NotAllowedError");
    }
  }
}
