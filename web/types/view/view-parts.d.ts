/** New parts, of which `screen` holds all others. */
export function buildView(): {
    controls: HTMLElement;
    playSound: HTMLButtonElement;
    connect: HTMLButtonElement;
    sound: HTMLButtonElement;
    captions: HTMLButtonElement;
    microphone: HTMLButtonElement;
    screen: HTMLElement;
    video: HTMLVideoElement;
    poster: HTMLElement;
    headline: HTMLElement;
    detail: HTMLElement;
    retry: HTMLElement;
    caption: HTMLElement;
    notice: HTMLElement;
    announcement: HTMLElement;
};
