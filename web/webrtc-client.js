// The page: its elements on one side, an AvatarClient on the other.

import { AvatarClient, signallingUrl } from "./avatar-client.js";
import { LogConsole } from "./page/log-console.js";
import { MetricsPanel } from "./page/metrics-panel.js";
import { MicrophoneControls } from "./page/microphone-controls.js";
import { Captions } from "./view/captions.js";
import { element, on, restWhileLeft } from "./view/dom.js";
import { Microphone } from "./view/microphone.js";
import { Playback } from "./view/playback.js";
import { explain, refine } from "./view/problems.js";
import {
  isActive,
  NO_OUTAGE,
  nextOutage,
  pictureWords,
  retryWords,
  STATE_WORDS,
} from "./view/state-words.js";

const PROBE_MS = 2000;
const RETRY_WORDS_MS = 250;
/** Where it is remembered whether the details are wanted. */
const DETAILS = "avatar-details";

const parameters = new URLSearchParams(location.search);
const video = element("video", HTMLVideoElement);
const log = new LogConsole(announce);
const metrics = new MetricsPanel();
const captions = new Captions(element("caption"));
const playback = new Playback(video, showPlayback);
const sound = element("sound");

const client = new AvatarClient({
  url: signallingUrl(location.href, await isServedBySignalling()),
  ...(parameters.has("token") && { token: parameters.get("token") ?? "" }),
  ...(parameters.has("relay") && { iceTransportPolicy: "relay" }),
  log: (level, text) => log.add(level, text),
});
Object.assign(window, { avatarClient: client });
client.watch(video);
restWhileLeft(client);

const microphone = new Microphone((track) => client.setMicrophone(track));
new MicrophoneControls(microphone, { log: (level, text) => log.add(level, text), notice });

let outage = NO_OUTAGE;
/** Of the last connection that the server answered: what they lack tells why no media came. @type {RTCIceServer[]} */
let iceServers = [];

on(client, "state", (event) => {
  const problem = refine(event.problem ?? null, iceServers);
  outage = nextOutage(outage, { ...event, problem }, Date.now());
  if (event.state !== "connected") metrics.show(null);
  if (event.state === "disconnected" || event.state === "failed") void playback.show(null);
  if (event.state === "disconnected") captions.clear();
  showState();
});
on(client, "stream", ({ stream }) => {
  iceServers = client.peerConnection?.getConfiguration().iceServers ?? [];
  void playback.show(stream);
});
on(client, "stats", (event) => metrics.show(event.metrics));
on(client, "cue", ({ data }) => captions.show(data));
on(client, "interrupt", () => {
  captions.clear();
  log.add("info", "The avatar was interrupted.");
});
on(client, "command", ({ command, data }) =>
  log.add("info", `Avatar: ${command} ${JSON.stringify(data ?? {})}`),
);
on(client, "message", ({ data }) => log.add("info", `Message: ${JSON.stringify(data)}`));

element("connect").addEventListener("click", () => {
  if (!isActive(client.state)) return client.connect();
  client.disconnect();
  microphone.stop(); // Who leaves does not expect to be listened to on coming back.
});
element("play-sound").addEventListener("click", () => playback.setSound(true));
sound.addEventListener("click", () =>
  playback.setSound(playback.isBlocked || !playback.isSoundWanted),
);
element("captions").addEventListener("click", ({ currentTarget }) => {
  captions.isOn = !captions.isOn;
  /** @type {HTMLElement} */ (currentTarget).setAttribute("aria-pressed", String(captions.isOn));
});
element("emotions").addEventListener("click", ({ target }) => {
  const emotion = target instanceof HTMLElement && target.dataset.emotion;
  if (!emotion) return;
  const isSent = client.sendCommand("change-emotion", { emotion });
  if (isSent) log.add("info", `Sent change-emotion ${emotion}.`);
  else log.add("warn", "The control channel is not open yet.");
});
element("dismiss-notice").addEventListener("click", () => notice(null));
element("details").addEventListener("click", () => {
  const wanted = element("side").hidden === true;
  showDetails(wanted);
  remember(DETAILS, wanted ? "shown" : "hidden");
});

setInterval(showRetry, RETRY_WORDS_MS);
showDetails(remembered(DETAILS) !== "hidden");
showState();
showPlayback();
notice(Microphone.obstacle);
client.connect();

/** The signalling server answers /healthz beside the page with a JSON object; any other web server does not. */
async function isServedBySignalling() {
  if (parameters.has("server")) return false;
  try {
    const answer = await fetch("healthz", {
      cache: "no-store",
      signal: AbortSignal.timeout(PROBE_MS),
    });
    // Also while it is draining (503) the signalling server says so in JSON.
    return typeof (await answer.json()) === "object";
  } catch {
    return false;
  }
}

function showState() {
  const { state } = client;
  const { headline, detail } = pictureWords(state, outage);
  document.documentElement.dataset.state = state;
  element("state").textContent = STATE_WORDS[state];
  element("headline").textContent = headline;
  element("detail").textContent = detail;
  const connect = element("connect");
  connect.textContent = isActive(state) ? "Disconnect" : "Connect";
  connect.classList.toggle("quiet", isActive(state));
  for (const button of element("emotions").querySelectorAll("button"))
    button.disabled = state !== "connected";
  const problem = outage.problem ? `${headline} ${detail}` : "";
  announce(`${STATE_WORDS[state]}. ${problem}`.replace("….", "…").trim());
  showPoster();
  showRetry();
}

function showPlayback() {
  sound.setAttribute("aria-pressed", String(playback.isSoundWanted && !playback.isBlocked));
  element("unheard").hidden = !playback.isBlocked;
  element("play-sound-why").textContent = explain("autoplay-blocked")?.wrong ?? "";
  showPoster();
}

function showPoster() {
  const isSeen = playback.hasPicture;
  element("poster").classList.toggle("gone", client.state === "connected" && isSeen);
  // The last picture shines through while the connection is on its way back.
  element("poster").classList.toggle("clear", client.state === "reconnecting" && isSeen);
}

function showRetry() {
  const words = retryWords(client.state, outage, Date.now());
  const retry = element("retry");
  if (retry.textContent !== words) retry.textContent = words;
}

/** @param {boolean} wanted */
function showDetails(wanted) {
  element("side").hidden = !wanted;
  element("details").setAttribute("aria-expanded", String(wanted));
}

/**
 * What is wrong, below the picture where the hand is.
 * @param {import("./view/problems.js").ProblemCode | null} code null to take the notice away
 */
function notice(code) {
  const explanation = explain(code);
  const wrong = document.createElement("strong");
  wrong.textContent = explanation?.wrong ?? "";
  element("notice").hidden = !explanation;
  element("notice-text").replaceChildren(wrong, explanation ? ` ${explanation.remedy}` : "");
  if (explanation) log.add("warn", `${explanation.wrong} ${explanation.remedy}`);
}

/** Tells a screen reader, which reads a text again only if it is another one. @param {string} text */
function announce(text) {
  const box = element("announcement");
  if (box.textContent !== text) box.textContent = text;
}

/** @param {string} key @param {string} value */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is switched off, or full: then it is forgotten.
  }
}

/** @param {string} key */
function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}
