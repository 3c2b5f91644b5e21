export class Playback {
    /**
     * @param {HTMLVideoElement} video
     * @param {() => void} changed called when one of the properties has changed
     */
    constructor(video: HTMLVideoElement, changed: () => void);
    /** Whether there has been a picture of this stream. */
    get hasPicture(): boolean;
    /** Whether the sound is switched on, and the browser lets it be. */
    get isSoundOn(): boolean;
    /** Whether the browser waits for a click. */
    get isBlocked(): boolean;
    /** @param {MediaStream | null} stream */
    show(stream: MediaStream | null): Promise<void>;
    /** To be called at a click: what was blocked plays then. @param {boolean} wanted */
    setSound(wanted: boolean): Promise<void>;
    #private;
}
