// What <avatar-view> is made of. Built by calls, not from text: pages that require Trusted Types let it be.

import { explain } from "./problems.js";

const SPEAKER = "M4 9.5v5h3.5L12 19V5L7.5 9.5z";
const WAVES = "M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11";
const CROSS = "m16 9.5 5 5m0-5-5 5";
const SLASH = "M4 3.5 20 20.5";
const MICROPHONE = {
  shape: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z",
  stroke: "M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3",
};
const CAPTIONS =
  "M5.5 5h13a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3h-13a3 3 0 0 1-3-3V8a3 3 0 0 1 3-3zM10.4 10.4a2.2 2.2 0 1 0 0 3.2M17.2 10.4a2.2 2.2 0 1 0 0 3.2";

/** New parts, of which `screen` holds all others. */
export function buildView() {
  const video = document.createElement("video");
  video.playsInline = true;
  video.part.add("video");
  video.setAttribute("aria-label", "Live picture of the avatar");

  const headline = make("p", "headline");
  const detail = make("p", "detail");
  const retry = make("p", "retry");
  const poster = make("div", "poster", headline, detail, retry);

  const caption = make("p", "caption");
  const notice = make("p", "notice");
  notice.setAttribute("role", "alert");
  notice.hidden = true;
  const announcement = make("p", "announcement");
  announcement.setAttribute("role", "status");

  const playSound = button("", "play-sound", icon([SPEAKER], [CROSS]), "Play sound");
  playSound.title = explain("autoplay-blocked")?.wrong ?? "";
  const connect = button("", "connect");
  const sound = button("Sound", "toggle", icon([SPEAKER], [], { waves: WAVES, slash: CROSS }));
  const captions = button("Captions", "toggle", icon([], [CAPTIONS], { slash: SLASH }));
  const microphone = button(
    "Microphone",
    "toggle microphone",
    icon([MICROPHONE.shape], [MICROPHONE.stroke], { slash: SLASH }),
  );
  const controls = make("div", "controls", connect, sound, captions, microphone);
  controls.setAttribute("role", "group");
  controls.setAttribute("aria-label", "Controls");

  const over = make("div", "over", make("div", "captions", caption), playSound, notice, controls);
  const screen = make("div", "screen", video, poster, over, announcement);
  return {
    ...{ screen, video, poster, headline, detail, retry, caption, notice, announcement },
    ...{ controls, playSound, connect, sound, captions, microphone },
  };
}

/**
 * An element that can be styled from outside by the first of its classes.
 * @param {string} name
 * @param {string} classes
 * @param {(Node | string)[]} content
 * @returns {HTMLElement}
 */
function make(name, classes, ...content) {
  const element = document.createElement(name);
  element.className = classes;
  element.part.add(name === "button" ? "button" : (classes.split(" ")[0] ?? ""));
  element.append(...content);
  return element;
}

/**
 * @param {string} label for who does not see the sign; empty if the content says it
 * @param {string} classes
 * @param {(Node | string)[]} content
 */
function button(label, classes, ...content) {
  const element = /** @type {HTMLButtonElement} */ (make("button", classes, ...content));
  element.type = "button";
  if (label) element.setAttribute("aria-label", label);
  return element;
}

/**
 * @param {string[]} shapes filled
 * @param {string[]} strokes
 * @param {Record<string, string>} [sometimes] strokes by their class
 */
function icon(shapes, strokes, sometimes = {}) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const draw = (/** @type {string} */ line, /** @type {string} */ classes) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", line);
    path.setAttribute("class", classes);
    svg.append(path);
  };
  for (const line of shapes) draw(line, "shape");
  for (const line of strokes) draw(line, "stroke");
  for (const [name, line] of Object.entries(sometimes)) draw(line, `stroke ${name}`);
  return svg;
}
